"""Demands in DynamoDB: one item a mirror, in the line of its rule, and a counter for each rule and day."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pullahead.aws.dynamodb import DamagedItemError, Item, Table, epoch, iso_text, moment_of, text_of
from pullahead.aws.newer_items import NewerItems
from pullahead.mirrors.demand import Demand
from pullahead.mirrors.stored_form import Loaded
from pullahead.rules.mirror_key import MirrorKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_DEMAND, _COUNTER, _LINE = "demand#", "demanded#", "demand#"
_ATTRIBUTES = frozenset({"pk", "line", "since", "asked_at", "tries", "kept", "expires_at"})
_COUNTER_LIFETIME = timedelta(days=3)


class DynamoDemands:
    """Implements `pullahead.on_demand.ports.DemandStore`."""

    def __init__(self, client: "DynamoDBClient", table: str, newer: NewerItems | None = None) -> None:
        self._table, self._newer = Table(client, table), newer or NewerItems()

    def load(self, keys: Collection[MirrorKey]) -> Loaded[MirrorKey, Demand]:
        """Read demands, eventually consistent, at half the price."""
        items = list(
            self._table.get_many((f"{_DEMAND}{key}" for key in keys), f"{len(keys)} demands", consistent=False)
        )
        return Loaded(
            ((demand.key, demand) for demand in self._known(items)),
            (MirrorKey.parse(item["pk"].removeprefix(_DEMAND)) for item in items if item.keys() - _ATTRIBUTES),
        )

    def save(self, demand: Demand, before: Demand | None, expires_at: datetime) -> bool:
        """Write a demand if nobody has changed it since it was read."""
        item, what = {**_encode(demand), "expires_at": epoch(expires_at)}, f"the demand of {demand.key}"
        condition, values = _unchanged(before)
        stored = self._table.put_or_return(item, what, condition, **values)
        if not stored or before is not None or stored.keys() - _ATTRIBUTES or self._read(stored) is not None:
            return stored is None
        return self._table.replace(item, what, stored)  # a damaged one is written anew

    def forget(self, demand: Demand) -> bool:
        """Delete a demand if nobody has changed it since it was read."""
        condition, values = _unchanged(demand)
        return self._table.delete_if(f"{_DEMAND}{demand.key}", f"the demand of {demand.key}", condition, **values)

    def of_rule(self, rule: str) -> Iterator[Demand]:
        """Read the demands of a rule, page by page as they are asked for."""
        return self._known(self._table.query(f"{_LINE}{rule}", f"the demands of the rule {rule}"))

    def count(self, rule: str, day: date, limit: int) -> bool:
        """Add one to the day's counter unless it has reached the limit."""
        key = f"{_COUNTER}{rule}#{day.isoformat()}"
        expires_at = datetime(day.year, day.month, day.day, tzinfo=UTC) + _COUNTER_LIFETIME
        what, damaged = f"the demand counter of the rule {rule}", self._newer.note_damaged
        return self._table.add(key, "count", what, expires_at, limit, damaged=damaged) is not None

    def _known(self, items: Iterable[Item]) -> Iterator[Demand]:
        """Decode items, but those that only a newer version knows, and damaged ones."""
        for item in items:
            if unknown := item.keys() - _ATTRIBUTES:
                self._newer.note(item["pk"], f"it has the attributes {', '.join(sorted(unknown))}")
            elif (demand := self._read(item)) is not None:
                yield demand

    def _read(self, item: Item) -> Demand | None:
        try:
            return _decode(item)
        except DamagedItemError as error:
            self._newer.note_damaged(item["pk"], error)
            return None


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
    """Decode an item. Raises DamagedItemError."""
    kept = item.get("kept")
    try:
        key, tries = MirrorKey.parse(item["pk"].removeprefix(_DEMAND)), int(item["tries"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedItemError(f"{type(error).__name__}: {error}") from error
    if not isinstance(kept, bool) or tries < 0:
        raise DamagedItemError("its kept or its tries are of another kind")
    rule = text_of(item, "line").removeprefix(_LINE)
    return Demand(key, rule, moment_of(item, "since"), moment_of(item, "asked_at"), tries, kept)
