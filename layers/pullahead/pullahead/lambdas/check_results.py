"""What the results of checks mean for metrics, the log, and whether a message is retried."""

from collections.abc import Iterable, Sequence

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from pullahead.checks.check import CheckResult
from pullahead.checks.ecr_events import IgnoredEvent
from pullahead.checks.handle_message import MessageResult
from pullahead.checks.listing import ListResult
from pullahead.checks.pull_through_cache import CacheFailed
from pullahead.checks.put_back import LeftToSchedule, PutBack
from pullahead.errors import PullaheadError
from pullahead.lambdas.log_lines import new_logger
from pullahead.lambdas.metrics import add_failed_check, add_metric
from pullahead.refresh.queue import StartedWaiting

logger, metrics = new_logger(), Metrics()  # the handlers' own: Powertools keeps one set for a process


def add_checks(results: Iterable[MessageResult]) -> None:
    """Count checks, failed checks, refreshes that a rate limit deferred, that run and that wait, what was put back into
    the queue or left to the schedule, ignored events, and failures of the pull through cache."""
    for result in results:
        if not isinstance(result, CheckResult | ListResult):
            _add_other(result)
            continue
        if result.error is not None:
            add_failed_check(result.error)
            continue
        metrics.add_metric("Checks", MetricUnit.Count, isinstance(result, CheckResult))
        if isinstance(result, CheckResult) and result.deferred:
            metrics.add_metric("Deferred", MetricUnit.Count, 1)


def _add_other(result: StartedWaiting | IgnoredEvent | CacheFailed | PutBack | LeftToSchedule) -> None:
    if isinstance(result, StartedWaiting):
        _add_refreshes(result)
    elif isinstance(result, PutBack):
        metrics.add_metric("ChecksPutBack", MetricUnit.Count, result.checks)
    elif isinstance(result, IgnoredEvent):
        add_metric("EventsIgnored", 1, why=result.why.value)
    elif isinstance(result, CacheFailed):
        metrics.add_metric("CacheFailures", MetricUnit.Count, 1)
    elif isinstance(result, LeftToSchedule):
        metrics.add_metric("ChecksLeftToSchedule", MetricUnit.Count, result.mirrors)


def _add_refreshes(result: StartedWaiting) -> None:
    """Report how many refreshes run and wait, where that was counted and there are some: a metric has a price."""
    if result.waiting is not None and (result.running or result.waiting):
        metrics.add_metric("RefreshesRunning", MetricUnit.Count, result.running)
        metrics.add_metric("RefreshesWaiting", MetricUnit.Count, result.waiting)


def log_results(results: Sequence[MessageResult]) -> None:
    """Log what failed or changed, and once for a batch what a rate limit defers."""
    for result in results:
        if isinstance(result, CacheFailed):
            logger.warning("ECR's pull through cache failed", extra=result._asdict())
        elif isinstance(result, PutBack):
            request, delay = result.request.to_event(), result.delay_seconds
            logger.info("put back into the queue", extra={"request": request, "delay_seconds": delay})
        elif isinstance(result, LeftToSchedule):
            logger.warning("left to the schedule", extra=result._asdict())
        elif isinstance(result, IgnoredEvent):
            logger.debug("event ignored", extra=result._asdict())
        elif result.error is not None:
            logger.error("check failed", extra=result._asdict())
        else:  # at INFO, unchanged mirrors would fill the log
            (logger.info if result.changed else logger.debug)("checked", extra=result._asdict())
    if deferred := [result for result in results if isinstance(result, CheckResult) and result.deferred]:
        mirrors = [result.mirror for result in deferred]
        logger.info("deferred", extra={"mirrors": mirrors, "reason": deferred[0].reason})


def failure_of(results: Sequence[MessageResult]) -> PullaheadError | None:
    """Return the error for which a message is to be retried, if there is one."""
    errors = (result.error for result in results if isinstance(result, CheckResult | ListResult))
    return next((error for error in errors if error is not None), None)
