"""Notice what is pulled from ECR and not mirrored yet. A message that fails comes back alone."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.metering import add_failure
from pullahead.wiring import Application, application

logger, metrics, tracer = Logger(), Metrics(), Tracer()


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    noticed = app.notice_pulls({record["messageId"]: record["body"] for record in event["Records"]})
    logger.debug("passed over", extra={"reasons": noticed.ignored})
    metrics.add_metric("PullsNoticed", MetricUnit.Count, noticed.seen)
    metrics.add_metric("MirrorsDemanded", MetricUnit.Count, len(noticed.demanded))
    metrics.add_metric("DemandsRefused", MetricUnit.Count, len(noticed.refused))
    if noticed.demanded or noticed.refused:
        logger.info("demanded", extra={"mirrors": noticed.demanded, "refused": noticed.refused})
    for mirror, error in noticed.failed.items():
        add_failure(type(error).__name__)
        logger.error("pull not noticed; the message comes back", extra={"mirror": mirror, "error": str(error)})
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in noticed.again]}
