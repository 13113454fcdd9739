"""Records of mirrors in DynamoDB: one item a mirror, written only if its version is the one that was read.

An item holds the whole record as JSON and, for people who read the table, its main fields as attributes.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from pullahead.aws.dynamodb import Item, Table, decode_attribute, epoch
from pullahead.aws.newer_items import NewerItems
from pullahead.errors import ConflictError, NewerRecordError
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.store import Heartbeat, NewerRecord
from pullahead.mirrors.stored_form import Loaded, NewerFormError
from pullahead.mirrors.stored_record import decode_record, encode_record
from pullahead.rules.mirror_key import MirrorKey, RecordKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_MIRROR, _HEARTBEAT = "mirror#", "service#heartbeat"
_HEARTBEAT_IS_OURS = "attribute_not_exists(#at) OR attribute_type(#at, :text)"
_R = TypeVar("_R", bound=Record)


class DynamoRecords:
    """Implements `pullahead.mirrors.store.RecordStore`."""

    def __init__(self, client: "DynamoDBClient", table: str, newer: NewerItems | None = None) -> None:
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
        return self._decode(item) if item is not None else None

    def scan(self) -> Iterator[Record | NewerRecord]:
        """Read every record, page by page as they are asked for; eventually consistent."""
        return map(self._decoded, self._table.scan(_MIRROR, "record", "all records"))

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
            self._decode(stored)  # nothing that is asked again could be written over what a newer version wrote
        raise ConflictError(f"the record of {record.key} was changed since version {expected_version}")

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat."""
        item = self._table.get(_HEARTBEAT, "the heartbeat")
        if item is None:
            return None
        try:
            return Heartbeat(datetime.fromisoformat(item["at"]), item["rules_digest"], item.get("scheme", ""))
        except (KeyError, TypeError, ValueError) as error:
            self._newer.note(_HEARTBEAT, f"{type(error).__name__}: {error}")
            return None

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat, beside what a newer version may have written."""
        refused = self._table.update_if(
            _HEARTBEAT,
            "the heartbeat",
            "SET #at = :at, #rules_digest = :digest, #scheme = :scheme",
            _HEARTBEAT_IS_OURS,
            at=heartbeat.at.isoformat(),
            digest=heartbeat.rules_digest,
            scheme=heartbeat.scheme,
            text="S",
        )
        if refused is not None:
            self._newer.note(_HEARTBEAT, "its time is no text")

    def _decoded(self, item: Item) -> Record | NewerRecord:
        try:
            return self._decode(item)
        except NewerRecordError:
            return NewerRecord(item["pk"].removeprefix(_MIRROR))

    def _decode(self, item: Item) -> Record:
        """Decode an item. Raises NewerRecordError, and StorageError for a damaged one."""
        try:
            return decode_attribute(item, "record", decode_record)
        except NewerFormError as error:
            raise self._newer.refuse(item["pk"], error) from error


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
    }
    return {name: value for name, value in item.items() if value is not None}
