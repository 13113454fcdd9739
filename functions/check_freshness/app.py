"""Compare mirrors with their upstreams. Called with messages of the checks queue; a failed one alone comes back."""

from functools import partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.messages import CheckRequest
from pullahead.usecases.check import CheckResult
from pullahead.wiring import Application, application

logger, metrics, tracer = Logger(), Metrics(), Tracer()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    check = partial(handle, app=application())
    return process_partial_response(event=event, record_handler=check, processor=processor, context=context)


def handle(record: SQSRecord, app: Application) -> None:
    try:
        results = app.check(CheckRequest.from_json(record.body))
    except Exception:
        logger.exception("check failed; the message comes back", extra={"message_id": record.message_id})
        metrics.add_metric("CheckFailures", MetricUnit.Count, 1)
        raise
    for result in results:
        report(result)
    if failed := [result.error for result in results if result.error is not None]:
        raise failed[0]


def report(result: CheckResult) -> None:
    if result.error is not None:
        logger.error("check failed; the message comes back", extra=result._asdict())
        metrics.add_metric("CheckFailures", MetricUnit.Count, 1)
        return
    log = logger.info if result.changed else logger.debug  # what is as it was would fill the log
    log("checked", extra=result._asdict())
    metrics.add_metric("Checks", MetricUnit.Count, 1)
