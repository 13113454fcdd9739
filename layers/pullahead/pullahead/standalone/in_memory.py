"""The service's queue, table, bucket and state machine where all happens in one process: held in memory, sent nowhere.

What they hold is gone with the process: the next run looks at both sides anew, as a first check of the service does.
"""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from pullahead.errors import ConflictError, StorageError
from pullahead.messages import CheckRequest, ListRequest, Queued, RefreshRequest
from pullahead.mirrors.outcome_event import OutcomeEvent
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.store import Heartbeat
from pullahead.refresh.ports import StartResult
from pullahead.rules.mirror_key import MirrorKey, RecordKey

_R = TypeVar("_R", bound=Record)


class InMemoryRecords:
    """Satisfies `pullahead.ports.Records`. May be used by several threads."""

    def __init__(self) -> None:
        self._records: dict[RecordKey, Record] = {}
        self._lock = threading.Lock()

    def load(self, keys: Collection[MirrorKey]) -> Mapping[MirrorKey, MirrorRecord]:
        """Read the records of mirrors."""
        return {key: record for key in keys if isinstance(record := self._records.get(key), MirrorRecord)}

    def load_one(self, key: RecordKey) -> Record | None:
        """Read a record."""
        return self._records.get(key)

    def save(self, record: _R, expected_version: int) -> _R:
        """Write a record where nobody else has."""
        with self._lock:
            stored = self._records.get(record.key)
            if (stored.version if stored is not None else 0) != expected_version:
                raise ConflictError(f"the record of {record.key} was changed by another thread")
            saved = record.with_changes(version=expected_version + 1)
            self._records[record.key] = saved
            return saved

    def scan(self) -> Iterator[Record]:
        """Read every record."""
        return iter(tuple(self._records.values()))

    def load_heartbeat(self) -> Heartbeat | None:
        """Know of no run before this one: everything is due."""
        return None

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Keep nothing for a next run."""


class InMemoryQueue:
    """Satisfies `pullahead.ports.QueuesChecks`. May be used by several threads."""

    def __init__(self) -> None:
        self.checks: list[CheckRequest] = []
        self._listings: list[ListRequest] = []
        self._lock = threading.Lock()

    def send(self, requests: Sequence[Queued], delay_seconds: int = 0) -> None:  # noqa: ARG002 - time is not played
        """Keep requests."""
        with self._lock:
            self.checks.extend(request for request in requests if isinstance(request, CheckRequest))
            self._listings.extend(request for request in requests if isinstance(request, ListRequest))

    def take_listings(self) -> list[ListRequest]:
        """Take the listings that wait."""
        with self._lock:
            taken, self._listings = self._listings, []
        return taken


class InMemoryPlans:
    """Satisfies `pullahead.ports.Plans`, for one refresh."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def read(self, key: str) -> bytes:
        """Read an object."""
        if key not in self._objects:
            raise StorageError(f"nothing was kept as {key}")
        return self._objects[key]

    def write(self, key: str, content: bytes) -> None:
        """Keep an object."""
        self._objects[key] = content


class InMemoryRefreshes:
    """Satisfies `pullahead.ports.StartsRefreshes`: notes what is wanted, and starts nothing."""

    def __init__(self) -> None:
        self._requests: dict[MirrorKey, RefreshRequest] = {}

    def start(self, request: RefreshRequest) -> StartResult:
        """Note a refresh."""
        self._requests[MirrorKey(request.repository, request.tag)] = request
        return StartResult.STARTED

    def of(self, key: MirrorKey) -> RefreshRequest | None:
        """Tell which refresh a mirror wants."""
        return self._requests.get(key)


class NullEventBus:
    """Satisfies `pullahead.ports.PublishesOutcomes`: no other program waits for what a command does."""

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        """Send nothing."""
