"""Process pulls from ECR that CloudTrail recorded: what rules on demand allow and is not mirrored yet is checked.

A message that fails is retried alone; one that has failed for the last time goes to the dead-letter queue with the
reason. A message that comes again is handled alone, since it may have ended the process that had it. Messages that are
not pulls are skipped.
"""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.errors import PullaheadError
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_damaged, add_failure, add_left_alone, add_pulls
from pullahead.lambdas.sqs_batch import process_batch, received_messages
from pullahead.on_demand.notice_pulls import NoticedPulls

logger, metrics = new_logger(), Metrics()
prepare("notice_pulls")


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    messages = received_messages(event)
    response = process_batch(messages, lambda some: notice({each.message_id: each.body for each in some}, app), app)
    add_left_alone(app.take_newer_items())
    add_damaged(app.take_damaged_items())
    return response


def notice(bodies: Mapping[str, str], app: Application) -> Mapping[str, Exception]:
    """Process pulls; return the errors of the messages that failed, by their identifiers.

    If something unforeseen stops the batch, each message is processed alone.
    """
    try:
        noticed = app.notice_pulls(bodies)
    except Exception as error:
        if len(bodies) > 1 and not isinstance(error, PullaheadError):
            return {failed: why for each in bodies.items() for failed, why in notice(dict([each]), app).items()}
        logger.exception("no pull of this batch could be processed")
        add_failure(type(error).__name__)
        return dict.fromkeys(bodies, error)
    add_pulls(noticed)
    report(noticed)
    return noticed.failures


def report(noticed: NoticedPulls) -> None:
    logger.debug("messages skipped", extra={"reasons": noticed.ignored})
    if noticed.demanded or noticed.refused:
        logger.info("mirrors demanded", extra={"mirrors": noticed.demanded, "refused": noticed.refused})
    for mirror, error in noticed.failed.items():
        logger.error("pull could not be processed", extra={"mirror": mirror}, exc_info=error)
