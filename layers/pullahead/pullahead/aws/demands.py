"""What was demanded by pulls, in DynamoDB: an item a mirror, in the line of its rule, and a counter a rule and day."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from pullahead.aws.dynamodb import refused_item, storage_errors
from pullahead.errors import StorageError
from pullahead.mirrors.demand import Demand
from pullahead.rules.mirror_key import MirrorKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_BATCH = 100  # DynamoDB API reference, BatchGetItem: up to 100 items a call
_MAX_TRIES = 4
_MAX_PAGES = 200  # of 1 MB each at the most: DynamoDB API reference, Query
_DEMAND, _COUNTER, _LINE, _INDEX = "demand#", "demanded#", "demand#", "Lines"
_COUNTER_KEPT_FOR = timedelta(days=3)


class DynamoDemands:
    """Satisfies `pullahead.ports.Demands`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def load(self, keys: Collection[MirrorKey]) -> Mapping[MirrorKey, Demand]:
        """Read demands, eventually consistent, at half the price."""
        found: dict[MirrorKey, Demand] = {}
        unique = iter(dict.fromkeys(keys))
        while batch := list(islice(unique, _BATCH)):
            found |= {demand.key: demand for demand in map(_decode, self._get(batch))}
        return found

    def save(self, demand: Demand, before: Demand | None, expires_at: datetime) -> bool:
        """Write a demand under the condition that nobody else has changed it."""
        item = _encode(demand) | {"expires_at": {"N": str(int(expires_at.timestamp()))}}
        return _holds(
            f"the demand of {demand.key}",
            lambda: self._client.put_item(TableName=self._table, Item=item, **_unchanged(before)),
        )

    def forget(self, demand: Demand) -> bool:
        """Remove a demand under the same condition."""
        key: Any = {"pk": {"S": f"{_DEMAND}{demand.key}"}}
        return _holds(
            f"the demand of {demand.key}",
            lambda: self._client.delete_item(TableName=self._table, Key=key, **_unchanged(demand)),
        )

    def of_rule(self, rule: str) -> Iterator[Demand]:
        """Read the line of a rule, page by page as they are asked for."""
        position: dict[str, Any] = {}
        for _ in range(_MAX_PAGES):
            with storage_errors("read", f"what was demanded of the rule {rule}"):
                answer = self._client.query(
                    TableName=self._table,
                    IndexName=_INDEX,
                    KeyConditionExpression="line = :line",
                    ExpressionAttributeValues={":line": {"S": f"{_LINE}{rule}"}},
                    **position,
                )
            yield from map(_decode, answer["Items"])
            if not answer.get("LastEvaluatedKey"):
                return
            position = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        raise StorageError(f"read of what was demanded of the rule {rule} failed: it goes on after {_MAX_PAGES} pages")

    def count(self, rule: str, day: date, limit: int) -> bool:
        """Add one to the day's counter, unless it has reached the limit."""
        ends = datetime(day.year, day.month, day.day, tzinfo=UTC) + _COUNTER_KEPT_FOR
        return _holds(
            f"the count of what was demanded of the rule {rule}",
            lambda: self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": f"{_COUNTER}{rule}#{day.isoformat()}"}},
                UpdateExpression="ADD #count :one SET expires_at = :ends",
                ConditionExpression="attribute_not_exists(#count) OR #count < :limit",
                ExpressionAttributeNames={"#count": "count"},
                ExpressionAttributeValues={
                    ":one": {"N": "1"},
                    ":limit": {"N": str(limit)},
                    ":ends": {"N": str(int(ends.timestamp()))},
                },
            ),
        )

    def _get(self, keys: Sequence[MirrorKey]) -> Iterator[dict[str, Any]]:
        wanted: Any = {self._table: {"Keys": [{"pk": {"S": f"{_DEMAND}{key}"}} for key in keys]}}
        for _ in range(_MAX_TRIES):
            with storage_errors("read", f"{len(keys)} demands"):
                answer = self._client.batch_get_item(RequestItems=wanted)
            yield from answer["Responses"].get(self._table, [])
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return
        raise StorageError(f"read of {len(keys)} demands failed: DynamoDB left some unprocessed {_MAX_TRIES} times")


def _holds(resource: str, write: Callable[[], object]) -> bool:
    """Write, and tell whether the condition of it held."""
    try:
        with storage_errors("write", resource):
            write()
    except StorageError as error:
        if refused_item(error) is None:
            raise
        return False
    return True


def _unchanged(before: Demand | None) -> Any:
    """The condition that an item is still what it was when it was read."""
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "#since = :since AND asked_at = :asked_at AND kept = :kept",
        "ExpressionAttributeNames": {"#since": "since"},
        "ExpressionAttributeValues": {
            ":since": {"S": _text(before.since)},
            ":asked_at": {"S": _text(before.asked_at)},
            ":kept": {"BOOL": before.kept},
        },
    }


def _encode(demand: Demand) -> dict[str, Any]:
    return {
        "pk": {"S": f"{_DEMAND}{demand.key}"},
        "line": {"S": f"{_LINE}{demand.rule}"},
        "since": {"S": _text(demand.since)},
        "asked_at": {"S": _text(demand.asked_at)},
        "tries": {"N": str(demand.tries)},
        "kept": {"BOOL": demand.kept},
    }


def _decode(item: Any) -> Demand:
    try:
        return Demand(
            MirrorKey.parse(item["pk"]["S"].removeprefix(_DEMAND)),
            item["line"]["S"].removeprefix(_LINE),
            datetime.fromisoformat(item["since"]["S"]),
            datetime.fromisoformat(item["asked_at"]["S"]),
            int(item["tries"]["N"]),
            item["kept"]["BOOL"],
        )
    except (KeyError, ValueError) as error:
        raise StorageError(f"the demand {item.get('pk')} cannot be read: {error}") from error


def _text(moment: datetime) -> str:
    """Write a moment so that texts compare as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
