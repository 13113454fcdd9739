"""The slots of refreshes in DynamoDB: one item with a map of execution names, changed under conditions only.

One item, so that taking a slot is one write and no more than so many can be held, whoever asks at the same moment.
With 500 slots of 120 bytes it stays below 64 KB; an item may have 400 KB (DynamoDB Developer Guide, quotas).

The line of refreshes that wait for a slot, in DynamoDB: an item a mirror, in the order of the index `Lines`.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pullahead.aws.dynamodb import conditional_write, refused_item, storage_errors
from pullahead.errors import InvalidEventError, StorageError
from pullahead.messages import RefreshRequest
from pullahead.refresh.ports import SlotResult, WaitingRefresh
from pullahead.rules.mirror_key import MirrorKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_KEY: Any = {"pk": {"S": "service#slots"}}
_FREE = "size(#held) < :most AND attribute_not_exists(#held.#name)"
_RUN_OUT = "#held.#name <= :now"


class DynamoRefreshSlots:
    """Satisfies `pullahead.ports.Slots`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def holders(self) -> Mapping[str, datetime]:
        """Read the names, by the one way of reading that functions may use."""
        wanted: Any = {self._table: {"Keys": [_KEY], "ConsistentRead": True}}
        with storage_errors("read", "the slots of refreshes"):
            answer = self._client.batch_get_item(RequestItems=wanted)
        if answer.get("UnprocessedKeys"):
            raise StorageError("read of the slots of refreshes failed: DynamoDB is too busy")
        return next(map(_held, answer["Responses"].get(self._table, [])), {})

    def take(self, name: str, now: datetime, until: datetime, at_most: int) -> SlotResult:
        """Take a slot by one conditional write; the first one ever needs the item to be made."""
        values = {":until": _text(until), ":now": _text(now)}
        for _ in range(2):
            refused = self._change(
                "SET #held.#name = :until",
                f"attribute_exists(#held) AND (({_FREE}) OR {_RUN_OUT})",
                name,
                {**{key: {"S": text} for key, text in values.items()}, ":most": {"N": str(at_most)}},
            )
            if refused is None:
                return SlotResult.TAKEN
            if "held" in refused:
                return SlotResult.ALREADY_TAKEN if name in refused["held"]["M"] else SlotResult.FULL
            self._make()
        raise StorageError("write of the slots of refreshes failed: their item is made and gone again")

    def renew(self, name: str, before: datetime, until: datetime) -> None:
        """Move the moment on."""
        values = {":before": {"S": _text(before)}, ":until": {"S": _text(until)}}
        self._change("SET #held.#name = :until", "#held.#name = :before", name, values)

    def release(self, name: str, before: datetime | None = None) -> None:
        """Remove the name; that it is gone already is no failure."""
        if before is None:
            self._change("REMOVE #held.#name", "attribute_exists(#held.#name)", name, {})
        else:
            self._change("REMOVE #held.#name", "#held.#name = :before", name, {":before": {"S": _text(before)}})

    def _change(self, update: str, condition: str, name: str, values: Any) -> dict[str, Any] | None:
        """Update under a condition; where that does not hold, answer the item as it is."""
        more: Any = {"ExpressionAttributeValues": values} if values else {}
        try:
            with storage_errors("write", "the slots of refreshes"):
                self._client.update_item(
                    TableName=self._table,
                    Key=_KEY,
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#held": "held", "#name": name},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **more,
                )
        except StorageError as error:
            if (item := refused_item(error)) is None:
                raise
            return item
        return None

    def _make(self) -> None:
        """Make the item, without a slot held, unless somebody else has."""
        item: Any = {**_KEY, "held": {"M": {}}}
        with conditional_write("the slots of refreshes"):
            self._client.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)")


def _held(item: Any) -> Mapping[str, datetime]:
    return {name: datetime.fromisoformat(until["S"]) for name, until in item.get("held", {}).get("M", {}).items()}


def _text(moment: datetime) -> str:
    """Write a moment so that texts compare as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


_WAITING, _LINE, _INDEX = "waiting#", "refreshes", "Lines"
_MAX_PAGES = 200  # of 1 MB at the most: DynamoDB API reference, Query


class DynamoWaitingRefreshes:
    """Satisfies `pullahead.ports.WaitingLine`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def add(self, request: RefreshRequest) -> None:
        """Write the mirror's item unless it says the same."""
        mirror = MirrorKey(request.repository, request.tag)
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

    def oldest_first(self, page: int) -> Iterator[WaitingRefresh]:
        """Read the index, page by page as they are asked for."""
        for answer in self._pages({"Limit": page}):
            yield from map(_entry, answer["Items"])

    def remove(self, refresh: WaitingRefresh) -> None:
        """Delete the mirror's item if it is still this one."""
        with conditional_write(f"{refresh.mirror} in the line of refreshes"):
            self._client.delete_item(
                TableName=self._table,
                Key={"pk": {"S": f"{_WAITING}{refresh.mirror}"}},
                ConditionExpression="#name = :name",
                ExpressionAttributeNames={"#name": "name"},
                ExpressionAttributeValues={":name": {"S": refresh.name}},
            )

    def count(self) -> int:
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


def _entry(item: Any) -> WaitingRefresh:
    mirror, name = MirrorKey.parse(item["pk"]["S"].removeprefix(_WAITING)), item.get("name", {}).get("S", "")
    try:
        request = RefreshRequest.from_json(item["request"]["S"])
    except (KeyError, InvalidEventError):
        request = None  # written by another version; whoever goes through the line says so and drops it
    return WaitingRefresh(mirror, name, request)
