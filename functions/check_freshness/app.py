"""Check mirrors against their upstreams, and list the tags that rules select from. Reads the checks queue.

A message that fails is retried alone. One that cannot be decoded, or has failed for the last time, goes to the
dead-letter queue with the reason.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application
from pullahead.checks.handle_message import DecodedMessage
from pullahead.lambdas.metrics import add_checks, add_failed_check, add_left_alone, add_unsent, add_upstream_use
from pullahead.lambdas.sqs_batch import dead_letter_on_failure, failure_of, log_results, without_repeated_events

logger, metrics, tracer = Logger(), Metrics(), Tracer()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    response = process_batch(event, context, application())
    add_upstream_use(application().take_upstream_use())
    add_unsent(application().take_unsent())
    add_left_alone(application().take_newer_items())
    return response


def process_batch(event: dict[str, Any], context: LambdaContext | None, app: Application) -> Any:
    batch = without_repeated_events(event)
    messages = app.decode_messages([record["body"] for record in batch["Records"]])
    each = partial(handle, messages=messages, app=app)
    return process_partial_response(event=batch, record_handler=each, processor=processor, context=context)


def handle(record: SQSRecord, messages: Mapping[str, DecodedMessage], app: Application) -> None:
    with dead_letter_on_failure(record, app):
        check(record, messages[record.body], app)


def check(record: SQSRecord, message: DecodedMessage, app: Application) -> None:
    try:
        results = app.handle_message(message)
    except Exception as error:
        logger.exception("check failed", extra={"message_id": record.message_id})
        add_failed_check(error)
        raise
    add_checks(results)
    log_results(results)
    if (failure := failure_of(results)) is not None:
        raise failure
