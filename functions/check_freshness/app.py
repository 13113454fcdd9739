"""Check mirrors against their upstreams, and list the tags that rules select from. Reads the checks queue.

The messages of a batch are handled together, and each fails alone: it is retried, or, if it means nothing or has failed
for the last time, goes to the dead-letter queue with the reason. A message that comes again is handled alone, since it
may have ended the process that had it. What a registry's rate or the function's time does not allow is put back into
the queue.
"""

from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools import Metrics, Tracer
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application
from pullahead.checks.handle_message import MessageOutcome
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import (
    add_checks,
    add_damaged,
    add_failed_check,
    add_left_alone,
    add_unsent,
    add_upstream_use,
)
from pullahead.lambdas.sqs_batch import failure_of, log_results, process_batch, without_repeated_events

logger, metrics, tracer = new_logger(), Metrics(), Tracer()


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    app = application()
    response = handle(event, context, app)
    add_upstream_use(app.take_upstream_use())
    add_unsent(app.take_unsent())
    add_left_alone(app.take_newer_items())
    add_damaged(app.take_damaged_items())
    return response


def handle(event: dict[str, Any], context: LambdaContext, app: Application) -> dict[str, Any]:
    records = [SQSRecord(record) for record in without_repeated_events(event)["Records"]]
    return process_batch(records, lambda some: handle_messages(some, context, app), app)


def handle_messages(records: Sequence[SQSRecord], context: LambdaContext, app: Application) -> dict[str, Exception]:
    """Handle messages; return the errors of those that failed, by their ids."""
    bodies = [record.body for record in records]
    outcomes = app.handle_messages(bodies, lambda: context.get_remaining_time_in_millis() / 1000)
    failures = {}
    for record, outcome in zip(records, outcomes, strict=True):
        try:
            failure = report(record, outcome)
        except Exception as error:
            logger.exception("outcome of a message could not be reported", extra={"message_id": record.message_id})
            failure = error
        if failure is not None:
            failures[record.message_id] = failure
    return failures


def report(record: SQSRecord, outcome: MessageOutcome) -> Exception | None:
    """Log and count what became of a message; return the error for which it is to be retried."""
    add_checks(outcome.results)
    log_results(outcome.results)
    if outcome.error is None:
        return failure_of(outcome.results)
    logger.error("check failed", extra={"message_id": record.message_id}, exc_info=outcome.error)
    add_failed_check(outcome.error)
    return outcome.error
