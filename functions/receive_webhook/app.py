"""Receive webhooks at a function URL, and queue checks of the tags that they name. Logs no path and no body."""

from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_damaged, add_webhook

logger, metrics = new_logger(), Metrics()
prepare("receive_webhook")


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    response = app.receive_webhook(event)
    add_webhook(response.outcome)
    add_damaged(app.take_damaged_items())
    fields = {
        "sender": response.sender,
        "status": response.status,
        "outcome": response.outcome,
        "mirrors": response.mirrors,
    }
    if response.error is not None:
        message = "webhook could not be processed; the sender may retry it"
        logger.error(message, extra={**fields, "error": str(response.error)})
    else:
        logger.info("webhook received", extra={**fields, "body": response.body})
    return response.to_event()
