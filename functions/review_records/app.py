"""Review all records: measure lateness, send alerts, retire what no rule follows. Called by the schedule."""

from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.alerts.review import Reviewed
from pullahead.app import Application, application, prepare
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_damaged, add_left_alone, add_review

logger, metrics = new_logger(), Metrics()
prepare("review_records")


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return handle(context, application())


def handle(context: LambdaContext, app: Application) -> dict[str, Any]:
    reviewed = app.review_records(lambda: context.get_remaining_time_in_millis() / 1000)
    add_review(reviewed)
    add_left_alone(app.take_newer_items())
    add_damaged(app.take_damaged_items())
    report(reviewed)
    if reviewed.errors:
        raise reviewed.errors[0]
    return {"records": reviewed.records, "sent": len(reviewed.notifications.sent), "retired": reviewed.scan.retired}


def report(reviewed: Reviewed) -> None:
    """Log what was sent, and everything that failed: the function raises the first error only."""
    notifications, scan = reviewed.notifications, reviewed.scan
    counts = {"records": reviewed.records, "held_back": notifications.held_back, "dropped": notifications.dropped}
    scanned = {"scanned": scan.records, "retired": scan.retired, "repaired": scan.repaired}
    logger.info("reviewed", extra={**counts, "sent": notifications.sent, **scanned})
    if notifications.left:
        text = "alerts that were sent, or are over, could not be removed from all of their records; the next reviews do"
        logger.warning(text, extra={"records_left": notifications.left})
    if scan.repaired:
        logger.warning("records were not in the index of reviews as they should be; they are now", extra=scanned)
    for limit in reviewed.limits:
        logger.error("a limit was reached: %s", limit.value, extra=counts)
    for error in reviewed.errors[:20]:
        logger.error("part of the review failed; the next one retries it", extra={"error": str(error)})
