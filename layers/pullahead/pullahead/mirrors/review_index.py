"""The index of reviews: which records are in it, and where. Pure.

In it is what is not fresh, and what has something to tell. A quiet deployment has next to nothing in it, however many
mirrors it has. A record enters and leaves the index by the write that changes it, so that a check that finds nothing
new still writes nothing. The index is divided into shards, since DynamoDB limits the writes to one partition key.
"""

import zlib
from datetime import datetime
from typing import Final, NamedTuple

from pullahead.mirrors.record import SETTLED, MirrorRecord, Record, State
from pullahead.rules.mirror_key import RecordKey

SHARDS: Final = tuple(f"review#{number}" for number in range(8))
"""Partition keys of the index: 8,000 write units a second (DynamoDB: 1,000 for a partition key)."""

MAX_SHOWN: Final = 20_000
"""Records of the index that the page of mirrors reads, those that wait for longest; it counts the others."""


class IndexEntry(NamedTuple):
    """Where a record is in the index: its shard, and the time by which the shard is sorted."""

    shard: str
    since: datetime


def index_entry(record: Record) -> IndexEntry | None:
    """Find the place of a record in the index; None where no review needs it."""
    return IndexEntry(_shard_of(record.key), entry_time(record)) if needs_review(record) else None


def needs_review(record: Record) -> bool:
    """Whether a record is not fresh, or has something to tell: an alert or event to send, or an open alert."""
    if record.pending or (isinstance(record, MirrorRecord) and record.outbox):
        return True
    if record.expires_at is not None:  # no rule follows it any more
        return False
    return record.state not in SETTLED or bool(record.open_alerts) or has_failed_referrers(record)


def has_failed_referrers(record: Record) -> bool:
    """Whether some of a mirror's referrers could not be copied."""
    return isinstance(record, MirrorRecord) and record.referrers is not None and bool(record.referrers.outcome.failed)


def entry_time(record: Record) -> datetime:
    """Return since when a record is not fresh or, where it is, since when it is in its state.

    What only waits for a moment, and has nothing to tell, is there at that moment: no review reads it before.
    """
    if isinstance(record, MirrorRecord) and record.waiting is not None and record.state is State.COOLING:
        has_news = bool(record.pending or record.outbox or record.open_alerts or has_failed_referrers(record))
        if record.waiting.until is not None and not has_news:
            return record.waiting.until
    return record.unfresh_since or record.since


def _shard_of(key: RecordKey) -> str:
    return SHARDS[zlib.crc32(str(key).encode()) % len(SHARDS)]
