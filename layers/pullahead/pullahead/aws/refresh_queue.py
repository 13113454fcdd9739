"""The refresh queue in DynamoDB: which refreshes hold a slot, and which wait for one.

The slots are one item with a map of execution names, so that taking one is one conditional write and no more than the
limit are ever taken. With 500 slots of 120 bytes it stays below 64 KB; an item may have 400 KB (DynamoDB Developer
Guide, quotas). Waiting refreshes are one item a mirror, in the order of the index `Lines`.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from pullahead.aws.dynamodb import Item, Table, iso_text
from pullahead.errors import InvalidEventError, StorageError
from pullahead.messages import RefreshRequest
from pullahead.refresh.ports import SlotResult, WaitingRefresh
from pullahead.rules.mirror_key import MirrorKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_SLOTS, _SLOTS_TEXT = "service#slots", "the refresh slots"
_FREE = "size(#held) < :most AND attribute_not_exists(#held.#name)"
_EXPIRED = "#held.#name <= :now"


class DynamoRefreshSlots:
    """Implements `pullahead.refresh.ports.RefreshSlots`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def holders(self) -> Mapping[str, datetime]:
        """Read the names and until when each holds its slot."""
        item = self._table.get(_SLOTS, _SLOTS_TEXT) or {}
        return {name: datetime.fromisoformat(until) for name, until in item.get("held", {}).items()}

    def take(self, name: str, now: datetime, until: datetime, at_most: int) -> SlotResult:
        """Take a slot by one conditional write; the first one ever creates the item."""
        condition = f"attribute_exists(#held) AND (({_FREE}) OR {_EXPIRED})"
        for _ in range(2):
            refused = self._table.update_if(
                _SLOTS,
                _SLOTS_TEXT,
                "SET #held.#name = :until",
                condition,
                names={"name": name},
                until=iso_text(until),
                now=iso_text(now),
                most=at_most,
            )
            if refused is None:
                return SlotResult.TAKEN
            if "held" in refused:
                return SlotResult.ALREADY_TAKEN if name in refused["held"] else SlotResult.FULL
            self._table.put_if({"pk": _SLOTS, "held": {}}, _SLOTS_TEXT, "attribute_not_exists(pk)")
        raise StorageError(f"write of {_SLOTS_TEXT} failed: their item was deleted while a slot was taken")

    def renew(self, name: str, before: datetime, until: datetime) -> None:
        """Extend a slot that still ends when it did."""
        expression, condition = "SET #held.#name = :until", "#held.#name = :before"
        values = {"before": iso_text(before), "until": iso_text(until)}
        self._table.update_if(_SLOTS, _SLOTS_TEXT, expression, condition, {"name": name}, **values)

    def release(self, name: str, before: datetime | None = None) -> None:
        """Remove a name; that it is gone already is no failure."""
        expression, names = "REMOVE #held.#name", {"name": name}
        if before is None:
            self._table.update_if(_SLOTS, _SLOTS_TEXT, expression, "attribute_exists(#held.#name)", names)
        else:
            condition = "#held.#name = :before"
            self._table.update_if(_SLOTS, _SLOTS_TEXT, expression, condition, names, before=iso_text(before))


_WAITING, _LINE, _LINE_TEXT = "waiting#", "refreshes", "the waiting refreshes"


class DynamoWaitingRefreshes:
    """Implements `pullahead.refresh.ports.WaitingRefreshes`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def add(self, request: RefreshRequest) -> None:
        """Write the mirror's item unless it names the same refresh."""
        item = {
            "pk": f"{_WAITING}{MirrorKey(request.repository, request.tag)}",
            "line": _LINE,
            "since": iso_text(request.stale_since),
            "name": request.name,
            "request": request.to_json(),
        }
        self._table.put_if(item, _LINE_TEXT, "attribute_not_exists(pk) OR #name <> :name", name=request.name)

    def oldest_first(self, page: int) -> Iterator[WaitingRefresh]:
        """Read the waiting refreshes, page by page as they are asked for."""
        return map(_decode, self._table.query(_LINE, _LINE_TEXT, page))

    def remove(self, refresh: WaitingRefresh) -> None:
        """Delete the mirror's item if it still names this refresh."""
        self._table.delete_if(f"{_WAITING}{refresh.mirror}", _LINE_TEXT, "#name = :name", name=refresh.name)

    def count(self) -> int:
        """Let DynamoDB count."""
        return self._table.count(_LINE, _LINE_TEXT)


def _decode(item: Item) -> WaitingRefresh:
    try:
        request = RefreshRequest.from_json(item["request"])
    except (KeyError, InvalidEventError):
        request = None  # written by another version; whoever reads the queue logs and deletes it
    return WaitingRefresh(MirrorKey.parse(item["pk"].removeprefix(_WAITING)), item.get("name", ""), request)
