"""What a function does around the messages of the checks queue: takes events once, and tells what came of them.

What every function that reads a queue does with a message that fails: it comes back, or is put aside and said so.

One that is put aside counts as done, so that it neither holds up its batch nor is tried for ever.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from pullahead.app import Application
from pullahead.checks.check import CheckResult
from pullahead.checks.handle_message import MessageResult
from pullahead.checks.listing import ListResult
from pullahead.checks.pull_through_cache import CacheFailed
from pullahead.dead_letters import FailedDelivery
from pullahead.errors import PullaheadError, StorageError
from pullahead.refresh.queue import StartedWaiting


@contextmanager
def dead_letter_on_failure(record: SQSRecord, app: Application) -> Iterator[None]:
    """Let what fails inside bring its message back, as the queue wants it, unless the message is put aside."""
    try:
        yield
    except Exception as error:
        if not _sent_to_dead_letters(record, error, app):
            raise


def retry_or_dead_letter(
    records: Sequence[SQSRecord], failures: Mapping[str, Exception], app: Application
) -> list[str]:
    """Put aside what failed, by the identifiers of messages, where it is time to; name those that come back."""
    failed = [(record, failures[record.message_id]) for record in records if record.message_id in failures]
    return [record.message_id for record, error in failed if not _sent_to_dead_letters(record, error, app)]


def _sent_to_dead_letters(record: SQSRecord, error: Exception, app: Application) -> bool:
    was_put_aside = _apply_policy(record, error, app)
    if was_put_aside:
        logger.error("put aside; see `pullahead dead-letters list`", extra=_about(record, error))
        metrics.add_metric("DeadLetters", MetricUnit.Count, 1)
    else:
        logger.warning("the message comes back", extra=_about(record, error))
    return was_put_aside


def _apply_policy(record: SQSRecord, error: Exception, app: Application) -> bool:
    try:
        return app.put_aside(_delivery(record), error)
    except StorageError:
        logger.exception("the message could not be put aside with its reason", extra=_about(record, error))
        return False


def _delivery(record: SQSRecord) -> FailedDelivery:
    return FailedDelivery(record.body, int(record.attributes.approximate_receive_count))


def _about(record: SQSRecord, error: Exception) -> dict[str, object]:
    tries = record.attributes.approximate_receive_count
    return {"message_id": record.message_id, "tries": tries, "reason": type(error).__name__}


logger, metrics = Logger(), Metrics()  # the same as the handlers': Powertools keeps one set for a process


def without_repeated_events(event: dict[str, Any]) -> dict[str, Any]:
    """Take an event that EventBridge has delivered twice into one batch once; its deliveries succeed or fail alike."""
    seen = set[str]()
    records = []
    for record in event["Records"]:
        if "detail-type" in record["body"] and record["body"] in seen:
            continue
        seen.add(record["body"])
        records.append(record)
    return {**event, "Records": records}


def log_results(results: Sequence[MessageResult]) -> None:
    """Log what failed or changed, and once what a limit of upstream's leaves to the next check."""
    for result in results:
        if isinstance(result, CacheFailed):
            logger.warning("ECR's pull through cache failed", extra=result._asdict())
        elif not isinstance(result, CheckResult | ListResult | StartedWaiting):
            logger.debug("event ignored", extra=result._asdict())
        elif result.error is not None:
            logger.error("check failed", extra=result._asdict())
        else:  # what is as it was would fill the log
            (logger.info if result.changed else logger.debug)("checked", extra=result._asdict())
    if deferred := [result for result in results if isinstance(result, CheckResult) and result.deferred]:
        mirrors = [result.mirror for result in deferred]
        logger.info("deferred to the next check", extra={"mirrors": mirrors, "reason": deferred[0].reason})


def failure_of(results: Sequence[MessageResult]) -> PullaheadError | None:
    """Tell why a message is to come back, if it is."""
    errors = (result.error for result in results if isinstance(result, CheckResult | ListResult))
    return next((error for error in errors if error is not None), None)
