"""Showing mirrors: one scan, nothing written, and storage that fails is told on the page."""

from datetime import timedelta

import pytest

from pullahead.dashboard.heat_map import DAYS
from pullahead.dashboard.show import MAX_RECORDS, Shown, show_mirrors, take_snapshot
from pullahead.errors import StorageError
from pullahead.mirrors.record import Past, State, Transition
from pullahead.mirrors.store import Heartbeat
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.memory import FakeRecords
from tests.fakes.script import Script
from tests.unit.dashboard.landscape import ENDPOINT, NOW, fresh


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def records(script: Script) -> FakeRecords:
    made = FakeRecords(script)
    made.stored = {record.key: record for record in (fresh("mirror/a:1"), fresh("mirror/b:1"))}
    made.heartbeat = Heartbeat(NOW - timedelta(minutes=2), "rules-1")
    return made


def show(event: object, records: FakeRecords) -> Shown:
    return show_mirrors(event, ENDPOINT, records, NOW)


def test_page_costs_one_scan_and_writes_nothing(script: Script, records: FakeRecords) -> None:
    shown = show({}, records)
    assert (shown.mirrors, shown.error) == (2, None)
    assert "mirror/<wbr>b:<wbr>1" in shown.content
    assert "2 min ago" in shown.content
    assert script.calls == ["scan", "load_heartbeat"]


def test_mirror_that_is_to_be_forgotten_is_not_shown(records: FakeRecords) -> None:
    key = MirrorKey("mirror/b", "1")
    records.stored[key] = records.stored[key].with_changes(expires_at=NOW)
    assert show({}, records).mirrors == 1


def test_filter_is_the_events(records: FakeRecords) -> None:
    shown = show({"show": {"prefix": "mirror/b"}}, records)
    assert "1 of 2 mirrors" in shown.content


def test_documentation_asks_for_nothing(script: Script, records: FakeRecords) -> None:
    assert show({"describe": True}, records).content.startswith("## ")
    assert script.calls == []


@pytest.mark.parametrize("operation", ["scan", "load_heartbeat"])
def test_storage_that_fails_is_told_on_the_page(script: Script, records: FakeRecords, operation: str) -> None:
    error = StorageError("read of all records failed: throttled")
    script.fail(operation, error)
    shown = show({"widgetContext": {"theme": "dark"}}, records)
    assert shown.error is error
    assert "read of all records failed: throttled" in shown.content
    assert "--page:#10171f" in shown.content
    assert "mirror/" not in shown.content


def test_more_records_than_the_bound_are_cut_and_told(records: FakeRecords) -> None:
    records.stored = {(record := fresh(f"a:{n}")).key: record for n in range(MAX_RECORDS)}
    assert take_snapshot(records, NOW).complete
    records.put(fresh("b:1"))
    snapshot = take_snapshot(records, NOW)
    assert (len(snapshot.records), snapshot.complete) == (MAX_RECORDS, False)


def test_past_is_shown_as_far_back_as_the_map_goes(records: FakeRecords) -> None:
    moments = [NOW - timedelta(days=days) for days in (DAYS + 9, DAYS + 1, 1)]
    past = tuple(Past(moment, State.STALE) for moment in moments)
    record = fresh("mirror/a:1", age=timedelta(hours=2)).with_changes(past=past)
    records.stored = {record.key: record}
    assert take_snapshot(records, NOW).transitions == [
        *(Transition(moment, record.key, State.STALE) for moment in moments[1:]),
        Transition(record.since, record.key, State.FRESH),
    ]
