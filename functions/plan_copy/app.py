"""Plan a copy: which manifests and blobs ECR lacks, in which units. The first state of a refresh."""

from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.errors import RepositoryMissingError
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_upstream_use
from pullahead.messages import PlanRequest

logger, metrics = new_logger(), Metrics()
prepare("plan_copy")


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return handle(event, application())


def handle(event: dict[str, Any], app: Application) -> dict[str, Any]:
    planned = PlanRequest.from_event(event)
    request = planned.request
    logger.append_keys(refresh=request.name, upstream=request.upstream, digest=request.root.digest)
    try:
        plan = app.plan_copy(request)
    except RepositoryMissingError:
        if planned.repository_created:  # and deleted since
            raise
        logger.info("the repository does not exist yet: it is created before this is planned")
        return {"repository_missing": True}
    logger.info(
        "planned",
        extra={
            "units": len(plan.units),
            "manifests": plan.manifests,
            "bytes_missing": plan.bytes_missing,
            "bytes_present": plan.bytes_present,
            "referrers": plan.referrers,
        },
    )
    metrics.add_metric("BytesSkipped", MetricUnit.Bytes, plan.bytes_present)
    add_upstream_use(app.take_upstream_use())
    return plan.to_event()
