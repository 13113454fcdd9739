"""Items that a made-up newer version stored are left as they are, whatever they are; the fake records do the same."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullahead.alerts.incidents import Incident
from pullahead.aws.demands import DynamoDemands
from pullahead.aws.incidents import DynamoIncidents
from pullahead.aws.newer_items import LeftAlone, NewerItems
from pullahead.aws.pauses import DynamoPauses
from pullahead.aws.records import DynamoRecords
from pullahead.aws.refresh_queue import DynamoRefreshSlots, DynamoWaitingRefreshes
from pullahead.errors import NewerRecordError, StorageError
from pullahead.mirrors.demand import Demand
from pullahead.mirrors.record import MirrorRecord, Record, RuleRecord, State
from pullahead.mirrors.store import Heartbeat, NewerRecord, RecordStore, update_record
from pullahead.mirrors.stored_form import newer_of
from pullahead.refresh.ports import Slot, SlotLimits, SlotResult
from pullahead.refresh.request import refresh_request
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.memory import FakeRecords
from tests.fakes.samples import UPSTREAM, mirror, root

NOW = datetime(2026, 11, 24, 9, 5, 3, tzinfo=UTC)
KEY, OTHER, RULE = MirrorKey("mirror/app", "1.0"), MirrorKey("mirror/app", "2.0"), RuleKey("mirror/app", "app")
RECORDS: list[MirrorRecord | RuleRecord] = [
    MirrorRecord(KEY, UPSTREAM, State.FRESH, NOW),
    RuleRecord(RULE, UPSTREAM, State.FRESH, NOW),
]
LIMITS = SlotLimits(2, 2)


class Stored:
    """A table, in which items can be written and looked at as they are."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb, self.table = dynamodb, new_table(dynamodb)
        self.newer = NewerItems()

    def put(self, pk: str, **attributes: Mapping[str, Any]) -> None:
        self.dynamodb.put_item(TableName=self.table, Item={"pk": {"S": pk}, **attributes})

    def item(self, pk: str) -> dict[str, Any]:
        found: dict[str, Any] = self.dynamodb.get_item(TableName=self.table, Key={"pk": {"S": pk}})["Item"]
        return found

    def left_alone(self) -> tuple[str, ...]:
        left = self.newer.take()
        return left.keys if left is not None else ()


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


@pytest.fixture
def stored(dynamodb: Any) -> Stored:
    return Stored(dynamodb)


class TestRecords:
    @pytest.fixture(params=["fake", "dynamodb"])
    def records(self, request: pytest.FixtureRequest) -> RecordStore:
        if request.param == "fake":
            return FakeRecords()
        stored: Stored = request.getfixturevalue("stored")
        return DynamoRecords(stored.dynamodb, stored.table, stored.newer)

    def take_over(self, records: RecordStore, key: RecordKey, stored: Stored) -> None:
        """Let a newer version write the record."""
        if isinstance(records, FakeRecords):
            records.newer.add(key)
            return
        item = stored.item(f"mirror#{key}")
        record = {**json.loads(item["record"]["S"]), "state": "THAWING", "held_digest": "sha256:1"}
        stored.put(**{**item, "pk": f"mirror#{key}", "record": {"S": json.dumps(record)}, "version": {"N": "7"}})

    @pytest.mark.parametrize("record", RECORDS, ids=["mirror", "rule"])
    def test_record_of_a_newer_version_is_neither_read_nor_written(
        self, records: RecordStore, stored: Stored, record: Record
    ) -> None:
        for each in (record, RECORDS[0].with_changes(key=OTHER)):
            records.save(each, 0)
        self.take_over(records, record.key, stored)
        before = stored.item(f"mirror#{record.key}") if isinstance(records, DynamoRecords) else None

        loaded = records.load([OTHER, *([record.key] if isinstance(record.key, MirrorKey) else [])])
        assert loaded.keys() == {OTHER}
        assert newer_of(loaded) == ({record.key} if isinstance(record.key, MirrorKey) else set())
        with pytest.raises(NewerRecordError, match="newer version"):
            records.load_one(record.key)
        for version in (0, 1):
            with pytest.raises(NewerRecordError):
                records.save(record, version)
        changed: list[Record | None] = []
        for known in (None, record.with_changes(version=1)):
            after = update_record(records, record.key, lambda now: changed.append(now) or record, known)  # type: ignore[func-returns-value]
            assert after is None
        assert sorted(map(type, records.scan()), key=repr) == sorted([NewerRecord, MirrorRecord], key=repr)
        if isinstance(records, DynamoRecords):
            assert stored.item(f"mirror#{record.key}") == before
            assert stored.left_alone() == (f"mirror#{record.key}",)
            assert stored.left_alone() == ()

    def test_damaged_record_is_no_newer_one(self, stored: Stored) -> None:
        stored.put(f"mirror#{KEY}", record={"S": "{"})
        records = DynamoRecords(stored.dynamodb, stored.table, stored.newer)
        assert records.load_one(KEY) is None
        assert stored.left_alone() == ()
        assert (damaged := stored.newer.take_damaged()) is not None
        assert damaged.keys == (f"mirror#{KEY}",)


class TestHeartbeat:
    def test_attributes_of_a_newer_version_stay(self, stored: Stored) -> None:
        stored.put("service#heartbeat", at={"S": NOW.isoformat()}, rules_digest={"S": "r"}, lanes={"M": {}})
        records = DynamoRecords(stored.dynamodb, stored.table, stored.newer)
        assert records.load_heartbeat() == Heartbeat(NOW, "r")
        later = Heartbeat(NOW + timedelta(minutes=5), "s")
        records.save_heartbeat(later)
        assert records.load_heartbeat() == later
        assert stored.item("service#heartbeat")["lanes"] == {"M": {}}
        assert stored.left_alone() == ()

    def test_heartbeat_in_another_form_is_left_as_it_is(self, stored: Stored) -> None:
        stored.put("service#heartbeat", at={"N": "1796016539"}, lanes={"M": {}})
        before = stored.item("service#heartbeat")
        records = DynamoRecords(stored.dynamodb, stored.table, stored.newer)
        assert records.load_heartbeat() is None
        records.save_heartbeat(Heartbeat(NOW, "r"))
        assert stored.item("service#heartbeat") == before
        assert stored.left_alone() == ("service#heartbeat",)

    def test_heartbeat_without_ours_gets_it_beside_what_is_there(self, stored: Stored) -> None:
        stored.put("service#heartbeat", lanes={"M": {}})
        records = DynamoRecords(stored.dynamodb, stored.table, stored.newer)
        assert records.load_heartbeat() is None
        records.save_heartbeat(Heartbeat(NOW, "r"))
        assert records.load_heartbeat() == Heartbeat(NOW, "r")
        assert "lanes" in stored.item("service#heartbeat")


class TestIncidents:
    @pytest.mark.parametrize(
        "incident", [{"key": "STALE##", "acknowledged_by": "me"}, {"key": "STALE##", "told_at": 1796016539}]
    )
    def test_incident_of_a_newer_version_is_named_and_the_others_are_read(
        self, stored: Stored, incident: dict[str, Any]
    ) -> None:
        incidents = DynamoIncidents(stored.dynamodb, stored.table, stored.newer)
        incidents.save(Incident("GONE##", NOW), NOW)
        stored.put("incident#STALE##", incident={"S": json.dumps(incident)})
        loaded = incidents.load(["STALE##", "GONE##", "BLOCKED##"])
        assert loaded.keys() == {"GONE##"}
        assert newer_of(loaded) == {"STALE##"}
        assert stored.left_alone() == ("incident#STALE##",)


class TestQueue:
    def test_waiting_refresh_of_a_newer_version_is_marked(self, stored: Stored) -> None:
        line = DynamoWaitingRefreshes(stored.dynamodb, stored.table, stored.newer)
        record = MirrorRecord(KEY, UPSTREAM, State.STALE, NOW, unfresh_since=NOW, episode=1)
        request = refresh_request(mirror("1.0"), root("new"), record)
        line.add(request)
        item = stored.item(f"waiting#{KEY}")
        newer = {**json.loads(item["request"]["S"]), "gates": ["age"]}
        stored.put(**{**item, "pk": f"waiting#{KEY}", "request": {"S": json.dumps(newer)}})
        (waiting,) = line.oldest_first(request.host, 5)
        assert (waiting.mirror, waiting.request, waiting.newer) == (KEY, None, True)
        stored.put(**{**item, "pk": f"waiting#{KEY}", "request": {"M": {}}})
        assert [each.newer for each in line.oldest_first(request.host, 5)] == [True]
        assert stored.left_alone() == (f"waiting#{KEY}",)

    def test_counts_of_a_newer_version_count_as_full_and_stay(self, stored: Stored) -> None:
        stored.put("service#slot-counts", form={"N": "2"}, lanes={"M": {"ghcr.io": {"L": []}}})
        before = stored.item("service#slot-counts")
        slots = DynamoRefreshSlots(stored.dynamodb, stored.table, newer=stored.newer)
        assert slots.taken() == {}
        slot = Slot("a-refresh", "ghcr.io", NOW + timedelta(minutes=15))
        assert slots.take(slot, NOW, LIMITS) is SlotResult.FULL
        slots.release("a-refresh")
        assert stored.item("service#slot-counts") == before
        assert stored.left_alone() == ("service#slot-counts",)

    def test_slot_of_a_newer_version_is_not_freed_and_the_others_are(self, stored: Stored) -> None:
        slots = DynamoRefreshSlots(stored.dynamodb, stored.table, newer=stored.newer)
        ours = Slot("ours", "ghcr.io", NOW)
        assert slots.take(ours, NOW - timedelta(minutes=15), LIMITS) is SlotResult.TAKEN
        stored.put("slot#theirs", line={"S": "slots"}, since={"S": "2020"}, lease={"M": {}})
        assert slots.oldest(5) == [ours]
        slots.release("theirs")
        slots.release("ours", ours.until)
        assert "lease" in stored.item("slot#theirs")
        assert slots.oldest(5) == []
        assert stored.left_alone() == ("slot#theirs",)


class TestPauses:
    @pytest.mark.parametrize(
        "rules",
        [
            {"M": {"app": {"M": {"until": {"S": "2026-12-01"}}}}},
            {"L": [{"M": {"rule": {"S": "app"}, "by": {"S": "me"}}}]},
            {"L": [{"S": "app"}]},
        ],
    )
    def test_rule_that_a_newer_version_has_paused_stays_paused(self, stored: Stored, rules: dict[str, Any]) -> None:
        stored.put("service#pauses", rules=rules)
        before = stored.item("service#pauses")
        pauses = DynamoPauses(stored.dynamodb, stored.table, stored.newer)
        assert "app" in pauses.paused_rules()
        for change in (pauses.pause, pauses.resume):
            with pytest.raises(StorageError, match="the paused rules"):
                change("app")
        assert stored.item("service#pauses") == before
        assert stored.left_alone() == ("service#pauses",)


class TestDemands:
    def test_demand_of_a_newer_version_is_named_and_the_others_are_read(self, stored: Stored) -> None:
        demands = DynamoDemands(stored.dynamodb, stored.table, stored.newer)
        for key in (KEY, OTHER):
            assert demands.save(Demand(key, "hub", NOW, NOW, 1), None, NOW + timedelta(days=1))
        stored.put(**{**stored.item(f"demand#{KEY}"), "pk": f"demand#{KEY}", "puller": {"S": "pod"}})
        before = stored.item(f"demand#{KEY}")
        loaded = demands.load([KEY, OTHER])
        assert loaded.keys() == {OTHER}
        assert newer_of(loaded) == {KEY}
        assert [demand.key for demand in demands.of_rule("hub")] == [OTHER]
        assert stored.item(f"demand#{KEY}") == before
        assert stored.left_alone() == (f"demand#{KEY}",)


def test_many_items_are_counted_and_some_are_named() -> None:
    newer = NewerItems()
    for number in range(50):
        newer.note(f"mirror#{number:02}", "why")
        newer.note(f"mirror#{number:02}", "again")
    left = newer.take()
    assert left == LeftAlone(50, tuple(f"mirror#{number:02}" for number in range(20)), "why")
    assert newer.take() is None
