"""The refresh queue in DynamoDB: which refreshes hold a slot, and which wait for one.

A slot is an item of its own, in the index `Lines` by the time at which it expires, and is counted in one other item:
in all, and by upstream registry. Both are written by one transaction, which costs the same whatever the number of
slots, and lets neither limit be passed (DynamoDB Developer Guide, "Amazon DynamoDB Transactions": each item is billed
twice). The counts hold every registry from which a refresh ever copied: some 30 bytes each.

Waiting refreshes are one item a mirror, in the line of their upstream registry, by age. Version 0.1 had one line for
all; whatever it left there is read as the line of the host `LINE_OF_0_1`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from pullahead.aws.back_off import wait_between_tries, wait_for_indexes
from pullahead.aws.dynamodb import (
    DamagedItemError,
    Item,
    Table,
    Write,
    delete_write,
    iso_text,
    moment_of,
    put_write,
    text_of,
    unchanged,
    update_write,
)
from pullahead.aws.newer_items import NewerItems
from pullahead.clock import Wait
from pullahead.errors import InvalidEventError, StorageError
from pullahead.messages import RefreshRequest
from pullahead.mirrors.stored_form import names_subject
from pullahead.refresh.ports import Slot, SlotLimits, SlotResult, WaitingRefresh
from pullahead.rules.mirror_key import MirrorKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_COUNTS, _SLOT, _SLOTS_LINE, _SLOTS_TEXT = "service#slot-counts", "slot#", "slots", "the refresh slots"
_COUNTS_ATTRIBUTES: Final = frozenset({"pk", "held", "hosts"})
_SLOT_ATTRIBUTES: Final = frozenset({"pk", "line", "since", "host"})
_MAX_TRIES: Final = 6
_FREE: Final = (
    "attribute_exists(pk) AND #held < :slots AND (attribute_not_exists(#hosts.#host) OR #hosts.#host < :most)"
)
_COUNT_ON: Final = "SET #held = #held + :one, #hosts.#host = if_not_exists(#hosts.#host, :zero) + :one"
_COUNTED: Final = "#held > :zero AND #hosts.#host > :zero"
_COUNT_OFF: Final = "SET #held = #held - :one, #hosts.#host = #hosts.#host - :one"


class DynamoRefreshSlots:
    """Implements `pullahead.refresh.ports.RefreshSlots`. `wait` is given the number of tries that met another write:
    transactions on one item refuse each other. `settle` waits until an index has what was written before.

    Counts that only a newer version can read count as full; damaged ones, and those that somebody has deleted, are
    counted anew. A slot that only a newer version can read is its own to free; a damaged one is freed.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        wait: Wait = wait_between_tries,
        newer: NewerItems | None = None,
        settle: Callable[[], object] = wait_for_indexes,
    ) -> None:
        self._table, self._wait, self._newer = Table(client, table), wait, newer or NewerItems()
        self._settle = settle

    def taken(self) -> Mapping[str, int]:
        """Read the counts."""
        item = self._table.get(_COUNTS, _SLOTS_TEXT) or {"pk": _COUNTS, "hosts": {}, "held": 0}
        counts = self._counts(item)
        if counts is None:
            counts = self._count_anew(item)
        return {} if counts is None else {host: count for host, count in counts.hosts.items() if count}

    def recount(self) -> None:
        """Compare the counts with the index. Where they differ, the index may be a moment old: they are wrong if they
        still do after a while in which nothing was counted."""
        wrong = self._wrong_counts()
        if wrong is None:
            return
        self._settle()
        if self._wrong_counts() == wrong:
            self._newer.note_damaged(_COUNTS, "the counts are not those of the slots that there are")
            self._count_anew(wrong)

    def _wrong_counts(self) -> Item | None:
        """Read the counts, and return them if they are not those of the slots in the index."""
        item = self._table.get(_COUNTS, _SLOTS_TEXT)
        counts = self._counts(item) if item is not None else None
        if counts is None or +Counter(counts.hosts) == self._count_slots():
            return None
        return item

    def oldest(self, most: int) -> Sequence[Slot]:
        """Query the index."""
        items = islice(self._table.query(_SLOTS_LINE, _SLOTS_TEXT, most), most)
        return [slot for item in items if (slot := self._slot(item)) is not None]

    def take(self, slot: Slot, now: datetime, limits: SlotLimits) -> SlotResult:
        """Write the slot and count it; where there are no counts yet, they are created."""
        writes = (
            put_write(_item(slot), "attribute_not_exists(pk)"),
            _count(_COUNT_ON, _FREE, slot.host, zero=0, slots=limits.slots, most=limits.of_one_host),
        )
        for tried in range(_MAX_TRIES):
            refused = self._write_all(writes)
            if refused is None:
                return SlotResult.TAKEN
            taken, counts = refused
            if taken is not None:
                return self._take_again(slot, now)
            if counts:
                found = self._counts(counts)
                if found is None and self._count_anew(counts) is not None:
                    continue
                is_full = found is None or found.held >= limits.slots
                return SlotResult.FULL if is_full else SlotResult.HOST_FULL
            if counts is not None:
                self._count_anew(counts)
            else:
                self._wait(tried)
        raise _disturbed()

    def _take_again(self, slot: Slot, now: datetime) -> SlotResult:
        """Take a slot of the same name, if it has expired."""
        key, until = f"{_SLOT}{slot.name}", iso_text(slot.until)
        expression, condition = "SET #since = :until", "#since <= :now"
        refused = self._table.update_if(key, _SLOTS_TEXT, expression, condition, until=until, now=iso_text(now))
        return SlotResult.TAKEN if refused is None else SlotResult.ALREADY_TAKEN

    def renew(self, slot: Slot, until: datetime) -> None:
        """Extend a slot that still ends when it did."""
        key, before = f"{_SLOT}{slot.name}", iso_text(slot.until)
        expression, condition = "SET #since = :until", "#since = :before"
        self._table.update_if(key, _SLOTS_TEXT, expression, condition, until=iso_text(until), before=before)

    def release(self, name: str, before: datetime | None = None) -> None:
        """Delete the slot and count it off; that it is gone already is no failure."""
        for tried in range(_MAX_TRIES):
            item = self._table.get(f"{_SLOT}{name}", _SLOTS_TEXT)
            slot = self._slot(item) if item is not None else None
            if item is None or slot is None or (before is not None and item["since"] != iso_text(before)):
                return
            writes = (
                delete_write(item["pk"], "#since = :since", since=item["since"]),
                _count(_COUNT_OFF, _COUNTED, slot.host, zero=0),
            )
            refused = self._write_all(writes)
            if refused is None:
                return
            if refused[1] is not None:  # it is not counted: that must not keep it
                self._count_anew(refused[1])
            self._wait(tried)
        raise _disturbed()

    def _write_all(self, writes: Sequence[Write]) -> tuple[Item | None, ...] | None:
        """Make the writes of a slot and of its count; where the counts are damaged, count anew and make them then."""
        try:
            return self._table.write_all(writes, _SLOTS_TEXT)
        except StorageError:
            counts = self._table.get(_COUNTS, _SLOTS_TEXT)
            if counts is None or self._counts(counts) is not None or self._count_anew(counts) is None:
                raise
            return self._table.write_all(writes, _SLOTS_TEXT)

    def _counts(self, item: Item) -> "_Counts | None":
        try:
            counts = _Counts(int(item["held"]), {host: int(count) for host, count in item["hosts"].items()})
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            note = self._newer.note if item.keys() - _COUNTS_ATTRIBUTES else self._newer.note_damaged
            note(_COUNTS, f"{type(error).__name__}: {error}")
            return None
        if counts.held != sum(counts.hosts.values()) or min((0, *counts.hosts.values())) < 0:
            self._newer.note_damaged(_COUNTS, "the counts by registry do not add up")
            return None
        return counts

    def _count_anew(self, item: Item) -> "_Counts | None":
        """Count the slots, and write the counts in place of wrong ones, or where there are none (an empty item); None
        where a newer version wrote them.

        The index may be a second old: a slot that is taken or freed just now makes the counts wrong by one, until
        `recount` finds that out.
        """
        if item.keys() - _COUNTS_ATTRIBUTES:
            return None
        hosts = self._count_slots()
        new = {"pk": _COUNTS, "held": hosts.total(), "hosts": dict(hosts)}
        if item:
            is_written = self._table.replace(new, _SLOTS_TEXT, item)
        else:
            is_written = self._table.put_if(new, _SLOTS_TEXT, "attribute_not_exists(pk)")
        return _Counts(hosts.total(), hosts) if is_written else None

    def _count_slots(self) -> Counter[str]:
        slots = self._table.query(_SLOTS_LINE, _SLOTS_TEXT)
        return Counter(host for slot in slots if isinstance(host := slot.get("host"), str))

    def _slot(self, item: Item) -> Slot | None:
        try:
            return Slot(item["pk"].removeprefix(_SLOT), text_of(item, "host"), moment_of(item, "since"))
        except DamagedItemError as error:
            if item.keys() - _SLOT_ATTRIBUTES:
                self._newer.note(item["pk"], error)
            else:
                self._drop_damaged(item, error)
            return None

    def _drop_damaged(self, item: Item, error: DamagedItemError) -> None:
        """Free a damaged slot, since nobody else could, and count the others."""
        self._newer.note_damaged(item["pk"], error)
        condition, values = unchanged(item)
        counts = self._table.get(_COUNTS, _SLOTS_TEXT)
        if self._table.delete_if(item["pk"], _SLOTS_TEXT, condition, **values) and counts is not None:
            self._count_anew(counts)


class _Counts(NamedTuple):
    held: int
    hosts: Mapping[str, int]


def _count(expression: str, condition: str, host: str, **values: object) -> Write:
    return update_write(_COUNTS, expression, condition, {"host": host}, one=1, **values)


def _disturbed() -> StorageError:
    return StorageError(f"write of {_SLOTS_TEXT} failed: another write was under way {_MAX_TRIES} times")


def _item(slot: Slot) -> Item:
    return {
        "pk": f"{_SLOT}{slot.name}",
        "line": _SLOTS_LINE,
        "since": iso_text(slot.until),
        "host": slot.host,
    }


_WAITING, _HOSTS, _LINE_TEXT = "waiting#", "service#waiting-hosts", "the waiting refreshes"
LINE_OF_0_1: Final = ""
"""The host that the line of version 0.1 is read by, in which the refreshes of all registries wait."""


class DynamoWaitingRefreshes:
    """Implements `pullahead.refresh.ports.WaitingRefreshes`."""

    def __init__(self, client: "DynamoDBClient", table: str, newer: NewerItems | None = None) -> None:
        self._table, self._newer = Table(client, table), newer or NewerItems()

    def add(self, request: RefreshRequest) -> None:
        """Write the mirror's item unless it names the same refresh."""
        item = {
            "pk": f"{_WAITING}{MirrorKey(request.repository, request.tag)}",
            "line": _line(request.host),
            "since": iso_text(request.stale_since),
            "name": request.name,
            "request": request.to_json(),
        }
        self._table.put_if(item, _LINE_TEXT, "attribute_not_exists(pk) OR #name <> :name", name=request.name)

    def hosts(self) -> frozenset[str]:
        """Read the set of hosts."""
        hosts = (self._table.get(_HOSTS, _LINE_TEXT) or {}).get("hosts", frozenset())
        if not isinstance(hosts, set | frozenset) or not all(isinstance(host, str) for host in hosts):
            self._newer.note_damaged(_HOSTS, "it holds no names of hosts")
            return frozenset()
        return frozenset(host.removeprefix(_MARK) for host in hosts)

    def remember(self, host: str) -> None:
        """Add to the set, or begin it anew where the item is damaged: lines that are forgotten are found again."""
        self._table.add_to_set(_HOSTS, "hosts", f"{_MARK}{host}", _LINE_TEXT)

    def forget(self, host: str) -> None:
        """Remove from the set."""
        self._table.update(_HOSTS, _LINE_TEXT, "DELETE #hosts :host", host={f"{_MARK}{host}"})

    def oldest_first(self, host: str, page: int) -> Iterator[WaitingRefresh]:
        """Read the waiting refreshes, page by page as they are asked for."""
        found = map(self._decode, self._table.query(_line(host), _LINE_TEXT, page))
        return (waiting for waiting in found if waiting is not None)

    def remove(self, refresh: WaitingRefresh) -> None:
        """Delete the mirror's item if it still names this refresh."""
        self._table.delete_if(f"{_WAITING}{refresh.mirror}", _LINE_TEXT, "#name = :name", name=refresh.name)

    def count(self, host: str) -> int:
        """Let DynamoDB count."""
        return self._table.count(_line(host), _LINE_TEXT)

    def _decode(self, item: Item) -> WaitingRefresh | None:
        """Decode an item; one that names no mirror is deleted, since it waits for nothing."""
        text, request, newer = item.get("request"), None, False
        try:
            request = RefreshRequest.from_json(text if isinstance(text, str) else "")
        except InvalidEventError as error:  # whoever reads the queue deletes what is damaged, and logs it
            newer = isinstance(text, Mapping | list) or (isinstance(text, str) and names_subject(text, _SUBJECT))
            (self._newer.note if newer else self._newer.note_damaged)(item["pk"], error)
        try:
            mirror = MirrorKey.parse(item["pk"].removeprefix(_WAITING))
        except ValueError as error:
            self._newer.note_damaged(item["pk"], error)
            self._delete(item)
            return None
        if not newer and not _is_of(request, mirror, item):
            self._newer.note_damaged(item["pk"], "it names another mirror or another refresh than its request")
            request = None
        return WaitingRefresh(mirror, item.get("name", ""), item["since"], request, newer)

    def _delete(self, item: Item) -> None:
        condition, values = unchanged(item)
        self._table.delete_if(item["pk"], _LINE_TEXT, condition, **values)


def _is_of(request: RefreshRequest | None, mirror: MirrorKey, item: Item) -> bool:
    if request is None:
        return True  # it is known already
    return MirrorKey(request.repository, request.tag) == mirror and request.name == item.get("name")


_SUBJECT: Final = ("name", "repository", "tag")
_MARK: Final = "@"  # before each host: a set holds no empty text (DynamoDB API reference, AttributeValue)


def _line(host: str) -> str:
    return f"refreshes#{host}" if host else "refreshes"
