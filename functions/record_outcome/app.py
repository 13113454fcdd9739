"""Record how a refresh ended, well or badly, and tell whom it concerns. The last state of the refresh."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.messages import OutcomeRequest
from pullahead.wiring import Application, application

logger, metrics, tracer = Logger(), Metrics(), Tracer()


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    outcome = OutcomeRequest.from_event(event)
    logger.append_keys(refresh=outcome.request.name, upstream=outcome.request.upstream)
    result = app.record_outcome(outcome)
    failed = outcome.error is not None
    if outcome.error is not None:
        logger.error("refresh failed", extra={"error": outcome.error.error, "cause": outcome.error.text})
    logger.info("recorded", extra=result.to_event())
    metrics.add_metric("RefreshFailures" if failed else "Refreshes", MetricUnit.Count, 1)
    return result.to_event()
