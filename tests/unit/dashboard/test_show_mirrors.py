"""The widget: one scan, or the index where there are many mirrors; no write; a storage error is shown on the page."""

from datetime import timedelta

import pytest

from pullahead.dashboard.heat_map import DAYS
from pullahead.dashboard.show import MAX_LISTED, Shown, show_mirrors, take_snapshot
from pullahead.errors import StorageError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import Past, State, Transition
from pullahead.mirrors.record_scan import RecordScan, ScanState
from pullahead.mirrors.review_index import MAX_SHOWN
from pullahead.mirrors.store import Heartbeat
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.memory import FakeRecords
from tests.fakes.records import unfresh
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
    assert script.calls == ["load_scan_state", "load_heartbeat", "scan"]


def test_expiring_mirror_is_not_shown(records: FakeRecords) -> None:
    key = MirrorKey("mirror/b", "1")
    records.stored[key] = records.stored[key].with_changes(expires_at=NOW)
    assert show({}, records).mirrors == 1


def test_filter_is_read_from_the_event(records: FakeRecords) -> None:
    shown = show({"show": {"prefix": "mirror/b"}}, records)
    assert "1 of 2 mirrors" in shown.content


def test_documentation_reads_no_records(script: Script, records: FakeRecords) -> None:
    assert show({"describe": True}, records).content.startswith("## ")
    assert script.calls == []


@pytest.mark.parametrize("operation", ["scan", "load_heartbeat"])
def test_storage_error_is_shown_on_the_page(script: Script, records: FakeRecords, operation: str) -> None:
    error = StorageError("read of all records failed: throttled")
    script.fail(operation, error)
    shown = show({"widgetContext": {"theme": "dark"}}, records)
    assert shown.error is error
    assert "read of all records failed: throttled" in shown.content
    assert "--page: #10171f" in shown.content
    assert "mirror/" not in shown.content


class TestManyMirrors:
    @pytest.fixture
    def many(self, records: FakeRecords) -> FakeRecords:
        """One mirror more than are listed, one of which is not fresh; a scan has counted them."""
        records.stored = {(record := fresh(f"a:{n}")).key: record for n in range(MAX_LISTED)}
        records.put(unfresh("b:1", State.STALE, NOW - timedelta(hours=3)))
        counted = RecordScan(NOW, ended_at=NOW - timedelta(hours=5), records=MAX_LISTED + 1, fresh=MAX_LISTED)
        records.scan_state = ScanState(last=counted)
        return records

    def test_as_many_as_are_listed_are_all_read(self, many: FakeRecords) -> None:
        del many.stored[MirrorKey("b", "1")]
        many.scan_state = ScanState()
        snapshot = take_snapshot(many, NOW)
        assert (len(snapshot.records), snapshot.settled) == (MAX_LISTED, None)

    def test_what_is_not_fresh_is_read_by_the_index_and_the_rest_is_counted_by_the_scan(
        self, script: Script, many: FakeRecords
    ) -> None:
        shown = show({}, many)
        assert script.calls == ["load_scan_state", "load_heartbeat", "to_review"]
        assert shown.mirrors == MAX_LISTED + 1
        assert "b:<wbr>1" in shown.content
        assert "a:<wbr>1" not in shown.content
        assert "They were counted 5 h ago." in shown.content
        assert "1 of 5,001 mirrors" in shown.content

    def test_many_mirrors_that_no_scan_has_counted_yet_are_not_all_read(
        self, script: Script, many: FakeRecords
    ) -> None:
        many.scan_state = ScanState()
        shown = show({}, many)
        assert script.calls == ["load_scan_state", "load_heartbeat", "scan", "to_review"]
        assert "b:<wbr>1" in shown.content
        assert "Fresh mirrors are not listed: there are too many." in shown.content

    def test_many_fresh_mirrors_are_said_to_be_fresh(self, many: FakeRecords) -> None:
        del many.stored[MirrorKey("b", "1")]
        assert "<b>Every mirror is fresh</b>" in show({}, many).content

    def test_more_than_are_shown_are_counted_and_the_oldest_are_shown(self, many: FakeRecords) -> None:
        many.stored = {
            (record := unfresh(f"a:{n}", State.STALE, NOW - timedelta(seconds=n))).key: record
            for n in range(MAX_SHOWN + 7)
        }
        snapshot = take_snapshot(many, NOW)
        assert (len(snapshot.records), snapshot.unread) == (MAX_SHOWN, 7)
        assert snapshot.records[0].key == MirrorKey("a", f"{MAX_SHOWN + 6}")
        assert MirrorKey("a", "6") not in {record.key for record in snapshot.records}
        assert "7 more mirrors are not fresh." in show({}, many).content

    def test_mirror_that_only_has_something_to_tell_is_not_shown_as_if_it_were_not_fresh(
        self, many: FakeRecords
    ) -> None:
        alert = Alert(AlertKind.RECOVERED, MirrorKey("a", "1"), "u", NOW, NOW)
        many.put(fresh("a:1").with_changes(pending=(alert,)))
        many.put(unfresh("a:2", State.STALE, NOW, expires_at=NOW))
        assert [str(record.key) for record in take_snapshot(many, NOW).records] == ["b:1"]


def test_history_is_shown_for_the_days_of_the_map(records: FakeRecords) -> None:
    moments = [NOW - timedelta(days=days) for days in (DAYS + 9, DAYS + 1, 1)]
    past = tuple(Past(moment, State.STALE) for moment in moments)
    record = fresh("mirror/a:1", age=timedelta(hours=2)).with_changes(past=past)
    records.stored = {record.key: record}
    assert take_snapshot(records, NOW).transitions == [
        *(Transition(moment, record.key, State.STALE) for moment in moments[1:]),
        Transition(record.since, record.key, State.FRESH),
    ]
