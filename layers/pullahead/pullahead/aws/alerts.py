"""Alerts by SNS: as text for people's mail, and as what their chat shows."""

from typing import TYPE_CHECKING

from pullahead.aws.storage_errors import storage_errors
from pullahead.freshness.chat import chat_of
from pullahead.freshness.notices import Notice, attributes_of, subject_of, text_of

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef


class SnsAlerts:
    """Satisfies `pullahead.ports.PublishesAlerts`."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        self._client, self._topic_arn = client, topic_arn

    def publish(self, notice: Notice) -> None:
        """Send a text, with attributes for subscription filters."""
        _publish(self._client, self._topic_arn, notice, text_of(notice))


class SnsChatAlerts:
    """Satisfies `pullahead.ports.PublishesAlerts`."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        self._client, self._topic_arn = client, topic_arn

    def publish(self, notice: Notice) -> None:
        """Send a custom notification of Amazon Q Developer in chat applications, with the same attributes."""
        _publish(self._client, self._topic_arn, notice, chat_of(notice))


def _publish(client: "SNSClient", topic_arn: str, notice: Notice, message: str) -> None:
    subject = subject_of(notice)
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        name: {"DataType": "String", "StringValue": value} for name, value in attributes_of(notice).items()
    }
    with storage_errors("publish", f"the alert {subject!r}"):
        client.publish(TopicArn=topic_arn, Subject=subject, Message=message, MessageAttributes=attributes)
