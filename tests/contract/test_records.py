"""Records: what is written comes back, and only who read last may write. The fake and DynamoDB (moto) alike."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from pullahead.aws.records import DynamoRecords
from pullahead.errors import ConflictError, StorageError
from pullahead.mirrors.alert import Alert, AlertKind, SentAlert
from pullahead.mirrors.record import LastRefresh, MirrorRecord, RefreshFailure, State
from pullahead.mirrors.store import Heartbeat, RecordStore
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
def test_record_comes_back_as_it_was_written(records: RecordStore, record: MirrorRecord) -> None:
    saved = records.save(record, 0)
    assert saved == record.with_changes(version=1)
    assert records.load([KEY]) == {KEY: saved}


def test_unknown_mirrors_are_left_out(records: RecordStore) -> None:
    records.save(PLAIN, 0)
    assert records.load([]) == {}
    assert records.load([MirrorKey("mirror/app", "2.0")]) == {}
    assert records.load([MirrorKey("mirror/app", "2.0"), KEY, KEY]).keys() == {KEY}


def test_more_mirrors_than_one_call_takes(records: RecordStore) -> None:
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

    def test_who_read_before_another_wrote_may_not_write(self, records: RecordStore) -> None:
        first = records.save(PLAIN, 0)
        second = records.save(FULL, first.version)
        assert second.version == 2
        with pytest.raises(ConflictError, match=str(KEY)):
            records.save(PLAIN, first.version)
        assert records.load([KEY]) == {KEY: second}

    def test_record_that_is_not_there_cannot_be_changed(self, records: RecordStore) -> None:
        with pytest.raises(ConflictError):
            records.save(PLAIN, 1)
        assert records.load([KEY]) == {}

    def test_version_that_counts_is_the_one_that_was_read(self, records: RecordStore) -> None:
        saved = records.save(PLAIN.with_changes(version=99), 0)
        assert saved.version == 1
        assert records.save(PLAIN.with_changes(version=99), 1).version == 2


def test_heartbeat_is_none_at_first_then_the_last_one(records: RecordStore) -> None:
    assert records.load_heartbeat() is None
    for beat in (Heartbeat(NOW, "rules-1"), Heartbeat(NOW + timedelta(minutes=5), "rules-2")):
        records.save_heartbeat(beat)
        assert records.load_heartbeat() == beat


def test_heartbeat_is_no_mirror(records: RecordStore) -> None:
    records.save_heartbeat(Heartbeat(NOW, "rules-1"))
    assert list(records.scan()) == []


class TestDynamo:
    def test_table_that_is_missing_is_a_storage_error(self, dynamodb: Any) -> None:
        records = DynamoRecords(dynamodb, "nowhere")
        for ask in (
            lambda: records.load([KEY]),
            lambda: records.save(PLAIN, 0),
            records.load_heartbeat,
            lambda: records.save_heartbeat(Heartbeat(NOW, "r")),
        ):
            with pytest.raises(StorageError, match="ResourceNotFoundException"):
                ask()

    def test_item_shows_a_reader_of_the_table_how_the_mirror_stands(self, dynamodb: Any) -> None:
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

    def test_record_that_is_to_be_forgotten_has_the_tables_time_to_live_and_loses_it_again(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        records = DynamoRecords(dynamodb, table)
        saved = records.save(FULL.with_changes(expires_at=NOW), 0)
        (item,) = dynamodb.scan(TableName=table)["Items"]
        assert item["expires_at"] == {"N": str(int(NOW.timestamp()))}
        records.save(saved.with_changes(expires_at=None), 1)
        (item,) = dynamodb.scan(TableName=table)["Items"]
        assert "expires_at" not in item

    def test_record_of_the_version_before_is_read_and_written_with_what_it_was_to_tell(self, dynamodb: Any) -> None:
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
    def test_item_that_somebody_else_wrote_is_a_storage_error(self, dynamodb: Any, item: dict[str, Any]) -> None:
        table = new_table(dynamodb)
        dynamodb.put_item(TableName=table, Item={"pk": {"S": f"mirror#{KEY}"}, **item})
        with pytest.raises(StorageError, match="cannot be read"):
            DynamoRecords(dynamodb, table).load([KEY])

    def test_reads_are_strongly_consistent_and_what_was_left_unprocessed_is_asked_again(self, dynamodb: Any) -> None:
        asked: Any = {"t": {"Keys": [{"pk": {"S": f"mirror#{KEY}"}}], "ConsistentRead": True}}
        with Stubber(dynamodb) as stub:
            for left in ({"UnprocessedKeys": asked}, {}):
                stub.add_response("batch_get_item", {"Responses": {"t": []}, **left}, {"RequestItems": asked})
            assert DynamoRecords(dynamodb, "t").load([KEY]) == {}
            stub.assert_no_pending_responses()

    def test_keys_that_stay_unprocessed_are_an_error_and_not_missing_mirrors(self, dynamodb: Any) -> None:
        left: Any = {"t": {"Keys": [{"pk": {"S": f"mirror#{KEY}"}}], "ConsistentRead": True}}
        with Stubber(dynamodb) as stub:
            for _ in range(4):
                stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
            with pytest.raises(StorageError, match="unprocessed 4 times"):
                DynamoRecords(dynamodb, "t").load([KEY])
