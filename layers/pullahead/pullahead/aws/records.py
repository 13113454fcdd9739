"""Records of mirrors in DynamoDB: one item a mirror, written only if its version is the one that was read.

An item holds the whole record as JSON and, for people who read the table, its main fields as attributes.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from pullahead.aws.dynamodb import Item, Table, decode_attribute, epoch
from pullahead.errors import ConflictError
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.store import Heartbeat
from pullahead.mirrors.stored_record import decode_record, encode_record
from pullahead.rules.mirror_key import MirrorKey, RecordKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_MIRROR, _HEARTBEAT = "mirror#", "service#heartbeat"
_R = TypeVar("_R", bound=Record)


class DynamoRecords:
    """Implements `pullahead.mirrors.store.RecordStore`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def load(self, keys: Collection[MirrorKey]) -> Mapping[MirrorKey, MirrorRecord]:
        """Read the records of mirrors, strongly consistent."""
        items = self._table.get_many((f"{_MIRROR}{key}" for key in keys), f"{len(keys)} records")
        return {record.key: record for record in map(_decode, items) if isinstance(record, MirrorRecord)}

    def load_one(self, key: RecordKey) -> Record | None:
        """Read a record, strongly consistent."""
        item = self._table.get(f"{_MIRROR}{key}", f"the record of {key}")
        return _decode(item) if item is not None else None

    def scan(self) -> Iterator[Record]:
        """Read every record, page by page as they are asked for; eventually consistent."""
        return map(_decode, self._table.scan(_MIRROR, "record", "all records"))

    def save(self, record: _R, expected_version: int) -> _R:
        """Write a record if nobody has written it since that version."""
        saved = record.with_changes(version=expected_version + 1)
        item, what = _encode(saved), f"the record of {record.key}"
        if expected_version == 0:
            is_saved = self._table.put_if(item, what, "attribute_not_exists(pk)")
        else:
            is_saved = self._table.put_if(item, what, "#version = :expected", expected=expected_version)
        if not is_saved:
            raise ConflictError(f"the record of {record.key} was changed since version {expected_version}")
        return saved

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat."""
        item = self._table.get(_HEARTBEAT, "the heartbeat")
        return None if item is None else Heartbeat(datetime.fromisoformat(item["at"]), item["rules_digest"])

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat."""
        item = {"pk": _HEARTBEAT, "at": heartbeat.at.isoformat(), "rules_digest": heartbeat.rules_digest}
        self._table.put(item, "the heartbeat")


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


def _decode(item: Item) -> Record:
    return decode_attribute(item, "record", decode_record)
