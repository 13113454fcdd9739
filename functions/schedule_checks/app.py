"""Queue checks of the mirrors that are due. Called by the schedule; the content of the event is not used."""

from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_damaged, add_left_alone

logger, metrics = new_logger(), Metrics()
prepare("schedule_checks")


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(application())


def handle(app: Application) -> dict[str, Any]:
    scheduled = app.schedule_checks()
    add_left_alone(app.take_newer_items())
    add_damaged(app.take_damaged_items())
    for text in scheduled.problems:
        logger.warning("problem with the rules", extra={"problem": text})
    counts = {"mirrors": scheduled.mirrors, "due": scheduled.due}
    logger.info("checks queued", extra={**counts, "listings": scheduled.listings})
    metrics.add_metric("Mirrors", MetricUnit.Count, scheduled.mirrors)
    metrics.add_metric("ChecksQueued", MetricUnit.Count, scheduled.due)
    metrics.add_metric("Heartbeat", MetricUnit.Count, 1)
    return counts
