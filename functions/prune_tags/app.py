"""Remove from ECR tags that upstream removed or no rule chooses any more, or report them. Called once a day."""

from collections.abc import Sequence
from typing import Any, Final

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from pullahead.app import Application, application, prepare
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_damaged, add_left_alone, add_unsent
from pullahead.retention.prune import Pruned

logger, metrics = new_logger(), Metrics()
prepare("prune_tags")

_MAX_NAMED: Final = 100
_MESSAGE: Final = "pruned"  # the dashboard asks the log for it


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return handle(context, application())


def handle(context: LambdaContext, app: Application) -> dict[str, Any]:
    pruned = app.prune_tags(lambda: context.get_remaining_time_in_millis() / 1000)
    add_unsent(app.take_unsent())
    add_left_alone(app.take_newer_items())
    add_damaged(app.take_damaged_items())
    report(pruned)
    if pruned.errors:
        raise pruned.errors[0]
    return {
        "rules": len(pruned.rules),
        "removed": sum(len(rule.removed) for rule in pruned.rules),
        "due": sum(len(rule.due) for rule in pruned.rules),
    }


def report(pruned: Pruned) -> None:
    """Log what went and what would go, and everything that failed: the function raises the first error only."""
    if pruned.why_not:
        logger.warning("nothing is pruned: %s", pruned.why_not)
    if pruned.left:
        left = {"left": pruned.left}
        logger.warning("no time for every rule; those that are left come first on another day", extra=left)
    for rule in pruned.rules:
        counts = {"missing": rule.missing, "held": rule.held, "previous_removed": rule.previous_removed}
        tags = {"removed": _tags_text(rule.removed), "due": _tags_text(rule.due)}
        why = {"why_held": rule.why_held, "doubt": rule.doubt}
        logger.info(_MESSAGE, extra={"rule": rule.rule, **tags, **counts, **why})
        for error in rule.errors[:20]:
            logger.error("part of the pruning failed; the next one retries it", extra={"error": str(error)})
    if pruned.rules:
        removed = sum(len(rule.removed) + rule.previous_removed for rule in pruned.rules)
        metrics.add_metric("TagsPruned", MetricUnit.Count, removed)
        metrics.add_metric("TagsDueForPruning", MetricUnit.Count, sum(len(rule.due) for rule in pruned.rules))
        metrics.add_metric("TagsHeldFromPruning", MetricUnit.Count, sum(rule.held for rule in pruned.rules))


def _tags_text(tags: Sequence[str]) -> str:
    """List tags in a text, as a query of the log shows no lists."""
    more = f" and {len(tags) - _MAX_NAMED} more" if len(tags) > _MAX_NAMED else ""
    return f"{', '.join(tags[:_MAX_NAMED])}{more}"
