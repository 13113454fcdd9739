"""When the ticker fires."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from local.aws.ticker import Ticker, UnsupportedScheduleError, period_of


class Rule(NamedTuple):
    name: str
    scheduled_expression: str | None
    state: str = "ENABLED"

    @property
    def arn(self) -> str:
        return f"arn:aws:events:eu-west-1:123456789012:rule/{self.name}"


class Bus:
    """Keeps what was delivered."""

    def __init__(self, *rules: Rule) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)
        self.delivered: list[tuple[str, dict[str, Any]]] = []
        self.something = threading.Event()
        self._rules = list(rules)

    def rules(self) -> list[Any]:
        return self._rules

    def deliver(self, rule: Any, event: dict[str, Any]) -> None:
        self.delivered.append((rule.name, event))
        self.something.set()

    def ticker(self) -> Ticker:
        return Ticker(self, lambda: self.now)


def test_first_firing_is_at_once_and_complete() -> None:
    bus = Bus(Rule("often", "rate(5 minutes)"))

    assert bus.ticker().run_due() == ["often"]
    [(_, event)] = bus.delivered
    assert event["detail-type"] == "Scheduled Event"
    assert event["source"] == "aws.events"
    assert event["time"] == "2026-01-31T12:00:00Z"
    assert event["resources"] == ["arn:aws:events:eu-west-1:123456789012:rule/often"]
    assert event["detail"] == {}


def test_missed_firings_become_one_and_the_rhythm_stays() -> None:
    bus = Bus(Rule("often", "rate(5 minutes)"))
    ticker = bus.ticker()
    ticker.run_due()

    bus.now += timedelta(minutes=23)
    assert ticker.run_due() == ["often"]
    assert ticker.run_due() == []
    bus.now += timedelta(minutes=2)  # 12:25, five times five minutes after the first
    assert ticker.run_due() == ["often"]


@pytest.mark.parametrize("rule", [Rule("off", "rate(1 minute)", "DISABLED"), Rule("pattern", None)])
def test_rule_that_is_off_or_has_no_schedule_does_not_fire(rule: Rule) -> None:
    assert Bus(rule).ticker().run_due() == []


@pytest.mark.parametrize(
    ("expression", "period"),
    [
        ("rate(1 minute)", timedelta(minutes=1)),
        ("rate(2 hours)", timedelta(hours=2)),
        ("rate(1 day)", timedelta(days=1)),
    ],
)
def test_rates(expression: str, period: timedelta) -> None:
    assert period_of(expression) == period


@pytest.mark.parametrize("expression", ["cron(0 12 * * ? *)", "rate(0 minutes)", "rate(5 seconds)", "every day"])
def test_schedule_that_cannot_be_read_is_an_error(expression: str) -> None:
    with pytest.raises(UnsupportedScheduleError, match="reads rate"):
        Bus(Rule("odd", expression)).ticker().run_due()


def test_thread_fires_until_it_is_stopped() -> None:
    bus = Bus(Rule("often", "rate(5 minutes)"))
    ticker = bus.ticker()

    ticker.start(interval_seconds=0.01)
    assert bus.something.wait(5)
    ticker.stop()

    bus.now += timedelta(hours=1)
    assert len(bus.delivered) == 1
