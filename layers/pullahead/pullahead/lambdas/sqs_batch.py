"""Process batches of SQS messages: which failed message is retried and which goes to the dead-letter queue.

A message that was sent to the dead-letter queue counts as processed, so that it neither blocks its batch nor is
retried for ever.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from pullahead.app import Application
from pullahead.dead_letters import FailedDelivery
from pullahead.lambdas.log_lines import new_logger

logger, metrics = new_logger(), Metrics()  # the handlers' own: Powertools keeps one set for a process


class ReceivedMessage(NamedTuple):
    """A message of a batch, as Lambda gives it. Powertools has a class, too, whose import takes 30 ms."""

    record: Mapping[str, Any]

    @property
    def message_id(self) -> str:
        """Its identifier."""
        return str(self.record["messageId"])

    @property
    def body(self) -> str:
        """What was sent."""
        return str(self.record["body"])

    @property
    def tries(self) -> int:
        """How often it was received, this time included."""
        return int(self.record["attributes"]["ApproximateReceiveCount"])

    @property
    def receipt_handle(self) -> str:
        """What deletes it from the queue."""
        return str(self.record["receiptHandle"])


def process_batch(
    messages: Sequence[ReceivedMessage],
    handle: Callable[[Sequence[ReceivedMessage]], Mapping[str, Exception]],
    app: Application,
) -> dict[str, Any]:
    """Process a batch, and return which messages are to be retried, as Lambda wants it.

    `handle` returns the errors of the messages that failed, by their ids. What comes for the first time is handled
    together. A message that comes again may have ended the process that had it, as one does that needs too much memory,
    and its batch with it: it is handled alone, after the others were deleted from the queue.
    """
    groups = _groups_of(messages)
    to_retry: list[str] = []
    for number, some in enumerate(groups, 1):
        retried = retry_or_dead_letter(some, handle(some), app)
        to_retry += retried
        if number < len(groups):
            _delete([message for message in some if message.message_id not in retried], app)
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in to_retry]}


def _groups_of(messages: Sequence[ReceivedMessage]) -> list[list[ReceivedMessage]]:
    """Split a batch into what is handled together.

    The order of those that come again turns round with each receive, so that one that ends the process can hold up each
    of the others once, and not always the same.
    """
    if len(messages) == 1:
        return [list(messages)]
    again = sorted((message for message in messages if message.tries > 1), key=lambda message: message.message_id)
    if max((message.tries for message in again), default=1) % 2 == 0:
        again.reverse()
    first = [message for message in messages if message.tries == 1]
    return [*([first] if first else []), *([message] for message in again)]


def _delete(messages: Sequence[ReceivedMessage], app: Application) -> None:
    """Delete messages that are done; where that fails they are deleted with the whole batch, or come again."""
    try:
        if messages:
            app.delete_messages([message.receipt_handle for message in messages])
    except Exception:
        logger.exception("messages could not be deleted before the next one is handled")


def received_messages(event: Mapping[str, Any]) -> list[ReceivedMessage]:
    """Read the messages of Lambda's event, without what EventBridge has delivered twice into one batch: both
    deliveries succeed or fail alike."""
    bodies = set[str]()
    messages = []
    for record in event["Records"]:
        if "detail-type" in record["body"] and record["body"] in bodies:
            continue
        bodies.add(record["body"])
        messages.append(ReceivedMessage(record))
    return messages


def retry_or_dead_letter(
    messages: Sequence[ReceivedMessage], failures: Mapping[str, Exception], app: Application
) -> list[str]:
    """Send failed messages that are not to be retried to the dead-letter queue; return the ids of the others."""
    failed = [(message, failures[message.message_id]) for message in messages if message.message_id in failures]
    return [message.message_id for message, error in failed if not _sent_to_dead_letters(message, error, app)]


def _sent_to_dead_letters(message: ReceivedMessage, error: Exception, app: Application) -> bool:
    was_sent = _apply_policy(message, error, app)
    if was_sent:
        logger.error(
            "message sent to the dead-letter queue; run `pullahead dead-letters list`", extra=_fields(message, error)
        )
        metrics.add_metric("DeadLetters", MetricUnit.Count, 1)
    else:
        logger.warning("message will be retried", extra=_fields(message, error))
    return was_sent


def _apply_policy(message: ReceivedMessage, error: Exception, app: Application) -> bool:
    delivery = FailedDelivery(message.body, message.tries)
    try:
        return app.send_to_dead_letters(delivery, error)
    except Exception:
        logger.exception("message could not be sent to the dead-letter queue", extra=_fields(message, error))
        return False


def _fields(message: ReceivedMessage, error: Exception) -> dict[str, object]:
    return {"message_id": message.message_id, "tries": message.tries, "reason": type(error).__name__}
