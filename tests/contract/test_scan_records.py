"""All records at once: every mirror and nothing else, the fake and DynamoDB (moto) alike."""

from typing import Any

import pytest
from botocore.stub import Stubber

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


def test_every_mirror_is_read_and_nothing_else(records: FakeRecords | DynamoRecords) -> None:
    assert list(records.scan()) == []
    records.save_heartbeat(Heartbeat(NOW, "rules-1"))
    saved = [records.save(record, 0) for record in (FULL, PLAIN.with_changes(key=MirrorKey("mirror/app", "2.0")))]
    assert sorted(records.scan(), key=lambda record: str(record.key)) == saved


def test_pages_are_asked_for_one_after_the_other_and_only_when_needed(dynamodb: Any) -> None:
    position = {"pk": {"S": "mirror#a"}}
    asked = {
        "TableName": "t",
        "FilterExpression": "begins_with(pk, :mirror)",
        "ExpressionAttributeValues": {":mirror": {"S": "mirror#"}},
        "ProjectionExpression": "pk, #record",
        "ExpressionAttributeNames": {"#record": "record"},
    }
    with Stubber(dynamodb) as stub:
        stub.add_response("scan", {"Items": [], "LastEvaluatedKey": position}, asked)
        stub.add_response(
            "scan", {"Items": [ITEM], "LastEvaluatedKey": position}, {**asked, "ExclusiveStartKey": position}
        )
        assert next(DynamoRecords(dynamodb, "t").scan()).key == MirrorKey("a", "1")
        stub.assert_no_pending_responses()


def test_table_that_is_missing_is_a_storage_error(dynamodb: Any) -> None:
    with pytest.raises(StorageError, match="ResourceNotFoundException"):
        list(DynamoRecords(dynamodb, "nowhere").scan())


def test_record_that_cannot_be_read_is_named(dynamodb: Any) -> None:
    table = new_table(dynamodb)
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "mirror#odd:1"}})
    with pytest.raises(StorageError, match="mirror#odd:1"):
        list(DynamoRecords(dynamodb, table).scan())


class EndlessTable:
    """A client whose table never ends."""

    def __init__(self) -> None:
        self.pages = 0

    def scan(self, **_: Any) -> dict[str, Any]:
        self.pages += 1
        return {"Items": [], "LastEvaluatedKey": {"pk": {"S": "again"}}}


def test_table_without_end_is_an_error(dynamodb: Any) -> None:
    endless: Any = EndlessTable()
    with pytest.raises(StorageError, match="goes on after 2000 pages"):
        list(DynamoRecords(endless, "t").scan())
    assert endless.pages == 2000
