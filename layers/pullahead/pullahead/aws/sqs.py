"""The checks queue and the dead-letter queues in SQS.

A dead-letter queue has messages that Pullahead sent, with the reason in attributes; messages that SQS moved, without
one; and events that EventBridge could not deliver, with its own attributes. A received message is invisible for five
minutes, so a crash loses nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pullahead.aws.back_off import wait_between_tries
from pullahead.aws.errors import storage_errors
from pullahead.clock import Wait
from pullahead.dead_letters import DeadLetter, DeadLetterMessage, ReceivedDeadLetters
from pullahead.errors import StorageError
from pullahead.messages import Queued

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef, ChangeMessageVisibilityBatchRequestEntryTypeDef


_BATCH = 10  # SQS API reference, SendMessageBatch: up to 10 messages a call
_BATCH_BYTES = 240 * 1024  # and 256 KiB together
_MAX_TRIES: Final = 4
_MAX_DELAY = 900  # SQS API reference, SendMessageBatchRequestEntry, DelaySeconds


class SqsCheckQueue:
    """Implements `pullahead.checks.ports.CheckQueue`. `wait` comes before what SQS did not take is sent again."""

    def __init__(self, client: "SQSClient", queue_url: str, wait: Wait = wait_between_tries) -> None:
        self._client, self._queue_url, self._wait = client, queue_url, wait

    def send(self, requests: Sequence[Queued], delay_seconds: int = 0) -> None:
        """Send requests in batches of ten. SQS delays by 15 minutes at most; a longer delay is cut."""
        delay = min(delay_seconds, _MAX_DELAY)
        batch: list[str] = []
        for body in (request.to_json() for request in requests):
            if batch and (len(batch) == _BATCH or sum(map(len, batch)) + len(body) > _BATCH_BYTES):
                self._send(batch, delay)
                batch = []
            batch.append(body)
        if batch:
            self._send(batch, delay)

    def _send(self, bodies: list[str], delay: int) -> None:
        """Send what fits into one call. Of many checks, SQS now and then takes some only: one must not fail all."""
        left, failed = dict(enumerate(bodies)), list["BatchResultErrorEntryTypeDef"]()
        for tried in range(_MAX_TRIES):
            if tried:
                self._wait(tried)
            failed = self._send_some(left, delay)
            left = {number: left[number] for number in (int(entry["Id"]) for entry in failed)}
            if not failed:
                return
            if any(entry["SenderFault"] for entry in failed):
                break
        reasons = sorted({entry["Code"] for entry in failed})
        raise StorageError(f"send of checks failed for {len(failed)} of {len(bodies)}: {', '.join(reasons)}")

    def _send_some(self, bodies: Mapping[int, str], delay: int) -> "list[BatchResultErrorEntryTypeDef]":
        with storage_errors("send", "checks"):
            answer = self._client.send_message_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {"Id": str(number), "MessageBody": body, "DelaySeconds": delay} for number, body in bodies.items()
                ],
            )
        return answer.get("Failed", [])


class SqsReceivedMessages:
    """Deletes messages that Lambda has received from a queue for a function, before the function ends."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client, self._queue_url = client, queue_url

    def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages by their receipts, in batches of ten. Lambda deletes them again, which does nothing.

        Raises: StorageError.
        """
        for first in range(0, len(receipts), _BATCH):
            self._delete(receipts[first : first + _BATCH])

    def _delete(self, receipts: Sequence[str]) -> None:
        with storage_errors("delete", "messages"):
            answer = self._client.delete_message_batch(
                QueueUrl=self._queue_url,
                Entries=[{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)],
            )
        if failed := answer.get("Failed"):
            reasons = sorted({entry["Code"] for entry in failed})
            raise StorageError(f"delete of messages failed for {len(failed)}: {', '.join(reasons)}")


_RECEIVE_BATCH = 10  # SQS API reference, ReceiveMessage and ChangeMessageVisibilityBatch: up to 10 messages a call
_WAIT_SECONDS = 1  # more than 0 is long polling, which asks all of SQS's servers and not a sample
_INVISIBLE_SECONDS = 300
_VISIBLE: Final = "ApproximateNumberOfMessages"

# EventBridge user guide, "Using dead-letter queues to process undelivered events": the attributes that it adds.
_REASONS = ("reason", "ERROR_CODE")
_TEXTS = ("text", "ERROR_MESSAGE")
_TRIES = ("tries", "RETRY_ATTEMPTS")


class SqsDeadLetters:
    """Implements `pullahead.dead_letters.DeadLetterQueue`; without `source_url` it can only be sent to and read."""

    def __init__(self, client: "SQSClient", url: str, source_url: str = "") -> None:
        self._client, self._url, self._source_url = client, url, source_url

    def send(self, message: DeadLetterMessage) -> None:
        """Send a message, with its reason in attributes."""
        with storage_errors("send", "a dead letter"):
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=message.body,
                MessageAttributes={
                    "reason": _text(message.reason),
                    "text": _text(message.text),
                    "failed_at": _text(message.failed_at.isoformat()),
                    "tries": {"DataType": "Number", "StringValue": str(message.tries)},
                },
            )

    def take(self, most: int) -> ReceivedDeadLetters:
        """Receive until there are enough, or no more."""
        found: dict[str, DeadLetter] = {}
        while len(found) < most:
            messages = self._receive(min(_RECEIVE_BATCH, most - len(found)))
            if not messages:
                return ReceivedDeadLetters(_oldest_first(found), 0)
            found |= {message["MessageId"]: _read(message) for message in messages}
        return ReceivedDeadLetters(_oldest_first(found), self._count_visible())

    def release(self, letters: Sequence[DeadLetter]) -> None:
        """Make messages visible again, in batches of ten."""
        for first in range(0, len(letters), _RECEIVE_BATCH):
            entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
                for number, letter in enumerate(letters[first : first + _RECEIVE_BATCH])
            ]
            with storage_errors("release", "dead letters"):
                self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    def put_back(self, letter: DeadLetter) -> None:
        """Send a message to its source queue, then delete it here."""
        with storage_errors("send", "a dead letter to its queue"):
            self._client.send_message(QueueUrl=self._source_url, MessageBody=letter.body)
        self.drop(letter)

    def drop(self, letter: DeadLetter) -> None:
        """Delete a message."""
        with storage_errors("delete", "a dead letter"):
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=letter.receipt)

    def _receive(self, most: int) -> Sequence[Mapping[str, Any]]:
        with storage_errors("read", "dead letters"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=_WAIT_SECONDS,
                VisibilityTimeout=_INVISIBLE_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp"],
                MessageAttributeNames=["All"],
            )
        return answer.get("Messages", [])

    def _count_visible(self) -> int:
        with storage_errors("read", "dead letters"):
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=[_VISIBLE])
        count = answer["Attributes"].get(_VISIBLE, "")
        if not count.isdecimal():
            raise StorageError(f"read of dead letters failed: SQS counts {count!r} messages")
        return int(count)


def _text(value: str) -> Any:
    return {"DataType": "String", "StringValue": value}


def _read(message: Mapping[str, Any]) -> DeadLetter:
    attributes = {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}
    sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    tries = _first(attributes, _TRIES)
    return DeadLetter(
        id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        since=_moment(attributes.get("failed_at", "")) or sent,
        reason=_first(attributes, _REASONS) or None,
        text=_first(attributes, _TEXTS),
        tries=int(tries) if tries.isdecimal() else None,
    )


def _first(attributes: Mapping[str, str], names: Sequence[str]) -> str:
    return next((attributes[name] for name in names if attributes.get(name)), "")


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _oldest_first(found: Mapping[str, DeadLetter]) -> tuple[DeadLetter, ...]:
    return tuple(sorted(found.values(), key=lambda letter: (letter.since, letter.id)))
