"""The service's table, queue and state machine in the memory of one process. Nothing is sent anywhere.

What they store ends with the process: every run compares both sides as a first check of the service does.
"""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from pullahead.errors import ConflictError
from pullahead.messages import CheckRequest, ListRequest, Queued, RefreshRequest
from pullahead.mirrors.outcome_event import OutcomeEvent
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.record_scan import ScanState
from pullahead.mirrors.review_index import entry_time, needs_review
from pullahead.mirrors.store import Heartbeat, ScannedRecord
from pullahead.refresh.ports import StartResult
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey

_R = TypeVar("_R", bound=Record)


class InMemoryRecords:
    """Implements `pullahead.mirrors.store.RecordStore`. Thread-safe."""

    def __init__(self) -> None:
        self._records: dict[RecordKey, Record] = {}
        self._lock = threading.Lock()

    def load(
        self,
        keys: Collection[MirrorKey],
        *,
        consistent: bool = True,  # noqa: ARG002 - memory is
    ) -> Mapping[MirrorKey, MirrorRecord]:
        """Read the records of mirrors."""
        return {key: record for key in keys if isinstance(record := self._records.get(key), MirrorRecord)}

    def load_one(self, key: RecordKey) -> Record | None:
        """Read a record."""
        return self._records.get(key)

    def save(self, record: _R, expected_version: int) -> _R:
        """Write a record unless it was changed meanwhile."""
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

    def scan_after(self, position: str) -> Iterator[ScannedRecord]:
        """Read every record after one, by name."""
        for name, record in sorted((str(key), record) for key, record in tuple(self._records.items())):
            if name > position:
                yield ScannedRecord(name, record)

    def to_review(self, until: datetime | None = None) -> Iterator[Record]:
        """Read the records that a review needs."""
        found = (each for each in tuple(self._records.values()) if needs_review(each))
        return iter(sorted((each for each in found if until is None or entry_time(each) <= until), key=entry_time))

    def count_to_review(self) -> int:
        """Count the records that a review needs."""
        return sum(map(needs_review, tuple(self._records.values())))

    def load_listings(self, keys: Collection[RuleKey]) -> Mapping[RuleKey, Record]:
        """Read records of rules."""
        return {key: record for key in keys if (record := self._records.get(key)) is not None}

    def load_scan_state(self) -> ScanState:
        """Return nothing: records end with the process."""
        return ScanState()

    def save_scan_state(self, state: ScanState) -> None:
        """Do nothing."""

    def load_heartbeat(self) -> Heartbeat | None:
        """Return None, so that everything is due."""
        return None

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Do nothing."""


class InMemoryQueue:
    """Implements `pullahead.checks.ports.CheckQueue`. Thread-safe."""

    def __init__(self) -> None:
        self.checks: list[CheckRequest] = []
        self._listings: list[ListRequest] = []
        self._lock = threading.Lock()

    def send(self, requests: Sequence[Queued], delay_seconds: int = 0) -> None:  # noqa: ARG002 - nothing waits here
        """Add requests."""
        with self._lock:
            self.checks.extend(request for request in requests if isinstance(request, CheckRequest))
            self._listings.extend(request for request in requests if isinstance(request, ListRequest))

    def take_listings(self) -> list[ListRequest]:
        """Remove and return the requests for listings."""
        with self._lock:
            taken, self._listings = self._listings, []
        return taken


class InMemoryRefreshes:
    """Collects the refreshes that checks request; starts nothing."""

    def __init__(self) -> None:
        self._requests: dict[MirrorKey, RefreshRequest] = {}

    def start(self, request: RefreshRequest) -> StartResult:
        """Add a refresh; what the tag may not serve yet is left out."""
        if request.ahead:
            return StartResult.ENDED
        self._requests[MirrorKey(request.repository, request.tag)] = request
        return StartResult.STARTED

    def of(self, key: MirrorKey) -> RefreshRequest | None:
        """Return the refresh of a mirror, if one was requested."""
        return self._requests.get(key)


class NullEventBus:
    """Implements `pullahead.mirrors.outbox.OutcomeEventBus`: the outcomes of a command are not published."""

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        """Do nothing."""
