"""The heat map: shares of time, by bucket, from what is known, and nothing where nothing is."""

from datetime import timedelta

import pytest

from pullahead.dashboard.heat_map import BUCKET, DAYS, MOST_ROWS, HeatMap, heat_map
from pullahead.mirrors.record import MirrorRecord, State, Transition
from pullahead.rules.mirror_key import MirrorKey
from tests.unit.dashboard.landscape import NOW, fresh, troubled

LONG_AGO = timedelta(days=30)
RUNNING = timedelta(hours=3, minutes=40)  # 09:40 is so far within the bucket of 06:00


def cells(heat: HeatMap, number: int = 0) -> tuple[float | None, ...]:
    return heat.rows[number].cells


def at(record: MirrorRecord, hours: float, state: State) -> Transition:
    """A transition so many hours before the running bucket began."""
    return Transition(NOW - RUNNING - timedelta(hours=hours), record.key, state)


def test_buckets_end_with_the_one_that_is_running() -> None:
    heat = heat_map([fresh("a:1", age=LONG_AGO)], (), NOW)
    assert len(heat.starts) == DAYS * 4
    assert heat.starts[-1] == NOW - RUNNING
    assert {second - first for first, second in zip(heat.starts, heat.starts[1:], strict=False)} == {BUCKET}


def test_mirror_that_was_fresh_throughout_is_zero_throughout() -> None:
    assert set(cells(heat_map([fresh("a:1", age=LONG_AGO)], (), NOW))) == {0.0}


def test_without_history_what_was_before_the_last_change_is_not_known() -> None:
    stale = troubled(fresh("a:1"), State.STALE, RUNNING + timedelta(hours=9))
    assert cells(heat_map([stale], (), NOW))[-4:] == (None, 0.5, 1.0, 1.0)
    assert set(cells(heat_map([stale], (), NOW))[:-3]) == {None}


def test_last_refresh_tells_of_the_time_before_it_and_of_no_more() -> None:
    refreshed = fresh("a:1", age=RUNNING)  # at 06:00, after 95 seconds
    *_, unknown, before, since = cells(heat_map([refreshed], (), NOW))
    assert (unknown, since) == (None, 0.0)
    assert before == pytest.approx(95 / BUCKET.total_seconds())


def test_history_fills_what_came_before() -> None:
    record = fresh("a:1", age=timedelta())
    past = [at(record, 12, State.FRESH), at(record, 3, State.STALE), at(record, 0, State.FRESH)]
    for order in (past, past[::-1]):
        assert cells(heat_map([record], order, NOW))[-4:] == (None, 0.0, 0.5, 0.0)


def test_state_from_before_the_map_counts_from_its_beginning() -> None:
    record = fresh("a:1", age=RUNNING)
    begun = at(record, 24 * 100, State.GONE)
    assert set(cells(heat_map([record], [begun], NOW))[:-1]) == {1.0}


def test_record_goes_before_history() -> None:
    """History may be written a moment late or early; the present is what the record says."""
    record = troubled(fresh("a:1"), State.STALE, RUNNING)
    late = [at(record, 6, State.FRESH), at(record, -1, State.FRESH), at(record, -2, State.FRESH)]
    assert cells(heat_map([record], late, NOW))[-2:] == (0.0, 1.0)
    fresh_again = fresh("a:1", age=RUNNING)
    late = [at(record, 6, State.STALE), at(record, -1, State.FRESH)]
    assert cells(heat_map([fresh_again], late, NOW))[-2:] == (1.0, 0.0)


def test_mirrors_of_a_repository_are_summed_and_others_are_not() -> None:
    half = [fresh("a:1", age=LONG_AGO), troubled(fresh("a:2"), State.GONE, RUNNING)]
    heat = heat_map(
        [*half, fresh("b:1", age=LONG_AGO)], [Transition(NOW, MirrorKey("gone/from/rules", "1"), State.STALE)], NOW
    )
    assert [(row.repository, row.mirrors, row.cells[-1]) for row in heat.rows] == [("a", 2, 0.5), ("b", 1, 0.0)]


def test_worst_repositories_are_shown_and_the_others_counted() -> None:
    records = [troubled(fresh(f"r{n:02}:1"), State.STALE, timedelta(hours=n)) for n in range(MOST_ROWS + 5)]
    heat = heat_map(records, (), NOW)
    assert [row.repository for row in heat.rows] == [f"r{n:02}" for n in range(MOST_ROWS + 4, 4, -1)]
    assert heat.left_out == 5


def test_nothing_makes_an_empty_map() -> None:
    assert heat_map([], (), NOW).rows == ()


@pytest.mark.parametrize("hours", [-5, 0, 1e6])
def test_odd_moments_do_not_break_it(hours: float) -> None:
    record = troubled(fresh("a:1"), State.STALE, timedelta(hours=hours))
    assert all(share is None or 0 <= share <= 1 for share in cells(heat_map([record], (), NOW)))
