"""Alerts by SNS."""

from typing import TYPE_CHECKING

from pullahead.aws.storage_errors import storage_errors
from pullahead.freshness.alerts import Alert, subject_of, text_of

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class SnsAlerts:
    """Satisfies `pullahead.ports.PublishesAlerts`."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        self._client, self._topic_arn = client, topic_arn

    def publish(self, alert: Alert) -> None:
        """Send one alert, with attributes for subscription filters."""
        attributes = {"kind": alert.kind.value, "mirror": alert.mirror, "upstream": alert.upstream}
        with storage_errors("publish", f"the alert about {alert.mirror}"):
            self._client.publish(
                TopicArn=self._topic_arn,
                Subject=subject_of(alert),
                Message=text_of(alert),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )
