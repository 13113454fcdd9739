"""`python -m bench.costs`: what checking costs a month, computed and written into docs/operating.md.

From what a batch of checks asks for (CALLS, which a test counts), what is assumed of the world (ASSUMED), and list
prices. What refreshes cost depends on how much upstreams change, and is left out; so are NAT gateways and what ECR
stores.
"""

import math
import sys
from pathlib import Path
from typing import NamedTuple

from pullahead.checks.timetable import ECR_ASKED_EVERY
from pullahead.messages import MAX_TAGS_PER_CHECK

PAGE = Path(__file__).parents[1] / "docs" / "operating.md"
BEGIN, END = "<!-- costs: written by `make costs` -->", "<!-- costs: end -->"
TAGS, MINUTES = (100, 1_000, 10_000, 100_000), (15, 5)


class Prices(NamedTuple):
    """USD, as AWS listed them for eu-west-1 early in 2026; look at today's before you rely on them."""

    lambda_gb_second: float = 0.0000133334  # arm64
    lambda_request: float = 0.0000002
    sqs_request: float = 0.0000004
    read_unit: float = 0.0000001415  # DynamoDB on demand
    write_unit: float = 0.0000007068
    s3_get: float = 0.0000004
    s3_put: float = 0.000005
    transition: float = 0.000025  # of Step Functions, standard
    log_gb: float = 0.57
    trace: float = 0.000005
    metric: float = 0.30
    alarm: float = 0.10
    dashboard: float = 3.00
    trail_event: float = 0.00002  # of CloudTrail, a management event's second copy; the first trail is free
    guardduty_event: float = 0.000004  # GuardDuty, of the first 500 million management events


class Free(NamedTuple):
    """What AWS gives to every account every month, for good, if nothing else in the account uses it up."""

    lambda_gb_seconds: float = 400_000
    lambda_requests: float = 1_000_000
    sqs_requests: float = 1_000_000
    log_gb: float = 5
    traces: float = 100_000
    metrics: int = 10
    alarms: int = 10
    dashboards: int = 3


class Calls(NamedTuple):
    """What the checks of tags of one repository ask for when nothing has changed."""

    heads_per_tag: int = 1
    tokens: int = 1  # of a registry whose tokens are valid for less than an interval, as Docker Hub's for 300 s
    read_units_per_tag: float = 0.5  # BatchGetItem, eventually consistent, for an item of up to 4 KB
    describe_images: int = 1  # up to 100 tags, in ECR_ASKED_EVERY; free, but those who record management events charge
    writes: int = 0
    read_units_of_review: float = 11  # while every mirror is fresh: the shards of the index, heartbeat and incidents
    read_units_of_schedule: float = 2


class AdmissionCalls(NamedTuple):
    """What a new digest asks for, beyond what it does without `admit`, where it cools, is verified and is scanned."""

    executions: int = 1  # it is copied by one, and published by another
    transitions: int = 8  # of an execution that finds every blob: the states on its way
    plan_reads: int = 4  # S3: the plan, and the manifest
    plan_writes: int = 2
    record_writes: int = 4
    record_reads: int = 7
    checks: int = 4  # 30 seconds after the copy, after the event of the scan, and when it is old enough; one to spare


class Assumed(NamedTuple):
    """What no test can tell. The metric Duration of check_freshness says how long yours take."""

    schedule_minutes: int = 5
    tags_per_repository: int = 10
    messages_per_batch: int = 10
    registries: int = 2  # that are asked at the same time
    request_seconds: float = 0.1  # of a HEAD or a token
    requests_at_once: int = 8  # to each registry
    message_seconds: float = 0.03  # DescribeImages; and so much for each batch
    batch_seconds: float = 0.05
    source_calls: int = 3  # of a schedule: DescribePullThroughCacheRules, DescribeRepositories, GetResources
    schedule_seconds: float = 1.0
    review_seconds: float = 0.5
    scan_seconds_per_thousand: float = 0.5  # of the daily scan, in reviews
    review_gb: float = 1.0
    record_kilobytes: float = 1.2
    function_gb: float = 0.25
    concurrency: int = 5
    idle_polls_per_minute: float = 15  # Lambda's own: five pollers, each waiting up to 20 seconds
    log_kilobytes: float = 2.5  # of an invocation, with its metrics
    sampled_share: float = 0.05  # X-Ray samples one request a second, and this share of the rest
    admitting_gb_seconds: float = 5.0  # plan, verify (512 MB, a cold start) and publish, and their outcome
    admitting_requests: int = 4
    record_write_units: int = 3  # of 1 KB
    steady_metrics: int = 10  # see docs/operating.md; two registries, one of which tells its limit
    alarm_metrics: int = 14


PRICES, FREE, CALLS, ADMISSION, ASSUMED = Prices(), Free(), Calls(), AdmissionCalls(), Assumed()
MOVES = (4, 30)
"""How often a tag moves in a month: now and then, or daily."""
_MONTH_MINUTES = 730 * 60
_KILOBYTES = 1_000_000  # in a gigabyte


class Use(NamedTuple):
    """What is used in a month; the requests to upstreams are HEADs and tokens."""

    checks: float
    upstream_requests: float
    management_events: float
    lambda_gb_seconds: float
    lambda_requests: float
    sqs_requests: float
    read_units: float
    write_units: float
    s3_gets: float
    log_gb: float
    traces: float


def use_of(tags: int, check_every: int) -> Use:
    """Compute what checking so many tags, so often, uses."""
    runs = _MONTH_MINUTES / ASSUMED.schedule_minutes
    share_due = min(1.0, ASSUMED.schedule_minutes / check_every)
    repositories = tags / ASSUMED.tags_per_repository * share_due  # the tags of each are due together
    messages = repositories * math.ceil(ASSUMED.tags_per_repository / MAX_TAGS_PER_CHECK)
    invocations = math.ceil(messages / ASSUMED.messages_per_batch)
    requests = tags * share_due * CALLS.heads_per_tag + repositories * CALLS.tokens
    waves = math.ceil(requests / invocations / ASSUMED.registries / ASSUMED.requests_at_once)
    describes = messages * CALLS.describe_images * min(1.0, check_every / (ECR_ASKED_EVERY.total_seconds() / 60))
    seconds = (
        invocations * (waves * ASSUMED.request_seconds + ASSUMED.batch_seconds) + describes * ASSUMED.message_seconds
    )
    days = _MONTH_MINUTES / 60 / 24
    scan = tags * ASSUMED.record_kilobytes / 4 / 2  # eventually consistent: half a unit for 4 KB
    scanning = days * ASSUMED.scan_seconds_per_thousand * tags / 1000
    reviewing = runs * ASSUMED.review_seconds + scanning
    sampled: float = min(invocations, math.ceil(seconds / ASSUMED.concurrency))
    sampled += (invocations - sampled) * ASSUMED.sampled_share
    return Use(
        checks=runs * tags * share_due,
        upstream_requests=runs * requests,
        management_events=runs * (describes + ASSUMED.source_calls),
        lambda_gb_seconds=runs * (seconds + ASSUMED.schedule_seconds) * ASSUMED.function_gb
        + reviewing * ASSUMED.review_gb,
        lambda_requests=runs * (invocations + 2),
        sqs_requests=runs * 3 * invocations + ASSUMED.idle_polls_per_minute * _MONTH_MINUTES,
        read_units=runs
        * (tags * share_due * CALLS.read_units_per_tag + CALLS.read_units_of_review + CALLS.read_units_of_schedule)
        + days * scan,
        write_units=runs * (1 + messages * CALLS.writes),
        s3_gets=runs * (2 + min(invocations, ASSUMED.concurrency)),
        log_gb=runs * (invocations + 2) * ASSUMED.log_kilobytes / _KILOBYTES,
        traces=runs * (sampled + 2),
    )


def cost_of(use: Use, free: Free | None = None) -> dict[str, float]:
    """Price a month's use by service, less what is free."""
    given = free or Free(0, 0, 0, 0, 0, 0, 0, 0)
    return {
        "Lambda": _over(use.lambda_gb_seconds, given.lambda_gb_seconds) * PRICES.lambda_gb_second
        + _over(use.lambda_requests, given.lambda_requests) * PRICES.lambda_request,
        "DynamoDB": use.read_units * PRICES.read_unit + use.write_units * PRICES.write_unit,
        "SQS": _over(use.sqs_requests, given.sqs_requests) * PRICES.sqs_request,
        "Logs, traces, S3": _over(use.log_gb, given.log_gb) * PRICES.log_gb
        + _over(use.traces, given.traces) * PRICES.trace
        + use.s3_gets * PRICES.s3_get,
    }


def recording_cost(use: Use) -> tuple[float, float]:
    """Price what others record of a month's use, if an account has it: a second trail of CloudTrail, and GuardDuty."""
    return use.management_events * PRICES.trail_event, use.management_events * PRICES.guardduty_event


def watching_cost(free: Free | None = None) -> float:
    """Price metrics, alarms and the dashboard, which cost the same for any number of tags."""
    given = free or Free(0, 0, 0, 0, 0, 0, 0, 0)
    return (
        _over(ASSUMED.steady_metrics, given.metrics) * PRICES.metric
        + _over(ASSUMED.alarm_metrics, given.alarms) * PRICES.alarm
        + _over(1, given.dashboards) * PRICES.dashboard
    )


def admission_cost(digests: float) -> dict[str, float]:
    """Price what admission adds in a month with so many new digests."""
    runs = ADMISSION.executions * ASSUMED.admitting_requests + ADMISSION.checks
    checking = ADMISSION.checks * (ASSUMED.request_seconds + ASSUMED.batch_seconds) * 2 * ASSUMED.function_gb
    event_reads = ASSUMED.tags_per_repository / 2  # of a repository's records, for the event of a scan
    reads = ADMISSION.record_reads + event_reads
    each = {
        "Step Functions": ADMISSION.transitions * PRICES.transition,
        "Lambda": (ADMISSION.executions * ASSUMED.admitting_gb_seconds + checking) * PRICES.lambda_gb_second
        + runs * PRICES.lambda_request,
        "DynamoDB": ADMISSION.record_writes * ASSUMED.record_write_units * PRICES.write_unit + reads * PRICES.read_unit,
        "SQS": 3 * ADMISSION.checks * PRICES.sqs_request,
        "Logs, traces, S3": runs
        * (ASSUMED.log_kilobytes / _KILOBYTES * PRICES.log_gb + ASSUMED.sampled_share * PRICES.trace)
        + ADMISSION.plan_reads * PRICES.s3_get
        + ADMISSION.plan_writes * PRICES.s3_put,
    }
    return {name: digests * amount for name, amount in each.items()}


def admission_table(tags: int = 1_000, minutes: int = 15) -> str:
    """Write what admission adds to the checks of so many tags, by how often each moves."""
    checking = sum(cost_of(use_of(tags, minutes)).values())
    names = list(admission_cost(1))
    head = ["moves of a tag a month", *names, "sum", "with all checks"]
    lines = [f"| {' | '.join(head)} |", f"|{' ---: |' * len(head)}"]
    for moves in MOVES:
        costs = admission_cost(tags * moves)
        added = sum(costs.values())
        cells = [str(moves), *map(_usd, costs.values()), _usd(added), f"**{_usd(checking + added)}**"]
        lines.append(f"| {' | '.join(cells)} |")
    what = f"What `admit` adds with `min_age`, `verify` and `scan`, to {tags:,} tags every {minutes} minutes"
    return "\n".join([f"{what}:", "", *lines])


def table() -> str:
    """Write the table as the page has it."""
    names = list(cost_of(use_of(100, 15)))
    head = ["tags", "`check_every`", "requests upstream a month", *names, "sum", "less what is free"]
    head += ["second trail", "GuardDuty"]
    lines = [f"| {' | '.join(head)} |", f"|{' ---: |' * len(head)}"]
    for minutes in MINUTES:
        for tags in TAGS:
            use = use_of(tags, minutes)
            costs, left = cost_of(use), sum(cost_of(use, FREE).values())
            cells = [
                f"{tags:,}",
                f"{minutes}m",
                f"{use.upstream_requests / 1e6:.1f} million",
                *map(_usd, costs.values()),
            ]
            cells += [f"**{_usd(sum(costs.values()))}**", _usd(left), *map(_usd, recording_cost(use))]
            lines.append(f"| {' | '.join(cells)} |")
    watched = f"Metrics, alarms and the dashboard cost {_usd(watching_cost())} more, whatever the number of tags"
    watched = f"{watched}; {_usd(watching_cost(FREE))} less what is free."
    return "\n".join([*lines, "", watched, "", admission_table()])


def with_table(page: str) -> str:
    """Put the table between its marks."""
    return between(page, BEGIN, END, table())


def between(page: str, begin: str, end: str, text: str) -> str:
    """Put a text between two marks of a page."""
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"the page has no {begin} … {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> int:
    """Write the page anew."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{table()}\n")
    return 0


def _over(used: float, given: float) -> float:
    return max(0.0, used - given)


def _usd(amount: float) -> str:
    return f"{amount:.2f}"


if __name__ == "__main__":
    sys.exit(main())
