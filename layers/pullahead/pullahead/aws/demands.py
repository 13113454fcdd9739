"""Demands in DynamoDB: one item a mirror, in the line of its rule, and a counter for each rule and day."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pullahead.aws.dynamodb import Item, Table, epoch, iso_text
from pullahead.errors import StorageError
from pullahead.mirrors.demand import Demand
from pullahead.rules.mirror_key import MirrorKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_DEMAND, _COUNTER, _LINE = "demand#", "demanded#", "demand#"
_COUNTER_LIFETIME = timedelta(days=3)


class DynamoDemands:
    """Implements `pullahead.on_demand.ports.DemandStore`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def load(self, keys: Collection[MirrorKey]) -> Mapping[MirrorKey, Demand]:
        """Read demands, eventually consistent, at half the price."""
        items = self._table.get_many((f"{_DEMAND}{key}" for key in keys), f"{len(keys)} demands", consistent=False)
        return {demand.key: demand for demand in map(_decode, items)}

    def save(self, demand: Demand, before: Demand | None, expires_at: datetime) -> bool:
        """Write a demand if nobody has changed it since it was read."""
        item = {**_encode(demand), "expires_at": epoch(expires_at)}
        condition, values = _unchanged(before)
        return self._table.put_if(item, f"the demand of {demand.key}", condition, **values)

    def forget(self, demand: Demand) -> bool:
        """Delete a demand if nobody has changed it since it was read."""
        condition, values = _unchanged(demand)
        return self._table.delete_if(f"{_DEMAND}{demand.key}", f"the demand of {demand.key}", condition, **values)

    def of_rule(self, rule: str) -> Iterator[Demand]:
        """Read the demands of a rule, page by page as they are asked for."""
        return map(_decode, self._table.query(f"{_LINE}{rule}", f"the demands of the rule {rule}"))

    def count(self, rule: str, day: date, limit: int) -> bool:
        """Add one to the day's counter unless it has reached the limit."""
        key = f"{_COUNTER}{rule}#{day.isoformat()}"
        expires_at = datetime(day.year, day.month, day.day, tzinfo=UTC) + _COUNTER_LIFETIME
        return self._table.add(key, "count", f"the demand counter of the rule {rule}", expires_at, limit) is not None


def _unchanged(before: Demand | None) -> tuple[str, Mapping[str, Any]]:
    """Write the condition that an item is still what was read."""
    if before is None:
        return "attribute_not_exists(pk)", {}
    values = {"since": iso_text(before.since), "asked_at": iso_text(before.asked_at), "kept": before.kept}
    return "#since = :since AND #asked_at = :asked_at AND #kept = :kept", values


def _encode(demand: Demand) -> Item:
    return {
        "pk": f"{_DEMAND}{demand.key}",
        "line": f"{_LINE}{demand.rule}",
        "since": iso_text(demand.since),
        "asked_at": iso_text(demand.asked_at),
        "tries": demand.tries,
        "kept": demand.kept,
    }


def _decode(item: Item) -> Demand:
    try:
        return Demand(
            MirrorKey.parse(item["pk"].removeprefix(_DEMAND)),
            item["line"].removeprefix(_LINE),
            datetime.fromisoformat(item["since"]),
            datetime.fromisoformat(item["asked_at"]),
            int(item["tries"]),
            item["kept"],
        )
    except (KeyError, ValueError) as error:
        raise StorageError(f"the item {item.get('pk')} cannot be read: {error}") from error
