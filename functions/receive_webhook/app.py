"""Take webhooks at the function's URL, and queue checks of what they name. Logs no path and no body."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application
from pullahead.lambdas.metrics import add_webhook

logger, metrics, tracer = Logger(), Metrics(), Tracer()


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    answer = app.receive_webhook(event)
    add_webhook(answer.outcome)
    seen = {"sender": answer.sender, "status": answer.status, "outcome": answer.outcome, "mirrors": answer.mirrors}
    if answer.error is not None:
        logger.error("webhook not taken; it may be sent again", extra={**seen, "error": str(answer.error)})
    else:
        logger.info("webhook", extra={**seen, "told": answer.told})
    return answer.to_event()
