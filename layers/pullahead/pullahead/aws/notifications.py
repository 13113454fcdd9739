"""Alerts to SNS topics, as text for mail and as JSON for chats; outcome events to EventBridge's default bus."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from pullahead.alerts.chatbot import chatbot_json
from pullahead.alerts.text import Notice, attributes_of, subject_of, text_of
from pullahead.aws.errors import storage_errors
from pullahead.errors import StorageError
from pullahead.mirrors.outcome_event import OutcomeEvent

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef


class SnsAlerts:
    """Implements `pullahead.alerts.ports.AlertPublisher`."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        self._client, self._topic_arn = client, topic_arn

    def publish(self, notice: Notice) -> None:
        """Publish the text, with attributes for subscription filters."""
        _publish(self._client, self._topic_arn, notice, text_of(notice))


class SnsChatAlerts:
    """Implements `pullahead.alerts.ports.AlertPublisher`."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        self._client, self._topic_arn = client, topic_arn

    def publish(self, notice: Notice) -> None:
        """Publish a custom notification of Amazon Q Developer in chat applications, with the same attributes."""
        _publish(self._client, self._topic_arn, notice, chatbot_json(notice))


def _publish(client: "SNSClient", topic_arn: str, notice: Notice, message: str) -> None:
    subject = subject_of(notice)
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        name: {"DataType": "String", "StringValue": value} for name, value in attributes_of(notice).items()
    }
    with storage_errors("publish", f"the alert {subject!r}"):
        client.publish(TopicArn=topic_arn, Subject=subject, Message=message, MessageAttributes=attributes)


SOURCE = "pullahead"
_BATCH = 10  # EventBridge API reference, PutEvents: up to 10 entries a call
_BATCH_BYTES = 240 * 1024  # and 256 KB together (EventBridge User Guide, "Calculating PutEvents event entry size")
_ENTRY_BYTES = 100  # of an entry besides its detail: time, source, detail type


class EventBridgeOutcomes:
    """Implements `pullahead.mirrors.outbox.OutcomeEventBus`."""

    def __init__(self, client: "EventBridgeClient") -> None:
        self._client = client

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        """Publish events in batches of ten. Each has the time of what happened, however late it is sent."""
        for entries in _batches([_entry(event) for event in events]):
            with storage_errors("publish", f"{len(entries)} events"):
                answer = self._client.put_events(Entries=entries)
            if answer["FailedEntryCount"]:
                codes = sorted({entry["ErrorCode"] for entry in answer["Entries"] if "ErrorCode" in entry})
                refused = f"{answer['FailedEntryCount']} of {len(entries)} events"
                raise StorageError(f"publish of events failed for {refused}: {', '.join(codes)}")


def _entry(event: OutcomeEvent) -> "PutEventsRequestEntryTypeDef":
    return {
        "Time": event.at,
        "Source": SOURCE,
        "DetailType": event.kind.value,
        "Detail": msgspec.json.encode(event.detail).decode(),
    }


def _batches(entries: "Sequence[PutEventsRequestEntryTypeDef]") -> "Iterator[list[PutEventsRequestEntryTypeDef]]":
    batch: list[PutEventsRequestEntryTypeDef] = []
    size = 0
    for entry in entries:
        more = len(entry["Detail"].encode()) + _ENTRY_BYTES
        if batch and (len(batch) == _BATCH or size + more > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += more
    if batch:
        yield batch
