"""Lateness counts the mirrors that Pullahead could and should make fresh."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from pullahead.alerts.review import Lateness
from pullahead.mirrors.record import Record, RuleRecord, State
from pullahead.mirrors.rule_record import rule_key
from pullahead.rules.model import Rules
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeClock, FakeRecords
from tests.fakes.records import fresh, unfresh
from tests.fakes.samples import REPOSITORY, UPSTREAM, mirror, rule, rules

NOW = FakeClock()()
RULES = rules([mirror(tag) for tag in ("1.0", "2.0", "3.0")])


def measure_lateness(records: Iterable[Record], known: Rules, now: datetime) -> Lateness:
    lateness = Lateness()
    for record in records:
        lateness = lateness.including(record, known, now)
    return lateness


def test_lateness_is_the_count_and_the_oldest() -> None:
    records = FakeRecords()
    for tag, hours in (("1.0", 1), ("2.0", 5)):
        records.put(unfresh(f"{REPOSITORY}:{tag}", State.STALE, NOW - timedelta(hours=hours)))
    records.put(fresh(f"{REPOSITORY}:3.0", NOW - timedelta(hours=9)))
    assert measure_lateness(records.scan(), RULES, NOW) == Lateness(2, 5 * 3600.0)


def test_lateness_of_fresh_mirrors_is_zero() -> None:
    assert measure_lateness([], RULES, NOW) == Lateness(0, 0.0)


@pytest.mark.parametrize(
    ("state", "late"),
    [(State.DELETED, 0), (State.GONE, 0), (State.UNKNOWN, 1), (State.BLOCKED, 1), (State.MISSING, 1), (State.FRESH, 0)],
)
def test_only_mirrors_that_could_be_copied_are_late(state: State, late: int) -> None:
    records = FakeRecords()
    records.put(unfresh(f"{REPOSITORY}:1.0", state, NOW - timedelta(hours=1)))
    assert measure_lateness(records.scan(), RULES, NOW).mirrors == late


def test_mirror_without_a_rule_is_not_late() -> None:
    records = FakeRecords()
    records.put(unfresh(f"{REPOSITORY}:gone", State.STALE, NOW))
    assert measure_lateness(records.scan(), RULES, NOW).mirrors == 0


def test_expiring_mirror_is_not_late() -> None:
    leaving = unfresh(f"{REPOSITORY}:1.0", State.STALE, NOW)
    assert measure_lateness([leaving], RULES, NOW).mirrors == 1
    assert measure_lateness([leaving.with_changes(expires_at=NOW)], RULES, NOW).mirrors == 0


def test_mirror_of_a_paused_rule_is_not_late() -> None:
    records = FakeRecords()
    records.put(unfresh(f"{REPOSITORY}:1.0", State.STALE, NOW))
    assert measure_lateness(records.scan(), RULES, NOW).mirrors == 1
    assert measure_lateness(records.scan(), replace(RULES, paused=frozenset({"app"})), NOW).mirrors == 0


def test_failed_listing_is_not_a_late_mirror() -> None:
    chosen = rule(tags=TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),)))
    records = FakeRecords()
    records.put(RuleRecord(rule_key(chosen), UPSTREAM, State.UNKNOWN, NOW, NOW))
    assert measure_lateness(records.scan(), rules([], "r", chosen), NOW).mirrors == 0
    records.put(unfresh(f"{REPOSITORY}:1.0", State.UNKNOWN, NOW))
    assert measure_lateness(records.scan(), rules([], "r", chosen), NOW).mirrors == 1
