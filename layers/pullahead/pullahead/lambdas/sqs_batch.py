"""Process batches of SQS messages: which failed message is retried and which goes to the dead-letter queue, and logs.

A message that was sent to the dead-letter queue counts as processed, so that it neither blocks its batch nor is
retried for ever.
"""

from collections.abc import Mapping, Sequence
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
    delivery = FailedDelivery(record.body, int(record.attributes.approximate_receive_count))
    try:
        return app.send_to_dead_letters(delivery, error)
    except Exception:
        logger.exception("message could not be sent to the dead-letter queue", extra=_fields(record, error))
        return False


def _fields(record: SQSRecord, error: Exception) -> dict[str, object]:
    tries = record.attributes.approximate_receive_count
    return {"message_id": record.message_id, "tries": tries, "reason": type(error).__name__}
