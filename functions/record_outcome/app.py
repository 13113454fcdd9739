"""Record the outcome of a refresh, and send its outcome event. The last state of a refresh."""

from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.errors import DeferredError, NoLongerWantedError
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_damaged, add_failure, add_left_alone, add_unsent
from pullahead.messages import OutcomeRequest

logger, metrics = new_logger(), Metrics()
prepare("record_outcome")


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def count(outcome: OutcomeRequest) -> None:
    """Count the outcome of a refresh, and log its error."""
    if outcome.error is None:
        metrics.add_metric("Refreshes", MetricUnit.Count, 1)
    elif outcome.error.error == DeferredError.__name__:
        logger.info("refresh deferred", extra={"cause": outcome.error.text})
        metrics.add_metric("Deferred", MetricUnit.Count, 1)
    elif outcome.error.error == NoLongerWantedError.__name__:
        logger.info("refresh ended; it is no longer wanted", extra={"cause": outcome.error.text})
    else:
        add_failure(outcome.error.error)
        logger.error("refresh failed", extra={"error": outcome.error.error, "cause": outcome.error.text})
        metrics.add_metric("RefreshFailures", MetricUnit.Count, 1)


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    outcome = OutcomeRequest.from_event(event)
    logger.append_keys(refresh=outcome.request.name, upstream=outcome.request.upstream)
    result = app.record_outcome(outcome)
    add_unsent(app.take_unsent())
    add_left_alone(app.take_newer_items())
    add_damaged(app.take_damaged_items())
    count(outcome)
    logger.info("outcome recorded", extra=result.to_event())
    if result.seconds is not None and result.lag_seconds is not None:
        metrics.add_metric("RefreshSeconds", MetricUnit.Seconds, result.seconds)
        metrics.add_metric("RefreshLagSeconds", MetricUnit.Seconds, result.lag_seconds)
    return result.to_event()
