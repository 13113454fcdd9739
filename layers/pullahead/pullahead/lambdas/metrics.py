"""What functions measure together, or with a dimension more than the service's. Decides nothing that is measured.

Each value of a dimension is a metric with a price of its own, so there are few: registries, kinds of requests, classes
of errors.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from pullahead.alerts.review import Reviewed
from pullahead.checks.check import CheckResult
from pullahead.checks.ecr_events import IgnoredEvent
from pullahead.checks.handle_message import MessageResult
from pullahead.checks.listing import ListResult
from pullahead.checks.pull_through_cache import CacheFailed
from pullahead.errors import PullaheadError
from pullahead.mirrors.rate_limit_budget import UpstreamUse
from pullahead.refresh.queue import StartedWaiting

if TYPE_CHECKING:
    from pullahead.on_demand.notice_pulls import NoticedPulls


logger, metrics = Logger(), Metrics()  # the same as the handlers': Powertools keeps one set for a process


def add_upstream_use(used: Iterable[UpstreamUse]) -> None:
    """Say how often registries were asked for what, and what they leave of their limits."""
    remaining = {}
    for use in used:
        _add_metric("UpstreamRequests", use.requests, host=use.host, kind=use.kind)
        if use.remaining is not None:
            remaining[use.host] = use.remaining
    for host, left in remaining.items():
        _add_metric("RateLimitRemaining", left, host=host)


def add_checks(results: Iterable[MessageResult]) -> None:
    """Count checks, those that failed, refreshes that an upstream's limit put off, those that run and wait, and events
    that were ignored or tell of a failing cache."""
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


def _add_other(result: StartedWaiting | IgnoredEvent | CacheFailed) -> None:
    if isinstance(result, StartedWaiting):
        _add_refreshes(result)
    elif isinstance(result, IgnoredEvent):
        _add_metric("EventsIgnored", 1, why=result.why.value)
    else:
        metrics.add_metric("CacheFailures", MetricUnit.Count, 1)


def _add_refreshes(filled: StartedWaiting) -> None:
    """Say how many refreshes run and wait, where that was counted and there are some: a metric has a price."""
    if filled.waiting is not None and (filled.running or filled.waiting):
        metrics.add_metric("RefreshesRunning", MetricUnit.Count, filled.running)
        metrics.add_metric("RefreshesWaiting", MetricUnit.Count, filled.waiting)


def add_review(reviewed: Reviewed) -> None:
    """Say how late mirrors are, each time; and what was told, held back or forgotten, where anything was."""
    if reviewed.lateness is not None:
        metrics.add_metric("StaleTags", MetricUnit.Count, reviewed.lateness.mirrors)
        metrics.add_metric("OldestStaleSeconds", MetricUnit.Seconds, reviewed.lateness.oldest_seconds)
    if reviewed.telling.told:
        metrics.add_metric("AlertsTold", MetricUnit.Count, len(reviewed.telling.told))
    if reviewed.telling.held_back:
        metrics.add_metric("AlertsHeldBack", MetricUnit.Count, reviewed.telling.held_back)
    if reviewed.retired.records:
        metrics.add_metric("MirrorsRetired", MetricUnit.Count, reviewed.retired.records)


def add_failed_check(error: Exception) -> None:
    """Count a check that failed, and say by what."""
    add_failure(type(error).__name__)
    metrics.add_metric("CheckFailures", MetricUnit.Count, 1)


def add_failure(error: str) -> None:
    """Say that something failed, by the class of its error."""
    _add_metric("Failures", 1, error=error)


def add_webhook(outcome: str) -> None:
    """Count a webhook, by what became of it."""
    _add_metric("Webhooks", 1, answer=outcome)


def add_pulls(noticed: "NoticedPulls") -> None:
    """Count the mirrors that were pulled and are allowed, those that are fetched, and those that are not."""
    metrics.add_metric("PullsNoticed", MetricUnit.Count, noticed.seen)
    metrics.add_metric("MirrorsDemanded", MetricUnit.Count, len(noticed.demanded))
    metrics.add_metric("DemandsRefused", MetricUnit.Count, len(noticed.refused))
    for error in noticed.failed.values():
        add_failure(type(error).__name__)


def add_unsent(errors: Iterable[PullaheadError]) -> None:
    """Count, and log, what has kept events about mirrors from being sent. They are sent later."""
    for error in errors:
        add_failure(type(error).__name__)
        logger.error("events are not sent yet; a later check sends them", extra={"cause": str(error)})


def _add_metric(name: str, value: float, **dimensions: str) -> None:
    service = {"service": os.environ["POWERTOOLS_SERVICE_NAME"]}
    with single_metric(name, MetricUnit.Count, value, default_dimensions=service | dimensions):
        pass
