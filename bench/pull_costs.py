"""`python -m bench.pull_costs`: what a million pulls cost, computed and written into docs/events.md.

Of pulls of known mirrors; what is new costs a check and a refresh each, which `daily_limit` bounds. EventBridge charges
nothing for events of AWS itself, CloudTrail nothing for the first trail's management events (their pricing pages).
"""

import sys
from pathlib import Path
from typing import NamedTuple

from bench.costs import ASSUMED, PRICES, between

PAGE = Path(__file__).parents[1] / "docs" / "events.md"
BEGIN, END = "<!-- pull costs: written by `make costs` -->", "<!-- pull costs: end -->"
_MILLION = 1_000_000
_MONTH_SECONDS = 730 * 3600
_KILOBYTES = 1_000_000  # in a gigabyte


class Calls(NamedTuple):
    """What a batch asks for: a share of one look-up for each mirror in it, which the tests count."""

    look_ups: int = 1
    read_units_per_mirror: float = 0.5  # BatchGetItem, eventually consistent: half a unit for an item below 4 KB
    sqs_per_message: float = 1.2  # sent one by one; received and deleted by tens


class Assumed(NamedTuple):
    """What no test can tell."""

    batch_size: int = 100
    window_seconds: int = 5
    seconds_of_batch: float = 0.1


CALLS, HERE = Calls(), Assumed()


def cost_of_million(events_per_batch: float) -> dict[str, float]:
    """Price a million pulls, so many of which come in a batch, by service."""
    batches = _MILLION / events_per_batch
    gigabyte_seconds = batches * HERE.seconds_of_batch * ASSUMED.function_gb
    return {
        "SQS": _MILLION * CALLS.sqs_per_message * PRICES.sqs_request,
        "Lambda": batches * PRICES.lambda_request + gigabyte_seconds * PRICES.lambda_gb_second,
        "DynamoDB": _MILLION * CALLS.read_units_per_mirror * PRICES.read_unit,
        "Logs, traces": batches * ASSUMED.log_kilobytes / _KILOBYTES * PRICES.log_gb
        + batches * ASSUMED.sampled_share * PRICES.trace,
    }


def spread_over_a_month() -> float:
    """Tell how many of a million pulls in a month come in a batch: the first, and those of the window that it opens."""
    return 1 + _MILLION / _MONTH_SECONDS * HERE.window_seconds


def idle_cost() -> float:
    """Price a month of Lambda's own asking for messages."""
    return ASSUMED.idle_polls_per_minute * _MONTH_SECONDS / 60 * PRICES.sqs_request


def table() -> str:
    """Write the table as the page has it."""
    cases = {"a flood: 100 in a batch": HERE.batch_size, "spread over a month": spread_over_a_month()}
    names = list(cost_of_million(1))
    lines = [f"| A million pulls | {' | '.join(names)} | sum |", f"| --- |{' ---: |' * (len(names) + 1)}"]
    for case, size in cases.items():
        costs = cost_of_million(size)
        cells = [case, *(f"{cost:.2f}" for cost in costs.values()), f"**{sum(costs.values()):.2f}**"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Lambda's waiting for messages costs {idle_cost():.2f} a month, pulls or none."])


def with_table(page: str) -> str:
    """Put the table between its marks."""
    return between(page, BEGIN, END, table())


def main() -> int:
    """Write the page anew."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
