"""Publish a copied image: child manifests first, then the root with its tag. The only function that moves a tag."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application
from pullahead.messages import RefreshRequest

logger, metrics, tracer = Logger(), Metrics(), Tracer()


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    request = RefreshRequest.from_event(event)
    logger.append_keys(refresh=request.name, upstream=request.upstream, digest=request.root.digest)
    result = app.publish_image(request)
    logger.info("superseded; the tag was not moved" if result.superseded else "published")
    return result.to_event()
