"""Read the records of a batch of messages with one request, and serve each message from them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.store import Heartbeat, NewerRecord, RecordStore
from pullahead.rules.mirror_key import MirrorKey, RecordKey

_R = TypeVar("_R", bound=Record)
_MAX_PREFETCHED = 100  # records in one request


class PrefetchedRecords:
    """Implements `pullahead.mirrors.store.RecordStore`. A prefetched record is served until it is written, or until the
    next batch begins.

    Another process may have written it meanwhile; then a write meets a conflict, and the record is read again.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records
        self._prefetched: dict[MirrorKey, MirrorRecord | None] = {}

    def expect(self, keys: Iterable[MirrorKey]) -> None:
        """Begin a batch: read the records that its messages will need. Raises StorageError, with nothing read."""
        wanted = list(islice(dict.fromkeys(keys), _MAX_PREFETCHED))
        self._prefetched = {}
        if len(wanted) < 2:
            return
        loaded = self._records.load(wanted)
        self._prefetched = {key: loaded.get(key) for key in wanted}

    def load(self, keys: Collection[MirrorKey]) -> Mapping[MirrorKey, MirrorRecord]:
        """Return the prefetched records where all were prefetched; else read them."""
        if keys and all(key in self._prefetched for key in keys):
            return {key: record for key in keys if (record := self._prefetched[key]) is not None}
        return self._records.load(keys)

    def load_one(self, key: RecordKey) -> Record | None:
        """Return the prefetched record, or read it."""
        if isinstance(key, MirrorKey) and key in self._prefetched:
            return self._prefetched[key]
        return self._records.load_one(key)

    def save(self, record: _R, expected_version: int) -> _R:
        """Write a record, and drop the prefetched one."""
        if isinstance(record, MirrorRecord):
            self._prefetched.pop(record.key, None)
        return self._records.save(record, expected_version)

    def scan(self) -> Iterator[Record | NewerRecord]:
        """Read every record."""
        return self._records.scan()

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat."""
        return self._records.load_heartbeat()

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat."""
        self._records.save_heartbeat(heartbeat)
