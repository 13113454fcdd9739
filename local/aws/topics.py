"""SNS's part: who runs the local AWS hears what is published to topics. Subscribers are served by moto."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from local.aws.moto_guard import replace, stock

_MODELS: Final = "moto.sns.models"


class Publication(NamedTuple):
    """A message as it was published to a topic."""

    topic_arn: str
    subject: str
    message: str


class Topics:
    """All topics of one local AWS."""

    def __init__(self) -> None:
        self.after_publish: Callable[[Publication], None] = lambda _: None
        """Is given each message that was published to a topic."""

    def install(self) -> None:
        """Listen to moto's topics."""
        topics = self
        publish = stock(_MODELS, "Topic.publish")

        def publish_and_tell(topic: Any, message: str, subject: str | None = None, **options: Any) -> str:
            answer: str = publish(topic, message, subject, **options)
            topics.after_publish(Publication(topic.arn, subject or "", message))
            return answer

        replace(_MODELS, "Topic.publish", publish_and_tell)
