"""Compare mirrors with their upstreams, and list what rules choose from. A message that fails alone comes back."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.messages import read_queued
from pullahead.metering import add_checks, add_failed_check, add_upstream_use
from pullahead.usecases.check import CheckResult
from pullahead.usecases.follow_listing import ListResult
from pullahead.wiring import Application, application

logger, metrics, tracer = Logger(), Metrics(), Tracer()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    check = partial(handle, app=application())
    answer = process_partial_response(event=event, record_handler=check, processor=processor, context=context)
    add_upstream_use(application().take_upstream_use())
    return answer


def handle(record: SQSRecord, app: Application) -> None:
    try:
        results = app.check(read_queued(record.body))
    except Exception as error:
        logger.exception("check failed; the message comes back", extra={"message_id": record.message_id})
        add_failed_check(error)
        raise
    add_checks(results)
    report(results)
    if failed := [result.error for result in results if result.error is not None]:
        raise failed[0]


def report(results: Sequence[CheckResult | ListResult]) -> None:
    """Log what failed or changed, and once what a limit of upstream's leaves to the next check."""
    for result in results:
        if result.error is not None:
            logger.error("check failed; the message comes back", extra=result._asdict())
        else:  # what is as it was would fill the log
            (logger.info if result.changed else logger.debug)("checked", extra=result._asdict())
    if deferred := [result for result in results if isinstance(result, CheckResult) and result.deferred]:
        mirrors = [result.mirror for result in deferred]
        logger.info("deferred to the next check", extra={"mirrors": mirrors, "reason": deferred[0].reason})
