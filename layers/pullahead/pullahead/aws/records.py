"""Records of mirrors in DynamoDB: one item a mirror, written under a condition on its version.

An item holds what a reader of the table wants to see as attributes of their own, and the whole record as JSON.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pullahead.aws.dynamodb import get_items, refused_item, storage_errors
from pullahead.errors import ConflictError, StorageError
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.store import Heartbeat
from pullahead.mirrors.stored_record import decode_record, encode_record
from pullahead.rules.mirror_key import MirrorKey, RecordKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_MAX_PAGES = 2000  # of 1 MB each at the most: DynamoDB API reference, Scan
_MIRROR, _HEARTBEAT = "mirror#", "service#heartbeat"

_R = TypeVar("_R", bound=Record)


class DynamoRecords:
    """Satisfies `pullahead.ports.Records` and `ScansRecords`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def load(self, keys: Collection[MirrorKey]) -> Mapping[MirrorKey, MirrorRecord]:
        """Read the records of mirrors, strongly consistent."""
        items = get_items(self._client, self._table, (f"{_MIRROR}{key}" for key in keys), "records")
        return {record.key: record for record in map(_decode, items) if isinstance(record, MirrorRecord)}

    def load_one(self, key: RecordKey) -> Record | None:
        """Read a record, strongly consistent."""
        items = get_items(self._client, self._table, [f"{_MIRROR}{key}"], "records")
        return next(map(_decode, items), None)

    def scan(self) -> Iterator[Record]:
        """Read every record, page by page as they are asked for; eventually consistent, at half the price."""
        position: dict[str, Any] = {}
        for _ in range(_MAX_PAGES):
            with storage_errors("read", "all records"):
                answer = self._client.scan(
                    TableName=self._table,
                    FilterExpression="begins_with(pk, :mirror)",
                    ExpressionAttributeValues={":mirror": {"S": _MIRROR}},
                    ProjectionExpression="pk, #record",
                    ExpressionAttributeNames={"#record": "record"},
                    **position,
                )
            yield from map(_decode, answer["Items"])
            if not answer.get("LastEvaluatedKey"):
                return
            position = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        raise StorageError(f"read of all records failed: the table goes on after {_MAX_PAGES} pages")

    def save(self, record: _R, expected_version: int) -> _R:
        """Write a record unless somebody else wrote it since."""
        saved = record.with_changes(version=expected_version + 1)
        try:
            with storage_errors("write", f"the record of {record.key}"):
                self._put(_encode(saved), expected_version)
        except StorageError as error:
            if refused_item(error) is None:
                raise
            raise ConflictError(f"the record of {record.key} was changed since version {expected_version}") from error
        return saved

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat."""
        for item in get_items(self._client, self._table, [_HEARTBEAT], "records"):
            return Heartbeat(datetime.fromisoformat(item["at"]["S"]), item["rules_digest"]["S"])
        return None

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat."""
        with storage_errors("write", "the heartbeat"):
            self._client.put_item(
                TableName=self._table,
                Item={
                    "pk": {"S": _HEARTBEAT},
                    "at": {"S": heartbeat.at.isoformat()},
                    "rules_digest": {"S": heartbeat.rules_digest},
                },
            )

    def _put(self, item: dict[str, Any], expected_version: int) -> None:
        if expected_version == 0:
            self._client.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)")
            return
        self._client.put_item(
            TableName=self._table,
            Item=item,
            ConditionExpression="#version = :expected",
            ExpressionAttributeNames={"#version": "version"},
            ExpressionAttributeValues={":expected": {"N": str(expected_version)}},
        )


def _encode(record: Record) -> dict[str, Any]:
    item = {
        "pk": {"S": f"{_MIRROR}{record.key}"},
        "state": {"S": record.state.value},
        "since": {"S": record.since.isoformat()},
        "upstream": {"S": record.upstream},
        "version": {"N": str(record.version)},
        "record": {"S": encode_record(record)},
    }
    if record.expires_at is not None:  # the table's attribute for time to live
        item["expires_at"] = {"N": str(int(record.expires_at.timestamp()))}
    if not isinstance(record, MirrorRecord):
        return item
    digests = {"upstream_digest": record.upstream_digest, "published_digest": record.published_digest}
    return item | {name: {"S": digest} for name, digest in digests.items() if digest is not None}


def _decode(item: dict[str, Any]) -> Record:
    try:
        return decode_record(item["record"]["S"])
    except (KeyError, msgspec.DecodeError) as error:
        raise StorageError(f"the record {item.get('pk')} cannot be read: {error}") from error
