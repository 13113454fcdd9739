"""Rows: worst first, and a cause that stays one short line."""

from datetime import timedelta

from pullahead.dashboard.mirror_rows import longest_unfresh, row_of, worst_first
from pullahead.dashboard.states import APPEARANCES
from pullahead.mirrors.record import State
from pullahead.rules.mirror_key import MirrorKey
from tests.unit.dashboard.landscape import NOW, fresh, troubled

HOUR = timedelta(hours=1)


def test_every_state_has_a_look_of_its_own() -> None:
    assert set(APPEARANCES) == set(State)
    assert len({appearance.shape for appearance in APPEARANCES.values()}) == len(State)


def test_worst_comes_first_then_the_oldest_then_the_name() -> None:
    states = [State.FRESH, State.UNKNOWN, State.MISSING, State.STALE, State.GONE, State.BLOCKED]
    records = [fresh("b:1"), fresh("a:2", age=HOUR), fresh("a:1")]
    records += [troubled(fresh(f"x:{state}"), state, HOUR) for state in states[1:]]
    records += [troubled(fresh("x:older"), State.STALE, 5 * HOUR), troubled(fresh("a:same"), State.GONE, HOUR)]
    assert [str(record.key) for record in worst_first(records)] == [
        *("x:BLOCKED", "a:same", "x:GONE", "x:older", "x:STALE", "x:MISSING", "x:UNKNOWN"),
        *("a:1", "a:2", "b:1"),
    ]


def test_lag_counts_from_when_the_mirror_stopped_being_fresh() -> None:
    record = troubled(fresh("a:1"), State.UNKNOWN, HOUR).with_changes(unfresh_since=NOW - 5 * HOUR)
    row = row_of(record, NOW)
    assert (row.unfresh_for, row.copy_age) == (5 * HOUR, timedelta(days=3))
    bare = row_of(record.with_changes(unfresh_since=None, last_refresh=None), NOW)
    assert (bare.unfresh_for, bare.copy_age, bare.execution) == (HOUR, None, None)


def test_fresh_mirror_has_no_lag_and_no_cause() -> None:
    failing = troubled(fresh("a/b:1"), State.STALE, HOUR, "why").failure
    row = row_of(fresh("a/b:1").with_changes(failure=failing), NOW)
    assert (row.repository, row.key) == ("a/b", MirrorKey("a/b", "1"))
    assert (row.unfresh_for, row.cause, row.next_try) == (None, "", None)


def test_longest_is_found_among_all_states_but_fresh() -> None:
    stale = troubled(fresh("a:2"), State.STALE, 9 * HOUR)
    records = [fresh("a:1", age=timedelta(days=99)), troubled(fresh("a:3"), State.BLOCKED, HOUR), stale]
    assert longest_unfresh(records) == stale
    assert longest_unfresh(records[:1]) is None
