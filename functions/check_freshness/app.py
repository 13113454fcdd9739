"""Check mirrors against their upstreams, and list the tags that rules select from. Reads the checks queue.

The messages of a batch are handled together, and each fails alone: it is retried, or, if it means nothing or has failed
for the last time, goes to the dead-letter queue with the reason. A message that comes again is handled alone, since it
may have ended the process that had it. What a registry's rate or the function's time does not allow is put back into
the queue.
"""

from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.checks.handle_message import MessageOutcome
from pullahead.lambdas.check_results import add_checks, failure_of, log_results
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import (
    add_damaged,
    add_failed_check,
    add_left_alone,
    add_unsent,
    add_upstream_use,
)
from pullahead.lambdas.sqs_batch import ReceivedMessage, process_batch, received_messages

logger, metrics = new_logger(), Metrics()
prepare("check_freshness")


@logger.inject_lambda_context(clear_state=True)
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
    return process_batch(received_messages(event), lambda some: handle_messages(some, context, app), app)


def handle_messages(
    messages: Sequence[ReceivedMessage], context: LambdaContext, app: Application
) -> dict[str, Exception]:
    """Handle messages; return the errors of those that failed, by their ids."""
    bodies = [message.body for message in messages]
    outcomes = app.handle_messages(bodies, lambda: context.get_remaining_time_in_millis() / 1000)
    failures = {}
    for message, outcome in zip(messages, outcomes, strict=True):
        try:
            failure = report(message, outcome)
        except Exception as error:
            logger.exception("outcome of a message could not be reported", extra={"message_id": message.message_id})
            failure = error
        if failure is not None:
            failures[message.message_id] = failure
    return failures


def report(message: ReceivedMessage, outcome: MessageOutcome) -> Exception | None:
    """Log and count what became of a message; return the error for which it is to be retried."""
    add_checks(outcome.results)
    log_results(outcome.results)
    if outcome.error is None:
        return failure_of(outcome.results)
    logger.error("check failed", extra={"message_id": message.message_id}, exc_info=outcome.error)
    add_failed_check(outcome.error)
    return outcome.error
