"""What every function that reads a queue does with a message that fails: it comes back, or is put aside and said so.

One that is put aside counts as done, so that it neither holds up its batch nor is tried for ever.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from pullahead.errors import StorageError
from pullahead.usecases.put_aside import Delivery
from pullahead.wiring import Application

logger, metrics = Logger(), Metrics()  # the same as the handlers': Powertools keeps one set for a process


@contextmanager
def poison_put_aside(record: SQSRecord, app: Application) -> Iterator[None]:
    """Let what fails inside bring its message back, as the queue wants it, unless the message is put aside."""
    try:
        yield
    except Exception as error:
        if not _is_put_aside(record, error, app):
            raise


def not_put_aside(records: Sequence[SQSRecord], failures: Mapping[str, Exception], app: Application) -> list[str]:
    """Put aside what failed, by the identifiers of messages, where it is time to; name those that come back."""
    failed = [(record, failures[record.message_id]) for record in records if record.message_id in failures]
    return [record.message_id for record, error in failed if not _is_put_aside(record, error, app)]


def _is_put_aside(record: SQSRecord, error: Exception, app: Application) -> bool:
    was_put_aside = _put_aside(record, error, app)
    if was_put_aside:
        logger.error("put aside; see `pullahead dead-letters list`", extra=_about(record, error))
        metrics.add_metric("DeadLetters", MetricUnit.Count, 1)
    else:
        logger.warning("the message comes back", extra=_about(record, error))
    return was_put_aside


def _put_aside(record: SQSRecord, error: Exception, app: Application) -> bool:
    try:
        return app.put_aside(_delivery(record), error)
    except StorageError:
        logger.exception("the message could not be put aside with its reason", extra=_about(record, error))
        return False


def _delivery(record: SQSRecord) -> Delivery:
    return Delivery(record.body, int(record.attributes.approximate_receive_count))


def _about(record: SQSRecord, error: Exception) -> dict[str, object]:
    tries = record.attributes.approximate_receive_count
    return {"message_id": record.message_id, "tries": tries, "reason": type(error).__name__}
