"""Publish a copied image: child manifests first, then the root with its tag. The only function that moves a tag."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_damaged, add_left_alone
from pullahead.messages import PublishRequest, ReferrersOutcome

logger = new_logger()
prepare("publish_image")


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def log_referrers(referrers: ReferrersOutcome | None) -> None:
    """Log what became of the referrers, and why some are not copied."""
    if referrers is None:
        return
    counts = {"copied": referrers.copied, "excluded": referrers.excluded, "not_applicable": referrers.not_applicable}
    logger.info("referrers", extra={**counts, "failed": referrers.failed})
    for trouble in referrers.troubles:
        logger.warning("referrer failed", extra={"error": trouble.kind, "cause": trouble.text})
    for limit in referrers.limits:
        logger.warning("referrers left out", extra={"limit": limit})


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    asked = PublishRequest.from_event(event)
    request = asked.request
    logger.append_keys(refresh=request.name, upstream=request.upstream, digest=asked.root)
    result = app.publish_image(asked)
    add_left_alone(app.take_newer_items())
    add_damaged(app.take_damaged_items())
    if result.held:
        logger.info("copied; the tag was not moved", extra={"why": result.held})
    else:
        logger.info("superseded; the tag was not moved" if result.superseded else "published")
    log_referrers(result.referrers)
    return result.to_event()
