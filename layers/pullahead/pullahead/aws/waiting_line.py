"""The line of refreshes that wait for a slot, in DynamoDB: an item a mirror, in the order of the index `Lines`."""

from collections.abc import Iterator
from datetime import UTC
from typing import TYPE_CHECKING, Any

from pullahead.aws.storage_errors import conditional_write, storage_errors
from pullahead.errors import InvalidEventError, StorageError
from pullahead.messages import RefreshRequest
from pullahead.ports import Entry
from pullahead.rules.model import mirror_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_WAITING, _LINE, _INDEX = "waiting#", "refreshes", "Lines"
_MAX_PAGES = 200  # of 1 MB at the most: DynamoDB API reference, Query


class DynamoWaitingLine:
    """Satisfies `pullahead.ports.WaitingLine`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def join(self, request: RefreshRequest) -> None:
        """Write the mirror's item unless it says the same."""
        mirror = mirror_key(request.repository, request.tag)
        with conditional_write(f"{mirror} in the line of refreshes"):
            self._client.put_item(
                TableName=self._table,
                Item={
                    "pk": {"S": f"{_WAITING}{mirror}"},
                    "line": {"S": _LINE},
                    "since": {"S": request.stale_since.astimezone(UTC).isoformat(timespec="microseconds")},
                    "name": {"S": request.name},
                    "request": {"S": request.to_json()},
                },
                ConditionExpression="attribute_not_exists(pk) OR #name <> :name",
                ExpressionAttributeNames={"#name": "name"},
                ExpressionAttributeValues={":name": {"S": request.name}},
            )

    def entries(self, page: int) -> Iterator[Entry]:
        """Read the index, page by page as they are asked for."""
        for answer in self._pages({"Limit": page}):
            yield from map(_entry, answer["Items"])

    def leave(self, entry: Entry) -> None:
        """Delete the mirror's item if it is still this one."""
        with conditional_write(f"{entry.mirror} in the line of refreshes"):
            self._client.delete_item(
                TableName=self._table,
                Key={"pk": {"S": f"{_WAITING}{entry.mirror}"}},
                ConditionExpression="#name = :name",
                ExpressionAttributeNames={"#name": "name"},
                ExpressionAttributeValues={":name": {"S": entry.name}},
            )

    def length(self) -> int:
        """Let DynamoDB count."""
        return sum(answer["Count"] for answer in self._pages({"Select": "COUNT"}))

    def _pages(self, wanted: dict[str, Any]) -> Iterator[Any]:
        for _ in range(_MAX_PAGES):
            with storage_errors("read", "the line of refreshes"):
                answer = self._client.query(
                    TableName=self._table,
                    IndexName=_INDEX,
                    KeyConditionExpression="#line = :line",
                    ExpressionAttributeNames={"#line": "line"},
                    ExpressionAttributeValues={":line": {"S": _LINE}},
                    **wanted,
                )
            yield answer
            if not answer.get("LastEvaluatedKey"):
                return
            wanted = {**wanted, "ExclusiveStartKey": answer["LastEvaluatedKey"]}
        raise StorageError(f"read of the line of refreshes failed: it goes on after {_MAX_PAGES} pages")


def _entry(item: Any) -> Entry:
    mirror, name = item["pk"]["S"].removeprefix(_WAITING), item.get("name", {}).get("S", "")
    try:
        request = RefreshRequest.from_json(item["request"]["S"])
    except (KeyError, InvalidEventError):
        request = None  # written by another version; whoever goes through the line says so and drops it
    return Entry(mirror, name, request)
