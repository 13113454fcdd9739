"""What functions measure together, or with a dimension more than the service's. Decides nothing that is measured.

Each value of a dimension is a metric with a price of its own, so there are few: registries, kinds of requests, classes
of errors.
"""

import os
from collections.abc import Iterable

from aws_lambda_powertools import Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from pullahead.freshness.quota import Used
from pullahead.usecases.check import CheckResult
from pullahead.usecases.follow_listing import ListResult

metrics = Metrics()  # the same as the handlers': Powertools keeps one set for a process


def add_upstream_use(used: Iterable[Used]) -> None:
    """Say how often registries were asked for what, and what they leave of their limits."""
    remaining = {}
    for use in used:
        _add_metric("UpstreamRequests", use.requests, host=use.host, kind=use.kind)
        if use.remaining is not None:
            remaining[use.host] = use.remaining
    for host, left in remaining.items():
        _add_metric("RateLimitRemaining", left, host=host)


def add_checks(results: Iterable[CheckResult | ListResult]) -> None:
    """Count checks, those that failed, and refreshes that an upstream's limit put off."""
    for result in results:
        if result.error is not None:
            add_failed_check(result.error)
            continue
        metrics.add_metric("Checks", MetricUnit.Count, isinstance(result, CheckResult))
        if isinstance(result, CheckResult) and result.deferred:
            metrics.add_metric("Deferred", MetricUnit.Count, 1)


def add_failed_check(error: Exception) -> None:
    """Count a check that failed, and say by what."""
    add_failure(type(error).__name__)
    metrics.add_metric("CheckFailures", MetricUnit.Count, 1)


def add_failure(error: str) -> None:
    """Say that something failed, by the class of its error."""
    _add_metric("Failures", 1, error=error)


def _add_metric(name: str, value: float, **dimensions: str) -> None:
    service = {"service": os.environ["POWERTOOLS_SERVICE_NAME"]}
    with single_metric(name, MetricUnit.Count, value, default_dimensions=service | dimensions):
        pass
