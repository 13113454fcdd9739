"""`python -m bench.scale_aws PORT SETUP`: AWS as functions meet it in a large deployment, made up as it is asked for.

DynamoDB serves pages of 1 MB as it does and counts the units that it would bill; of the other services there is only
what the measured functions call. Nothing is remembered but counts: what is written is not read again. The server is a
process of its own, so that its work is not measured.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec
from boto3.dynamodb.types import TypeSerializer

from bench.scale_records import Deployment, this_moment
from pullahead.aws.dynamodb import iso_text
from pullahead.aws.records import DynamoRecords
from pullahead.mirrors.record import Record
from pullahead.mirrors.record_scan import RecordScan, ScanState
from pullahead.mirrors.review_index import SHARDS, index_entry
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.sources.state import RulesState, encode_rules_state

_PAGE_BYTES: Final = 1024 * 1024
_READ_UNIT_BYTES, _WRITE_UNIT_BYTES = 4096, 1024
_serialize: Final = TypeSerializer().serialize


class Setup(msgspec.Struct, frozen=True):
    """What there is: the deployment, the digest of its rules, when checks were last sent, and whether a scan is due."""

    mirrors: int
    unfresh: int
    told: bool
    history: int
    rules_digest: str
    scan_is_due: bool

    @property
    def deployment(self) -> Deployment:
        """The mirrors."""
        return Deployment(self.mirrors, self.unfresh, self.told, self.history)


class Table:
    """The table of records."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._now, self._mirrors = setup, this_moment(), setup.deployment
        self.counts: Counter[str] = Counter()

    def answer(self, operation: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a call."""
        self.counts[operation] += 1
        if operation == "Scan":
            return self._scan(asked)
        if operation == "Query":
            return self._query(asked)
        if operation == "BatchGetItem":
            return self._batch(asked)
        if operation == "PutItem":
            self.counts["write units"] += math.ceil(_bytes_of(asked["Item"]) / _WRITE_UNIT_BYTES)
        elif operation == "UpdateItem":
            self.counts["write units"] += 1
        return {}

    def _scan(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        start = asked.get("ExclusiveStartKey")
        places, segments = self._mirrors.mirrors + len(self._listings), asked.get("TotalSegments", 1)
        begin, end = (places * (asked.get("Segment", 0) + more) // segments for more in (0, 1))
        first = self._place_of(start["pk"]["S"]) + 1 if start else begin
        wanted = set(asked["ExpressionAttributeNames"].values()) | {"pk"}
        items = (self._item_at(at) for at in range(first, end))
        return self._page(items, wanted)

    def _query(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        shard = asked["ExpressionAttributeValues"][":key"]["S"]
        numbers = self._shards.get(shard, [])
        start = asked.get("ExclusiveStartKey")
        first = self._places[self._mirrors.number_of(_mirror(start["pk"]["S"]))] + 1 if start else 0
        items = (self._item_at(number) for number in numbers[first:])
        page = self._page(items, {"pk", "record", "review_shard", "review_since"})
        return {"Count": len(page["Items"]), **({} if asked.get("Select") == "COUNT" else page)} | (
            {"LastEvaluatedKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else {}
        )

    def _page(self, items: Iterator[Mapping[str, Any]], wanted: set[str]) -> dict[str, Any]:
        size, chosen, is_last = 0, [], True
        for item in items:
            if size + _bytes_of(item) > _PAGE_BYTES:
                is_last = False
                break
            size += _bytes_of(item)
            chosen.append({name: value for name, value in item.items() if name in wanted})
        self.counts["read half units"] += max(1, math.ceil(size / _READ_UNIT_BYTES))
        return {"Items": chosen} | ({} if is_last else {"LastEvaluatedKey": {"pk": chosen[-1]["pk"]}})

    def _batch(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        ((table, wanted),) = asked["RequestItems"].items()
        found = [item for key in wanted["Keys"] if (item := self._item(key["pk"]["S"])) is not None]
        consistent = 2 if wanted.get("ConsistentRead") else 1
        sizes = [_bytes_of(item) for item in found] + [0] * (len(wanted["Keys"]) - len(found))
        self.counts["read half units"] += sum(max(1, math.ceil(size / _READ_UNIT_BYTES)) for size in sizes) * consistent
        return {"Responses": {table: found}, "UnprocessedKeys": {}}

    def _item(self, pk: str) -> Mapping[str, Any] | None:
        if pk == "service#heartbeat":
            at = (self._now - timedelta(minutes=5)).isoformat()
            return _typed({"pk": pk, "at": at, "rules_digest": self._setup.rules_digest, "scheme": "repository"})
        if pk == "service#scan":
            last = RecordScan(
                self._now - timedelta(days=2 if self._setup.scan_is_due else 0),
                self._setup.rules_digest,
                ended_at=self._now,
                records=self._setup.mirrors,
                fresh=self._setup.mirrors - self._setup.unfresh,
                followed=self._setup.mirrors,
            )
            return _typed({"pk": pk, "scan": msgspec.json.encode(ScanState(last=last)).decode()})
        if pk.startswith("mirror#"):
            return self._item_at(self._place_of(pk))
        return None

    def _place_of(self, pk: str) -> int:
        if pk.endswith("):*"):
            return self._mirrors.mirrors + self._listing_places[pk]
        return self._mirrors.number_of(_mirror(pk))

    def _item_at(self, place: int) -> Mapping[str, Any]:
        if place >= self._mirrors.mirrors:
            return _stored(self._mirrors.listing(self._listings[place - self._mirrors.mirrors], self._now))
        return _stored(self._mirrors.record(place, self._now))

    @cached_property
    def _listings(self) -> list[RuleKey]:
        return self._mirrors.listing_keys()

    @cached_property
    def _listing_places(self) -> dict[str, int]:
        return {f"mirror#{key}": at for at, key in enumerate(self._listings)}

    @cached_property
    def _shards(self) -> dict[str, list[int]]:
        """The index: the mirrors that are not fresh, by shard and age."""
        shards: dict[str, list[tuple[str, int]]] = {shard: [] for shard in SHARDS}
        for number in filter(self._mirrors.is_unfresh, range(self._mirrors.mirrors)):
            entry = index_entry(self._mirrors.record(number, self._now))
            if entry is not None:
                shards[entry.shard].append((iso_text(entry.since), number))
        return {shard: [number for _, number in sorted(entries)] for shard, entries in shards.items()}

    @cached_property
    def _places(self) -> dict[int, int]:
        return {number: at for numbers in self._shards.values() for at, number in enumerate(numbers)}


def _bytes_of(item: Mapping[str, Any]) -> int:
    """Return the size by which DynamoDB bills an item: of its names and values."""
    return sum(len(name) + len(next(iter(value.values()))) for name, value in item.items())


def _mirror(pk: str) -> MirrorKey:
    return MirrorKey.parse(pk.removeprefix("mirror#"))


def _typed(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: _serialize(value) for name, value in item.items()}


class _Writes:
    """A client that keeps what is written last."""

    item: Mapping[str, Any]

    def put_item(self, **asked: Any) -> Mapping[str, Any]:
        self.item = asked["Item"]
        return {}


def _stored(record: Record) -> Mapping[str, Any]:
    """Encode a record as it is stored."""
    client: Any = _Writes()
    DynamoRecords(client, "records").save(record, record.version)
    stored: Mapping[str, Any] = client.item
    return stored


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    table: Table
    rules_state: bytes

    def do_GET(self) -> None:
        if self.path == "/counts":
            self._send(json.dumps(self.table.counts).encode())
        elif self.path == "/v2/":
            self._send(b"{}")
        else:
            self._send(self.rules_state)

    def do_PUT(self) -> None:
        self._body()
        self._send(b"")

    def do_POST(self) -> None:
        body = self._body()
        service, _, operation = self.headers.get("X-Amz-Target", "").rpartition(".")
        if service.startswith("DynamoDB"):
            self._send(json.dumps(self.table.answer(operation, json.loads(body))).encode())
        elif service.startswith("AmazonSQS"):
            self.table.counts[operation] += 1
            sent = [
                {"Id": each["Id"], "MessageId": "1", "MD5OfMessageBody": ""} for each in json.loads(body)["Entries"]
            ]
            self._send(json.dumps({"Successful": sent, "Failed": []}).encode())
        elif service:
            self._send(
                json.dumps({"repositories": [], "pullThroughCacheRules": [], "ResourceTagMappingList": []}).encode()
            )
        else:
            self.table.counts["Publish"] += b"Action=Publish" in body
            self._send(b"<R><PublishResult><MessageId>1</MessageId></PublishResult></R>")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(port: str, setup: str) -> None:
    """Serve until the process is ended."""
    _Handler.table = Table(msgspec.json.decode(setup, type=Setup))
    _Handler.rules_state = encode_rules_state(RulesState())
    ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
