"""Render the page of mirrors. Called by the custom widget of the CloudWatch dashboard; it only reads."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.lambdas.log_lines import new_logger

logger = new_logger()
prepare("show_mirrors")


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> str:
    return handle(event, context, application())


def handle(event: dict[str, Any], context: LambdaContext, app: Application) -> str:
    shown = app.show_mirrors(event, context.invoked_function_arn)
    if shown.error is not None:
        logger.error("records could not be read; the widget shows the error", extra={"error": str(shown.error)})
    logger.info("page rendered", extra={"mirrors": shown.mirrors, "characters": len(shown.content)})
    return shown.content
