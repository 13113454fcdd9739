"""Verify who signed what a refresh copies, before its tag may move. Once a day, look at the age of the trust root."""

from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_damaged, add_left_alone, add_upstream_use, add_verified
from pullahead.messages import VerifyRequest

logger, metrics = new_logger(), Metrics()
prepare("verify_image")


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def report(problems: Sequence[str]) -> None:
    """Log what is wrong with the trust root, and count it for an alarm."""
    for problem in problems:
        logger.error("trust root", extra={"cause": problem})
    metrics.add_metric("TrustRootProblems", MetricUnit.Count, len(problems))


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    request = VerifyRequest.from_event(event).request
    if request is None:
        report(app.trust_root_problems())
        return {}
    logger.append_keys(refresh=request.name, upstream=request.upstream, digest=request.root.digest)
    result = app.verify_image(request)
    add_left_alone(app.take_newer_items())
    add_damaged(app.take_damaged_items())
    add_upstream_use(app.take_upstream_use())
    if result.outcome:
        add_verified(result.outcome)
        logger.info("verified", extra={"outcome": result.outcome, "why": result.why})
    else:
        logger.info("nothing was to be proven")
    return result.to_event()
