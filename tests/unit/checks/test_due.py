"""When mirrors and listings are due, and which tags share a message."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pullahead.checks.schedule import batches
from pullahead.checks.timetable import (
    ECR_ASKED_EVERY,
    is_due,
    is_ecr_asked,
    is_listing_due,
    next_check,
    next_listing,
)
from pullahead.rules.named_mirrors import NamedMirrors
from tests.fakes.samples import mirror, rule

moments = st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
intervals = st.integers(60, 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))
tags = names = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True)
START = datetime(2026, 11, 24, 9, tzinfo=UTC)


@given(names, moments, intervals, st.integers(1, 40))
def test_mirror_is_due_once_in_its_interval(repository: str, start: datetime, every: timedelta, ticks: int) -> None:
    followed = mirror(repository=repository, check_every=every)
    times = [start + every * n / ticks for n in range(ticks + 1)]
    found = [is_due(followed, last, now) for last, now in pairwise(times)]
    assert sum(found) == 1


@given(names, moments, intervals, st.floats(1, 50))
def test_missed_schedules_make_a_mirror_due_at_the_next(
    repository: str, last: datetime, every: timedelta, times: float
) -> None:
    assert is_due(mirror(repository=repository, check_every=every), last, last + every * times)


@given(names, moments, intervals)
def test_mirror_is_due_without_a_heartbeat(repository: str, now: datetime, every: timedelta) -> None:
    assert is_due(mirror(repository=repository, check_every=every), None, now)


@given(names, moments, intervals, st.timedeltas(timedelta(), timedelta(days=400)))
def test_clock_set_back_makes_nothing_due(repository: str, now: datetime, every: timedelta, back: timedelta) -> None:
    assert not is_due(mirror(repository=repository, check_every=every), now + back, now)


@given(names, moments, intervals, st.integers(1, 40))
def test_listing_is_due_once_in_its_interval(path: str, start: datetime, every: timedelta, ticks: int) -> None:
    times = [start + every * n / ticks for n in range(ticks + 1)]
    followed = rule(upstream=f"ghcr.io/{path}", check_every=every)
    assert sum(is_listing_due(followed, last, now) for last, now in pairwise(times)) == 1


@given(tags, tags, moments, intervals)
def test_tags_of_one_repository_are_due_together(one: str, other: str, now: datetime, every: timedelta) -> None:
    assert next_check(mirror(one, check_every=every), now) == next_check(mirror(other, check_every=every), now)


@given(names, moments, intervals, st.integers(1, 20))
def test_times_of_a_multiple_of_an_interval_are_times_of_the_interval(
    repository: str, now: datetime, every: timedelta, times: int
) -> None:
    slow, fast = (mirror(repository=repository, check_every=interval) for interval in (every * times, every))
    moment = next_check(slow, now)
    assert is_due(fast, moment - timedelta(milliseconds=1), moment)


@given(names, moments, intervals)
def test_next_moment_is_the_first_at_which_something_is_due(name: str, now: datetime, every: timedelta) -> None:
    followed, listed = mirror(repository=name, check_every=every), rule(upstream=f"ghcr.io/{name}", check_every=every)
    before = timedelta(milliseconds=1)
    check, listing = next_check(followed, now), next_listing(listed, now)
    assert now < check <= now + every
    assert now < listing <= now + every
    assert (is_due(followed, now, check - before), is_due(followed, now, check)) == (False, True)
    assert (is_listing_due(listed, now, listing - before), is_listing_due(listed, now, listing)) == (False, True)


def test_rules_of_one_upstream_are_listed_together() -> None:
    one, other = rule(name="one"), rule(name="other", repository="mirror/other")
    assert next_listing(one, START) == next_listing(other, START)


@given(names, moments, intervals, st.integers(0, 299))
def test_ecr_is_asked_once_in_half_an_hour_or_at_each_check(
    repository: str, start: datetime, every: timedelta, late: int
) -> None:
    """However late in its interval the schedule queues a check."""
    followed = mirror(repository=repository, check_every=every)
    checks = [next_check(followed, start)]
    while checks[-1] < start + 3 * ECR_ASKED_EVERY:
        checks.append(next_check(followed, checks[-1]))
    lateness = min(timedelta(seconds=late), every / 2)
    asked = [check for check in checks if is_ecr_asked(followed, check + lateness)]
    if every >= ECR_ASKED_EVERY:
        assert asked == checks
    else:
        gaps = [later - earlier for earlier, later in pairwise([start, *asked, checks[-1]])]
        assert max(gaps) < ECR_ASKED_EVERY + every
        whole = (checks[-1] - checks[0] + every) // ECR_ASKED_EVERY
        assert len(asked) in (whole, whole + 1)


def test_thousand_repositories_are_spread_over_the_interval() -> None:
    mirrors = [mirror(repository=f"mirror/{n}") for n in range(1000)]
    times = [START + timedelta(minutes=n) for n in range(16)]
    due = [sum(is_due(m, last, now) for m in mirrors) for last, now in pairwise(times)]
    assert sum(due) == 1000
    assert max(due) < 2 * 1000 / 15


def test_batches_hold_one_repository_and_at_most_so_many_tags() -> None:
    mirrors = [mirror(f"{n:03}", repository=name) for n in range(250) for name in ("b/x", "a/x")]
    made = list(batches(NamedMirrors((), mirrors).groups, 100))
    assert [(repository, len(tags)) for repository, tags in made] == [
        ("a/x", 100), ("a/x", 100), ("a/x", 50), ("b/x", 100), ("b/x", 100), ("b/x", 50),
    ]  # fmt: skip
    assert sorted((repository, tag) for repository, tags in made for tag in tags) == sorted(
        (m.repository, m.tag) for m in mirrors
    )


def test_no_mirrors_make_no_batch() -> None:
    assert list(batches([], 100)) == []
