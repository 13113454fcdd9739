"""A scan of all records, and the index of those to review: the fake and DynamoDB (moto) behave the same."""

import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from pullahead.aws.records import DynamoRecords
from pullahead.errors import StorageError
from pullahead.mirrors.record import Record, RuleRecord, State, WaitingDigest
from pullahead.mirrors.record_scan import RecordScan, ScanState
from pullahead.mirrors.review_index import SHARDS
from pullahead.mirrors.store import DamagedRecord, Heartbeat, NewerRecord
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from tests.contract.local_services import new_table
from tests.contract.test_records import FULL, KEY, NOW, PLAIN, dynamodb, records
from tests.fakes.memory import FakeRecords
from tests.fakes.samples import UPSTREAM, digest

__all__ = ["dynamodb", "records"]  # fixtures

PATIENCE_SECONDS = 5.0  # of a test that waits for other threads
OTHER, RULE = MirrorKey("mirror/app", "2.0"), RuleKey("mirror/app", "app")

ITEM = {"pk": {"S": f"mirror#{KEY}"}, "record": {"S": '{"key":"a:1","upstream":"u","state":"FRESH","since":"%s"}'}}
ITEM["record"]["S"] %= NOW.isoformat()


class CountingTogether:
    """A DynamoDB client that answers when so many queries are under way."""

    def __init__(self, queries: int) -> None:
        self._all = threading.Barrier(queries)

    def query(self, **_asked: object) -> dict[str, int]:
        self._all.wait(PATIENCE_SECONDS)
        return {"Count": 1}


def test_scan_returns_every_mirror_and_nothing_else(records: FakeRecords | DynamoRecords) -> None:
    assert list(records.scan()) == []
    records.save_heartbeat(Heartbeat(NOW, "rules-1"))
    saved = [records.save(record, 0) for record in (FULL, PLAIN.with_changes(key=MirrorKey("mirror/app", "2.0")))]
    assert sorted(records.scan(), key=lambda record: str(record.key)) == saved


def test_scan_goes_on_after_the_position_that_it_gave(records: FakeRecords | DynamoRecords) -> None:
    keys = [MirrorKey("mirror/app", f"{number}") for number in range(5)]
    for key in keys:
        records.save(PLAIN.with_changes(key=key), 0)
    scan = records.scan_after("")
    first = [next(scan), next(scan)]
    rest = [*records.scan_after(first[-1].position)]
    assert sorted(named(each.record for each in (*first, *rest))) == sorted(map(str, keys))
    assert all(each.well_indexed for each in (*first, *rest))
    assert [*records.scan_after(rest[-1].position)] == []


class TestIndex:
    def test_record_is_in_the_index_while_it_has_something_to_tell(self, records: FakeRecords | DynamoRecords) -> None:
        stale = records.save(PLAIN, 0)
        fresh = records.save(PLAIN.with_changes(key=OTHER, state=State.FRESH), 0)
        assert (list(records.to_review()), records.count_to_review()) == ([stale], 1)
        told = records.save(fresh.with_changes(pending=FULL.pending), 1)
        assert sorted(named(records.to_review())) == [str(KEY), str(OTHER)]
        records.save(told.with_changes(pending=()), 2)
        records.save(stale.with_changes(expires_at=NOW), 1)
        assert (list(records.to_review()), records.count_to_review()) == ([], 0)

    def test_oldest_trouble_comes_first_whatever_its_shard(self, records: FakeRecords | DynamoRecords) -> None:
        keys = [MirrorKey("mirror/app", f"{number}") for number in range(30)]
        for age, key in enumerate(keys):
            since = NOW - timedelta(minutes=age)
            records.save(PLAIN.with_changes(key=key, since=NOW, unfresh_since=since), 0)
        assert named(records.to_review()) == [str(key) for key in reversed(keys)]

    def test_what_only_waits_is_read_when_its_moment_is_near(self, records: FakeRecords | DynamoRecords) -> None:
        waiting = WaitingDigest(digest("new"), NOW, NOW + timedelta(days=3))
        cooling = PLAIN.with_changes(state=State.COOLING, unfresh_since=None, waiting=waiting)
        records.save(cooling, 0)
        records.save(PLAIN.with_changes(key=OTHER, since=NOW), 0)
        assert named(records.to_review(NOW + timedelta(days=2))) == [str(OTHER)]
        assert sorted(named(records.to_review(NOW + timedelta(days=3)))) == sorted([str(KEY), str(OTHER)])
        assert records.count_to_review() == 2

    def test_shards_are_counted_at_once(self) -> None:
        records = DynamoRecords(CountingTogether(len(SHARDS)), "t")  # type: ignore[arg-type]
        assert records.count_to_review() == len(SHARDS)

    def test_listing_that_fails_is_in_the_index_and_listings_are_read_by_key(
        self, records: FakeRecords | DynamoRecords
    ) -> None:
        failing = records.save(RuleRecord(RULE, UPSTREAM, State.UNKNOWN, NOW, NOW), 0)
        records.save(PLAIN, 0)
        assert failing in list(records.to_review())
        assert records.load_listings([RULE, RuleKey("mirror/app", "none")]) == {RULE: failing}
        assert records.load_listings([]) == {}


def test_state_of_the_scan_is_empty_at_first_then_the_last_one(records: FakeRecords | DynamoRecords) -> None:
    assert records.load_scan_state() == ScanState()
    state = ScanState(RecordScan(NOW, "rules-2", "mirror#a:1", records=7), RecordScan(NOW, ended_at=NOW))
    records.save_scan_state(state)
    assert records.load_scan_state() == state
    assert list(records.scan()) == []


class TestDynamo:
    """What only a table can show: records that other versions wrote, and what is asked of DynamoDB."""

    def test_item_of_a_version_without_the_index_is_found_and_put_into_it(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        for tag, state in (("1", "STALE"), ("2", "FRESH")):
            text = ITEM["record"]["S"].replace("a:1", f"a:{tag}").replace("FRESH", state)
            text = text.replace("}", ',"version":4}')
            item = {"pk": {"S": f"mirror#a:{tag}"}, "version": {"N": "4"}, "record": {"S": text}}
            dynamodb.put_item(TableName=table, Item=item)
        records = DynamoRecords(dynamodb, table)
        assert list(records.to_review()) == []
        found = {str(record.key): right for _, record, right in records.scan_after("") if isinstance(record, Record)}
        assert found == {"a:1": False, "a:2": True}
        (stale,) = (each for each in records.scan() if isinstance(each, Record) and each.state is State.STALE)
        records.save(stale, stale.version)
        assert named(records.to_review()) == ["a:1"]
        assert all(each.well_indexed for each in records.scan_after(""))

    def test_item_that_is_in_the_index_by_mistake_is_found(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        records = DynamoRecords(dynamodb, table)
        records.save(PLAIN.with_changes(state=State.FRESH), 0)
        entry = {"review_shard": "review#0", "review_since": NOW.isoformat()}
        dynamodb.update_item(
            TableName=table,
            Key={"pk": {"S": f"mirror#{KEY}"}},
            UpdateExpression="SET review_shard = :shard, review_since = :since",
            ExpressionAttributeValues={":shard": {"S": entry["review_shard"]}, ":since": {"S": entry["review_since"]}},
        )
        assert [each.well_indexed for each in records.scan_after("")] == [False]

    def test_state_of_the_scan_that_cannot_be_read_begins_a_new_scan(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "service#scan"}, "scan": {"S": "{"}})
        assert DynamoRecords(dynamodb, table).load_scan_state() == ScanState()

    def test_quiet_deployment_is_reviewed_by_one_small_query_for_each_shard(self, dynamodb: Any) -> None:
        table, asked = new_table(dynamodb), list[Any]()
        records = DynamoRecords(dynamodb, table)
        for number in range(20):
            records.save(PLAIN.with_changes(key=MirrorKey("mirror/app", f"{number}"), state=State.FRESH), 0)
        event = "provide-client-params.dynamodb.Query"
        dynamodb.meta.events.register(event, lambda params, **_: asked.append(params["IndexName"]), "counted")
        assert list(records.to_review()) == []
        dynamodb.meta.events.unregister(event, unique_id="counted")
        assert asked == ["Reviews"] * len(SHARDS)


def named(records: Iterable[Record | NewerRecord | DamagedRecord]) -> list[str]:
    return [str(record.key) for record in records]


def test_missing_table_is_a_storage_error(dynamodb: Any) -> None:
    with pytest.raises(StorageError, match="ResourceNotFoundException"):
        list(DynamoRecords(dynamodb, "nowhere").scan())


def test_unreadable_record_is_named(dynamodb: Any) -> None:
    table = new_table(dynamodb)
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "mirror#odd:1"}})
    assert list(DynamoRecords(dynamodb, table).scan()) == [DamagedRecord("odd:1", "its record is missing")]
