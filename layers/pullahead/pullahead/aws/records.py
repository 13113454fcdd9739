"""Records of mirrors in DynamoDB: one item a mirror, written only if its version is the one that was read.

An item holds the whole record as JSON and, for people who read the table, its main fields as attributes. Two more
attributes put it into the index `Reviews`, if a review needs it.
"""

import heapq
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from pullahead.aws.dynamodb import (
    REVIEWS,
    DamagedItemError,
    Item,
    Table,
    decode_attribute,
    epoch,
    iso_text,
    moment_of,
    text_of,
)
from pullahead.aws.newer_items import NewerItems
from pullahead.errors import ConflictError, NewerRecordError
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.record_scan import ScanState
from pullahead.mirrors.review_index import SHARDS, index_entry
from pullahead.mirrors.store import DamagedRecord, Heartbeat, NewerRecord, ScannedRecord, after_damage
from pullahead.mirrors.stored_form import Loaded, NewerFormError
from pullahead.mirrors.stored_record import decode_record, encode_record
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_MIRROR, _HEARTBEAT, _SCAN = "mirror#", "service#heartbeat", "service#scan"
_SHARD, _SINCE = REVIEWS.key, "review_since"
_INDEXED: Final = (_SHARD, _SINCE)
_OF_PEOPLE: Final = ("state", "since", "upstream", "upstream_digest", "published_digest")
_ATTRIBUTES: Final = frozenset({"pk", *_OF_PEOPLE, "version", "record", "expires_at", *_INDEXED})
_HEARTBEAT_ATTRIBUTES: Final = frozenset({"pk", "at", "rules_digest", "scheme"})
_MAX_VERSION: Final = 2**53
_HEARTBEAT_IS_OURS = "attribute_not_exists(#at) OR attribute_type(#at, :text)"
_R = TypeVar("_R", bound=Record)


class DynamoRecords:
    """Implements `pullahead.mirrors.store.RecordStore`. `scan` reads so many segments of the table at once."""

    def __init__(
        self, client: "DynamoDBClient", table: str, newer: NewerItems | None = None, segments: int = 1
    ) -> None:
        self._segments = segments
        self._table, self._newer = Table(client, table), newer or NewerItems()

    def load(self, keys: Collection[MirrorKey], *, consistent: bool = True) -> Loaded[MirrorKey, MirrorRecord]:
        """Read the records of mirrors, a hundred in a request."""
        names = (f"{_MIRROR}{key}" for key in keys)
        items = self._table.get_many(names, f"{len(keys)} records", consistent=consistent)
        found = [(item["pk"], self._decoded(item)) for item in items]
        return Loaded(
            ((record.key, record) for _, record in found if isinstance(record, MirrorRecord)),
            (MirrorKey.parse(pk.removeprefix(_MIRROR)) for pk, record in found if isinstance(record, NewerRecord)),
        )

    def load_one(self, key: RecordKey) -> Record | None:
        """Read a record, strongly consistent. Raises NewerRecordError."""
        item = self._table.get(f"{_MIRROR}{key}", f"the record of {key}")
        try:
            return self._decode(item) if item is not None else None
        except DamagedItemError:
            return None

    def scan(self) -> Iterator[Record | NewerRecord | DamagedRecord]:
        """Read every record, page by page as they are asked for; eventually consistent."""
        if self._segments == 1:
            return map(self._decoded, self._table.scan(_MIRROR, ("record",), "all records"))
        items = self._table.scan_in_parallel(_MIRROR, ("record",), "all records", self._segments)
        return map(self._decoded, items)

    def scan_after(self, position: str) -> Iterator[ScannedRecord]:
        """Read every record, and whether it is in the index as it should be; eventually consistent."""
        for item in self._table.scan(_MIRROR, ("record", *_INDEXED), "all records", after=position):
            record = self._decoded(item)
            stored = {name: item[name] for name in _INDEXED if name in item}
            is_right = not isinstance(record, Record) or stored == _index_attributes(record)
            yield ScannedRecord(item["pk"], record, is_right)

    def to_review(self, until: datetime | None = None) -> Iterator[Record | NewerRecord | DamagedRecord]:
        """Read the index of reviews, all shards together."""
        last = iso_text(until) if until is not None else None
        shards = (self._table.query(shard, "records to review", index=REVIEWS, until=last) for shard in SHARDS)
        return map(self._decoded, heapq.merge(*shards, key=lambda item: (item[_SINCE], item["pk"])))

    def count_to_review(self) -> int:
        """Count the records in the index of reviews, all shards at once: of very many, DynamoDB reads hundreds of pages
        for that, and the page of mirrors has seconds."""

        def count(shard: str) -> int:
            return self._table.count(shard, "records to review", index=REVIEWS)

        with ThreadPoolExecutor(len(SHARDS)) as pool:
            return sum(pool.map(count, SHARDS))

    def load_listings(self, keys: Collection[RuleKey]) -> Mapping[RuleKey, Record]:
        """Read records of rules, a hundred in a request; eventually consistent."""
        names = {f"{_MIRROR}{key}": key for key in keys}
        items = self._table.get_many(names, f"{len(keys)} records of rules", consistent=False)
        found = ((names[item["pk"]], self._decoded(item)) for item in items)
        return {key: record for key, record in found if isinstance(record, Record)}

    def load_scan_state(self) -> ScanState:
        """Read how far the full scan is."""
        item = self._table.get(_SCAN, "the state of the scan")
        try:
            return ScanState() if item is None else msgspec.json.decode(item["scan"], type=ScanState)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the scan begins again
            self._newer.note_damaged(_SCAN, f"{type(error).__name__}: {error}")
            return ScanState()

    def save_scan_state(self, state: ScanState) -> None:
        """Write how far the full scan is."""
        self._table.put({"pk": _SCAN, "scan": msgspec.json.encode(state).decode()}, "the state of the scan")

    def save(self, record: _R, expected_version: int) -> _R:
        """Write a record if nobody has written it since that version."""
        saved = record.with_changes(version=expected_version + 1)
        item, what = _encode(saved), f"the record of {record.key}"
        condition = "attribute_not_exists(pk)" if expected_version == 0 else "#version = :expected"
        values = {} if expected_version == 0 else {"expected": expected_version}
        stored = self._table.put_or_return(item, what, condition, **values)
        if stored is None:
            return saved
        if stored:
            repaired = self._repaired(saved, expected_version, stored)
            if repaired is not None and self._table.replace(_encode(repaired), what, stored):
                return repaired
        raise ConflictError(f"the record of {record.key} was changed since version {expected_version}")

    def _repaired(self, record: _R, expected_version: int, stored: Item) -> _R | None:
        """Make what replaces a damaged item; None where it is not damaged. Raises NewerRecordError."""
        try:
            found = self._decode(stored)  # nothing that is asked again could be written over what a newer one wrote
        except DamagedItemError as error:
            return after_damage(record, str(error)) if expected_version == 0 else None
        if found.version == expected_version and stored.get("version") != found.version:
            self._newer.note_damaged(stored["pk"], "its version is not that of its record")
            return record  # it goes on from what could be read
        return None

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat."""
        item = self._table.get(_HEARTBEAT, "the heartbeat")
        if item is None:
            return None
        try:
            return Heartbeat(moment_of(item, "at"), text_of(item, "rules_digest"), text_of(item, "scheme", ""))
        except DamagedItemError as error:
            note = self._newer.note if item.keys() - _HEARTBEAT_ATTRIBUTES else self._newer.note_damaged
            note(_HEARTBEAT, error)
            return None

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat, beside what a newer version may have written, or in place of a damaged one."""
        what = "the heartbeat"
        written = {"at": heartbeat.at.isoformat(), "rules_digest": heartbeat.rules_digest, "scheme": heartbeat.scheme}
        expression = f"SET {', '.join(f'#{name} = :{name}' for name in written)}"
        refused = self._table.update_if(_HEARTBEAT, what, expression, _HEARTBEAT_IS_OURS, {}, **written, text="S")
        if refused is None:
            return
        if refused.keys() - _HEARTBEAT_ATTRIBUTES:
            self._newer.note(_HEARTBEAT, "its time is no text")
        else:
            self._table.replace({"pk": _HEARTBEAT, **written}, what, refused)

    def _decoded(self, item: Item) -> Record | NewerRecord | DamagedRecord:
        key = item["pk"].removeprefix(_MIRROR)
        try:
            return self._decode(item)
        except NewerRecordError:
            return NewerRecord(key)
        except DamagedItemError as error:
            return DamagedRecord(key, str(error))

    def _decode(self, item: Item) -> Record:
        """Decode an item. Raises NewerRecordError, and DamagedItemError."""
        try:
            return _record_of(item)
        except NewerFormError as error:
            raise self._newer.refuse(item["pk"], error) from error
        except DamagedItemError as error:
            self._newer.note_damaged(item["pk"], error)
            raise


def _record_of(item: Item) -> Record:
    """Decode an item. Raises NewerFormError and DamagedItemError."""
    record = decode_attribute(item, "record", _ATTRIBUTES, decode_record)
    if item["pk"] != f"{_MIRROR}{record.key}":
        raise DamagedItemError(f"it is the record of {record.key}")
    if not 0 <= record.version < _MAX_VERSION:
        raise DamagedItemError("its version is no count of writes")
    return record


def _encode(record: Record) -> Item:
    item = {
        "pk": f"{_MIRROR}{record.key}",
        "state": record.state.value,
        "since": record.since.isoformat(),
        "upstream": record.upstream,
        "upstream_digest": record.upstream_digest if isinstance(record, MirrorRecord) else None,
        "published_digest": record.published_digest if isinstance(record, MirrorRecord) else None,
        "version": record.version,
        "record": encode_record(record),
        "expires_at": epoch(record.expires_at) if record.expires_at is not None else None,
        **_index_attributes(record),
    }
    return {name: value for name, value in item.items() if value is not None}


def _index_attributes(record: Record) -> dict[str, str]:
    entry = index_entry(record)
    return {} if entry is None else {_SHARD: entry.shard, _SINCE: iso_text(entry.since)}
