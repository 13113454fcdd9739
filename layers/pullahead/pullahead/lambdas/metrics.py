"""The metrics that several functions emit, or that have another dimension than the service.

CloudWatch bills each value of a dimension as a metric, so there are few: registries, kinds of requests, error classes.
"""

import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aws_lambda_powertools import Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from pullahead.lambdas.log_lines import new_logger

if TYPE_CHECKING:
    from pullahead.alerts.review import Reviewed
    from pullahead.aws.newer_items import DamagedItems, LeftAlone
    from pullahead.errors import PullaheadError
    from pullahead.mirrors.rate_limit_budget import UpstreamUse
    from pullahead.on_demand.notice_pulls import NoticedPulls


logger, metrics = new_logger(), Metrics()  # the handlers' own: Powertools keeps one set for a process
# Powertools writes this line of plain text where a run has nothing to count, which is nothing unusual.
warnings.filterwarnings("ignore", message="No application metrics to publish")


def add_upstream_use(used: "Iterable[UpstreamUse]") -> None:
    """Count the requests to registries by kind, and report what is left of their limits."""
    remaining_by_host = {}
    for use in used:
        add_metric("UpstreamRequests", use.requests, host=use.host, kind=use.kind)
        if use.remaining is not None:
            remaining_by_host[use.host] = use.remaining
    for host, remaining in remaining_by_host.items():
        add_metric("RateLimitRemaining", remaining, host=host)


def add_review(reviewed: "Reviewed") -> None:
    """Report how late mirrors are; and sent alerts, alerts that were held back or are left in records, retired records,
    repairs of the index and limits that were reached, where there are any."""
    if reviewed.lateness is not None:
        metrics.add_metric("StaleTags", MetricUnit.Count, reviewed.lateness.mirrors)
        metrics.add_metric("OldestStaleSeconds", MetricUnit.Seconds, reviewed.lateness.oldest_seconds)
    if reviewed.notifications.sent:
        metrics.add_metric("AlertsTold", MetricUnit.Count, len(reviewed.notifications.sent))
    if reviewed.notifications.held_back:
        metrics.add_metric("AlertsHeldBack", MetricUnit.Count, reviewed.notifications.held_back)
    if reviewed.notifications.left:
        metrics.add_metric("AlertsLeft", MetricUnit.Count, reviewed.notifications.left)
    if reviewed.scan.retired:
        metrics.add_metric("MirrorsRetired", MetricUnit.Count, reviewed.scan.retired)
    if reviewed.scan.repaired:
        metrics.add_metric("IndexRepairs", MetricUnit.Count, reviewed.scan.repaired)
    if reviewed.limits:
        metrics.add_metric("LimitsReached", MetricUnit.Count, len(reviewed.limits))


def add_failed_check(error: Exception) -> None:
    """Count a failed check, and its error."""
    add_failure(type(error).__name__)
    metrics.add_metric("CheckFailures", MetricUnit.Count, 1)


def add_failure(error: str) -> None:
    """Count a failure by the class of its error."""
    add_metric("Failures", 1, error=error)


def add_verified(outcome: str) -> None:
    """Count a look at signatures by its outcome."""
    add_metric("SignaturesVerified", 1, outcome=outcome)


def add_webhook(outcome: str) -> None:
    """Count a webhook by its outcome."""
    add_metric("Webhooks", 1, answer=outcome)


def add_pulls(noticed: "NoticedPulls") -> None:
    """Count the pulled mirrors that rules on demand allow, those that are copied now, and those that are refused."""
    metrics.add_metric("PullsNoticed", MetricUnit.Count, noticed.seen)
    metrics.add_metric("MirrorsDemanded", MetricUnit.Count, len(noticed.demanded))
    metrics.add_metric("DemandsRefused", MetricUnit.Count, len(noticed.refused))
    for error in noticed.failed.values():
        add_failure(type(error).__name__)


def add_unsent(errors: "Iterable[PullaheadError]") -> None:
    """Count and log the errors that have kept outcome events from being sent. They are sent later."""
    for error in errors:
        add_failure(type(error).__name__)
        logger.error("outcome events could not be sent; a later check sends them", extra={"cause": str(error)})


def add_left_alone(left: "LeftAlone | None") -> None:
    """Count and log the stored items that only a newer version of Pullahead can read."""
    if left is not None:
        add_metric("ItemsLeftAlone", left.items)
        logger.warning("items of a newer version of Pullahead are left as they are", extra=left._asdict())


def add_damaged(damaged: "DamagedItems | None") -> None:
    """Count and log the stored items that cannot be read. They count as none."""
    if damaged is not None:
        add_metric("ItemsDamaged", damaged.items)
        message = "stored items cannot be read and count as none; they are written anew where that is safe"
        logger.error(message, extra=damaged._asdict())


def add_metric(name: str, value: float, **dimensions: str) -> None:
    """Count something by dimensions of its own, besides the service."""
    service = {"service": os.environ["POWERTOOLS_SERVICE_NAME"]}
    with single_metric(name, MetricUnit.Count, value, default_dimensions=service | dimensions):
        pass
