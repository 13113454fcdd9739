"""Publish a copied image: child manifests first, then the root with its tag. The only function that moves a tag."""

from typing import Any

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application
from pullahead.lambdas.metrics import add_left_alone
from pullahead.messages import RefreshRequest

logger, tracer = Logger(), Tracer()


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    request = RefreshRequest.from_event(event)
    logger.append_keys(refresh=request.name, upstream=request.upstream, digest=request.root.digest)
    result = app.publish_image(request)
    add_left_alone(app.take_newer_items())
    logger.info("superseded; the tag was not moved" if result.superseded else "published")
    return result.to_event()
