"""Process batches of SQS messages: which failed message is retried and which goes to the dead-letter queue, and logs.

A message that was sent to the dead-letter queue counts as processed, so that it neither blocks its batch nor is
retried for ever.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from pullahead.app import Application
from pullahead.checks.check import CheckResult
from pullahead.checks.handle_message import MessageResult
from pullahead.checks.listing import ListResult
from pullahead.checks.pull_through_cache import CacheFailed
from pullahead.checks.put_back import PutBack
from pullahead.dead_letters import FailedDelivery
from pullahead.errors import PullaheadError
from pullahead.lambdas.log_lines import new_logger
from pullahead.refresh.queue import StartedWaiting

logger, metrics = new_logger(), Metrics()  # the handlers' own: Powertools keeps one set for a process


def process_batch(
    records: Sequence[SQSRecord],
    handle: Callable[[Sequence[SQSRecord]], Mapping[str, Exception]],
    app: Application,
) -> dict[str, Any]:
    """Process a batch, and return which messages are to be retried, as Lambda wants it.

    `handle` returns the errors of the messages that failed, by their ids. What comes for the first time is handled
    together. A message that comes again may have ended the process that had it, as one does that needs too much memory,
    and its batch with it: it is handled alone, after the others were deleted from the queue.
    """
    groups = _groups_of(records)
    to_retry: list[str] = []
    for number, some in enumerate(groups, 1):
        retried = retry_or_dead_letter(some, handle(some), app)
        to_retry += retried
        if number < len(groups):
            _delete([record for record in some if record.message_id not in retried], app)
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in to_retry]}


def _groups_of(records: Sequence[SQSRecord]) -> list[list[SQSRecord]]:
    """Split a batch into what is handled together.

    The order of those that come again turns round with each receive, so that one that ends the process can hold up each
    of the others once, and not always the same.
    """
    if len(records) == 1:
        return [list(records)]
    again = sorted((record for record in records if _receives_of(record) > 1), key=lambda record: record.message_id)
    if max(map(_receives_of, again), default=1) % 2 == 0:
        again.reverse()
    first = [record for record in records if _receives_of(record) == 1]
    return [*([first] if first else []), *([record] for record in again)]


def _receives_of(record: SQSRecord) -> int:
    return int(record.attributes.approximate_receive_count)


def _delete(records: Sequence[SQSRecord], app: Application) -> None:
    """Delete messages that are done; where that fails they are deleted with the whole batch, or come again."""
    try:
        if records:
            app.delete_messages([record.receipt_handle for record in records])
    except Exception:
        logger.exception("messages could not be deleted before the next one is handled")


def retry_or_dead_letter(
    records: Sequence[SQSRecord], failures: Mapping[str, Exception], app: Application
) -> list[str]:
    """Send failed messages that are not to be retried to the dead-letter queue; return the ids of the others."""
    failed = [(record, failures[record.message_id]) for record in records if record.message_id in failures]
    return [record.message_id for record, error in failed if not _sent_to_dead_letters(record, error, app)]


def without_repeated_events(event: dict[str, Any]) -> dict[str, Any]:
    """Drop events that EventBridge has delivered twice into one batch; both deliveries succeed or fail alike."""
    bodies = set[str]()
    records = []
    for record in event["Records"]:
        if "detail-type" in record["body"] and record["body"] in bodies:
            continue
        bodies.add(record["body"])
        records.append(record)
    return {**event, "Records": records}


def log_results(results: Sequence[MessageResult]) -> None:
    """Log what failed or changed, and once for a batch what a rate limit defers."""
    for result in results:
        if isinstance(result, CacheFailed):
            logger.warning("ECR's pull through cache failed", extra=result._asdict())
        elif isinstance(result, PutBack):
            request, delay = result.request.to_event(), result.delay_seconds
            logger.info("put back into the queue", extra={"request": request, "delay_seconds": delay})
        elif not isinstance(result, CheckResult | ListResult | StartedWaiting):
            logger.debug("event ignored", extra=result._asdict())
        elif result.error is not None:
            logger.error("check failed", extra=result._asdict())
        else:  # at INFO, unchanged mirrors would fill the log
            (logger.info if result.changed else logger.debug)("checked", extra=result._asdict())
    if deferred := [result for result in results if isinstance(result, CheckResult) and result.deferred]:
        mirrors = [result.mirror for result in deferred]
        logger.info("deferred", extra={"mirrors": mirrors, "reason": deferred[0].reason})


def failure_of(results: Sequence[MessageResult]) -> PullaheadError | None:
    """Return the error for which a message is to be retried, if there is one."""
    errors = (result.error for result in results if isinstance(result, CheckResult | ListResult))
    return next((error for error in errors if error is not None), None)


def _sent_to_dead_letters(record: SQSRecord, error: Exception, app: Application) -> bool:
    was_sent = _apply_policy(record, error, app)
    if was_sent:
        logger.error(
            "message sent to the dead-letter queue; run `pullahead dead-letters list`", extra=_fields(record, error)
        )
        metrics.add_metric("DeadLetters", MetricUnit.Count, 1)
    else:
        logger.warning("message will be retried", extra=_fields(record, error))
    return was_sent


def _apply_policy(record: SQSRecord, error: Exception, app: Application) -> bool:
    delivery = FailedDelivery(record.body, _receives_of(record))
    try:
        return app.send_to_dead_letters(delivery, error)
    except Exception:
        logger.exception("message could not be sent to the dead-letter queue", extra=_fields(record, error))
        return False


def _fields(record: SQSRecord, error: Exception) -> dict[str, object]:
    tries = record.attributes.approximate_receive_count
    return {"message_id": record.message_id, "tries": tries, "reason": type(error).__name__}
