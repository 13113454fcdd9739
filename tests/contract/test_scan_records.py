"""A scan of all records: the fake and DynamoDB (moto) behave the same."""

from typing import Any

import pytest

from pullahead.aws.records import DynamoRecords
from pullahead.errors import StorageError
from pullahead.mirrors.store import Heartbeat
from pullahead.rules.mirror_key import MirrorKey
from tests.contract.local_services import new_table
from tests.contract.test_records import FULL, KEY, NOW, PLAIN, dynamodb, records
from tests.fakes.memory import FakeRecords

__all__ = ["dynamodb", "records"]  # fixtures

ITEM = {"pk": {"S": f"mirror#{KEY}"}, "record": {"S": '{"key":"a:1","upstream":"u","state":"FRESH","since":"%s"}'}}
ITEM["record"]["S"] %= NOW.isoformat()


def test_scan_returns_every_mirror_and_nothing_else(records: FakeRecords | DynamoRecords) -> None:
    assert list(records.scan()) == []
    records.save_heartbeat(Heartbeat(NOW, "rules-1"))
    saved = [records.save(record, 0) for record in (FULL, PLAIN.with_changes(key=MirrorKey("mirror/app", "2.0")))]
    assert sorted(records.scan(), key=lambda record: str(record.key)) == saved


def test_missing_table_is_a_storage_error(dynamodb: Any) -> None:
    with pytest.raises(StorageError, match="ResourceNotFoundException"):
        list(DynamoRecords(dynamodb, "nowhere").scan())


def test_unreadable_record_is_an_error_that_names_it(dynamodb: Any) -> None:
    table = new_table(dynamodb)
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "mirror#odd:1"}})
    with pytest.raises(StorageError, match="mirror#odd:1"):
        list(DynamoRecords(dynamodb, table).scan())
