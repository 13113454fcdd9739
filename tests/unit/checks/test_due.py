"""Which mirrors a tick sends for checking."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pullahead.checks.schedule import batches, is_due, is_listing_due
from tests.fakes.samples import mirror, rule

moments = st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
intervals = st.integers(60, 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))
tags = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True)


@given(tags, moments, intervals, st.integers(1, 40))
def test_mirror_is_due_once_in_its_interval(tag: str, start: datetime, every: timedelta, ticks: int) -> None:
    followed = mirror(tag, check_every=every)
    times = [start + every * n / ticks for n in range(ticks + 1)]
    found = [is_due(followed, last, now) for last, now in pairwise(times)]
    assert sum(found) == 1


@given(tags, moments, intervals, st.floats(1, 50))
def test_missed_schedules_make_a_mirror_due_at_the_next(
    tag: str, last: datetime, every: timedelta, times: float
) -> None:
    assert is_due(mirror(tag, check_every=every), last, last + every * times)


@given(tags, moments, intervals)
def test_mirror_is_due_without_a_heartbeat(tag: str, now: datetime, every: timedelta) -> None:
    assert is_due(mirror(tag, check_every=every), None, now)


@given(tags, moments, intervals, st.timedeltas(timedelta(), timedelta(days=400)))
def test_clock_set_back_makes_nothing_due(tag: str, now: datetime, every: timedelta, back: timedelta) -> None:
    assert not is_due(mirror(tag, check_every=every), now + back, now)


@given(tags, moments, intervals, st.integers(1, 40))
def test_listing_is_due_once_in_its_interval(name: str, start: datetime, every: timedelta, ticks: int) -> None:
    times = [start + every * n / ticks for n in range(ticks + 1)]
    followed = rule(name=name, check_every=every)
    assert sum(is_listing_due(followed, last, now) for last, now in pairwise(times)) == 1


def test_thousand_mirrors_are_spread_over_the_interval() -> None:
    start = datetime(2026, 11, 24, 9, tzinfo=UTC)
    mirrors = [mirror(f"t{n}") for n in range(1000)]
    times = [start + timedelta(minutes=n) for n in range(16)]
    due = [sum(is_due(m, last, now) for m in mirrors) for last, now in pairwise(times)]
    assert sum(due) == 1000
    assert max(due) < 2 * 1000 / 15


def test_batches_hold_one_repository_and_at_most_so_many_tags() -> None:
    mirrors = [mirror(f"{n:03}", repository=name) for n in range(250) for name in ("b/x", "a/x")]
    made = list(batches(mirrors, 100))
    assert [(repository, len(tags)) for repository, tags in made] == [
        ("a/x", 100), ("a/x", 100), ("a/x", 50), ("b/x", 100), ("b/x", 100), ("b/x", 50),
    ]  # fmt: skip
    assert sorted((repository, tag) for repository, tags in made for tag in tags) == sorted(
        (m.repository, m.tag) for m in mirrors
    )


def test_no_mirrors_make_no_batch() -> None:
    assert list(batches([], 100)) == []
