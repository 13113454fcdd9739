"""Create the missing repository of a refresh. The only function that creates repositories and sets their policies."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.lambdas.log_lines import new_logger
from pullahead.messages import PlanRequest, RefreshRequest

logger = new_logger()
prepare("create_repository")


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    request = RefreshRequest.from_event(event)
    logger.append_keys(refresh=request.name, repository=request.repository)
    app.create_repository(request)
    logger.info("repository created, or created by another refresh")
    return PlanRequest(request, repository_created=True).to_event()
