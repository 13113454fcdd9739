"""Records: the fake and DynamoDB (moto) behave the same, and only the last reader may write."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullahead.aws.newer_items import NewerItems
from pullahead.aws.records import DynamoRecords
from pullahead.errors import ConflictError, StorageError
from pullahead.mirrors.alert import Alert, AlertKind, SentAlert
from pullahead.mirrors.record import LastRefresh, MirrorRecord, RefreshFailure, State
from pullahead.mirrors.store import DamagedRecord, Heartbeat, RecordStore
from pullahead.rules.mirror_key import MirrorKey
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.memory import FakeRecords
from tests.fakes.samples import UPSTREAM, digest

NOW = datetime(2026, 11, 24, 9, 5, 3, 123456, tzinfo=UTC)
KEY = MirrorKey("mirror/app", "1.0")
PLAIN = MirrorRecord(KEY, UPSTREAM, State.MISSING, NOW)
FULL = MirrorRecord(
    KEY,
    UPSTREAM,
    State.BLOCKED,
    since=NOW,
    unfresh_since=NOW - timedelta(hours=1),
    upstream_digest=digest("new"),
    published_digest=digest("old"),
    error_kind="AccessDeniedError",
    error="kein Zugriff \U0001f512 \"'\\",
    failure=RefreshFailure(digest("new"), "TagImmutableError", "no", True, 3, NOW + timedelta(hours=6)),
    alerted=(AlertKind.BLOCKED, AlertKind.STALE),
    pending=(Alert(AlertKind.STALE, KEY, UPSTREAM, NOW, NOW, "why"),),
    last_refresh=LastRefresh(NOW, 1.5, 2.25, 10**12, "arn:aws:states:…"),
    told=(SentAlert(AlertKind.BLOCKED, "BLOCKED#ghcr.io#", NOW),),
    expires_at=NOW + timedelta(days=7),
)


OF_THE_VERSION_BEFORE = (
    (
        """{"key":"mirror/app:1.0","upstream":"ghcr.io/team/app:1.0","state":"BLOCKED","since":"2026-11-24T09:00:00Z",
    "unfresh_since":"2026-11-24T09:00:00Z","upstream_digest":"NEW","published_digest":"OLD","error_kind":null,
    "error":null,"failure":{"digest":"NEW","kind":"TagImmutableError","text":"the tag is immutable","blocking":true,
    "count":1,"retry_at":"2026-11-24T15:00:00Z"},"alerted":["BLOCKED"],"pending":[{"kind":"BLOCKED",
    "mirror":"mirror/app:1.0","upstream":"ghcr.io/team/app:1.0","since":"2026-11-24T09:00:00Z",
    "at":"2026-11-24T09:00:00Z","detail":"the tag is immutable"}],"last_refresh":{"ended_at":"2026-11-20T09:00:00Z",
    "seconds":1.5,"lag_seconds":2.25,"bytes_copied":7,"execution":"arn:1"},"episode":2,"version":4,"platforms":[],
    "filtered":null,"past":[{"since":"2026-11-20T09:00:00Z","state":"FRESH"}],"followed":[]}"""
    )
    .replace("NEW", digest("new"))
    .replace("OLD", digest("old"))
)


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


@pytest.fixture(params=["fake", "dynamodb"])
def records(request: pytest.FixtureRequest) -> RecordStore:
    if request.param == "fake":
        return FakeRecords()
    dynamodb = request.getfixturevalue("dynamodb")
    return DynamoRecords(dynamodb, new_table(dynamodb))


@pytest.mark.parametrize("record", [PLAIN, FULL], ids=["plain", "full"])
def test_record_is_read_as_it_was_written(records: RecordStore, record: MirrorRecord) -> None:
    saved = records.save(record, 0)
    assert saved == record.with_changes(version=1)
    assert records.load([KEY]) == {KEY: saved}


def test_unknown_mirrors_are_left_out(records: RecordStore) -> None:
    records.save(PLAIN, 0)
    assert records.load([]) == {}
    assert records.load([MirrorKey("mirror/app", "2.0")]) == {}
    assert records.load([MirrorKey("mirror/app", "2.0"), KEY, KEY]).keys() == {KEY}


def test_more_keys_than_one_call_takes_are_all_read(records: RecordStore) -> None:
    keys = [MirrorKey("mirror/app", f"{n}") for n in range(120)]
    for key in keys:
        records.save(PLAIN.with_changes(key=key), 0)
    assert sorted(records.load([*keys, MirrorKey("mirror/app", "missing")])) == sorted(keys)


class TestConflict:
    def test_first_writer_wins(self, records: RecordStore) -> None:
        records.save(PLAIN, 0)
        with pytest.raises(ConflictError):
            records.save(FULL, 0)
        assert records.load([KEY])[KEY].state is State.MISSING

    def test_write_after_another_write_is_a_conflict(self, records: RecordStore) -> None:
        first = records.save(PLAIN, 0)
        second = records.save(FULL, first.version)
        assert second.version == 2
        with pytest.raises(ConflictError, match=str(KEY)):
            records.save(PLAIN, first.version)
        assert records.load([KEY]) == {KEY: second}

    def test_change_of_a_missing_record_is_a_conflict(self, records: RecordStore) -> None:
        with pytest.raises(ConflictError):
            records.save(PLAIN, 1)
        assert records.load([KEY]) == {}

    def test_expected_version_decides_and_not_the_one_in_the_record(self, records: RecordStore) -> None:
        saved = records.save(PLAIN.with_changes(version=99), 0)
        assert saved.version == 1
        assert records.save(PLAIN.with_changes(version=99), 1).version == 2


def test_inconsistent_read_finds_the_same_once_it_is_everywhere(records: RecordStore) -> None:
    saved = records.save(PLAIN, 0)
    assert records.load([KEY, MirrorKey("mirror/app", "2.0")], consistent=False) == {KEY: saved}


def test_heartbeat_is_none_at_first_then_the_last_one(records: RecordStore) -> None:
    assert records.load_heartbeat() is None
    for beat in (Heartbeat(NOW, "rules-1"), Heartbeat(NOW + timedelta(minutes=5), "rules-2", "repository")):
        records.save_heartbeat(beat)
        assert records.load_heartbeat() == beat


def test_heartbeat_is_not_read_as_a_mirror(records: RecordStore) -> None:
    records.save_heartbeat(Heartbeat(NOW, "rules-1"))
    assert list(records.scan()) == []


class TestDynamo:
    def test_missing_table_is_a_storage_error(self, dynamodb: Any) -> None:
        records = DynamoRecords(dynamodb, "nowhere")
        for ask in (
            lambda: records.load([KEY]),
            lambda: records.save(PLAIN, 0),
            records.load_heartbeat,
            lambda: records.save_heartbeat(Heartbeat(NOW, "r")),
        ):
            with pytest.raises(StorageError, match="ResourceNotFoundException"):
                ask()

    def test_heartbeat_of_version_0_1_has_no_scheme(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        item = {"pk": {"S": "service#heartbeat"}, "at": {"S": NOW.isoformat()}, "rules_digest": {"S": "rules-1"}}
        dynamodb.put_item(TableName=table, Item=item)
        assert DynamoRecords(dynamodb, table).load_heartbeat() == Heartbeat(NOW, "rules-1", "")

    @pytest.mark.parametrize(("consistent", "asked"), [(True, True), (False, None)])
    def test_batch_is_read_by_the_hundred_and_as_consistently_as_asked(
        self, dynamodb: Any, *, consistent: bool, asked: bool | None
    ) -> None:
        table, wanted = new_table(dynamodb), list[Any]()
        dynamodb.meta.events.register(
            "provide-client-params.dynamodb.BatchGetItem",
            lambda params, **_: wanted.append(params["RequestItems"][table]),
            "counted",
        )
        keys = [MirrorKey("mirror/app", f"{n}") for n in range(250)]
        DynamoRecords(dynamodb, table).load(keys, consistent=consistent)
        dynamodb.meta.events.unregister("provide-client-params.dynamodb.BatchGetItem", unique_id="counted")
        assert [len(each["Keys"]) for each in wanted] == [100, 100, 50]
        assert [each.get("ConsistentRead") for each in wanted] == [asked] * 3

    def test_item_shows_the_state_of_the_mirror_as_attributes(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        DynamoRecords(dynamodb, table).save(FULL, 0)
        item = dynamodb.get_item(TableName=table, Key={"pk": {"S": f"mirror#{KEY}"}})["Item"]
        shown = {name: item[name]["S"] for name in ("state", "since", "upstream", "upstream_digest")}
        assert shown == {
            "state": "BLOCKED",
            "since": NOW.isoformat(),
            "upstream": UPSTREAM,
            "upstream_digest": digest("new"),
        }

    def test_expiring_record_has_a_time_to_live_and_loses_it_again(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        records = DynamoRecords(dynamodb, table)
        saved = records.save(FULL.with_changes(expires_at=NOW), 0)
        (item,) = dynamodb.scan(TableName=table)["Items"]
        assert item["expires_at"] == {"N": str(int(NOW.timestamp()))}
        records.save(saved.with_changes(expires_at=None), 1)
        (item,) = dynamodb.scan(TableName=table)["Items"]
        assert "expires_at" not in item

    def test_record_of_the_previous_version_is_read_and_written(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        item = {"pk": {"S": f"mirror#{KEY}"}, "version": {"N": "4"}, "record": {"S": OF_THE_VERSION_BEFORE}}
        dynamodb.put_item(TableName=table, Item=item)
        records = DynamoRecords(dynamodb, table)
        old = records.load([KEY])[KEY]
        assert (old.state, old.alerted, [alert.kind for alert in old.pending]) == (
            State.BLOCKED,
            ("BLOCKED",),
            ["BLOCKED"],
        )
        assert (old.outbox, old.told, old.expires_at, old.pending[0].error_kind) == ((), (), None, "")
        assert records.save(old.with_changes(pending=()), 4).version == 5
        assert list(records.scan()) == [old.with_changes(pending=(), version=5)]

    @pytest.mark.parametrize("item", [{}, {"record": {"S": "{"}}, {"record": {"S": "{}"}}])
    def test_unreadable_item_counts_as_none_and_is_written_anew_with_an_alert(
        self, dynamodb: Any, item: dict[str, Any]
    ) -> None:
        table, items = new_table(dynamodb), NewerItems()
        dynamodb.put_item(TableName=table, Item={"pk": {"S": f"mirror#{KEY}"}, **item})
        records = DynamoRecords(dynamodb, table, items)
        assert (records.load([KEY]), records.load_one(KEY)) == ({}, None)
        assert [type(each) for each in records.scan()] == [DamagedRecord]
        assert (damaged := items.take_damaged()) is not None
        assert (damaged.items, damaged.keys) == (1, (f"mirror#{KEY}",))
        with pytest.raises(ConflictError):
            records.save(PLAIN, 1)
        saved = records.save(PLAIN, 0)
        assert [alert.kind for alert in saved.pending] == [AlertKind.RECORD_DAMAGED]
        assert records.load([KEY]) == {KEY: saved}
