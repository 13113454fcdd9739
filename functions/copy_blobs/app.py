"""Copy the blobs of one unit, as many as there is time for. Step Functions calls it for each unit until it is done."""

from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_upstream_use
from pullahead.messages import UnitRequest

logger, metrics = new_logger(), Metrics()
prepare("copy_blobs")


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return handle(event, context, application())


def handle(event: dict[str, Any], context: LambdaContext, app: Application) -> dict[str, Any]:
    request = UnitRequest.from_event(event)
    logger.append_keys(refresh=request.refresh, unit=request.unit, round=request.rounds)
    result = app.copy_blobs(request, lambda: context.get_remaining_time_in_millis() / 1000)
    bytes_copied = result.bytes_copied - request.bytes_copied
    logger.info(
        "copied" if result.done else "time budget used; continuing in another invocation",
        extra={"bytes_copied": bytes_copied},
    )
    metrics.add_metric("BytesCopied", MetricUnit.Bytes, bytes_copied)
    add_upstream_use(app.take_upstream_use())
    return result.to_event()
