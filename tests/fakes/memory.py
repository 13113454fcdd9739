"""The service's memory and voice without AWS: records, plans, queue, refreshes, alerts, and a clock that is set."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pullahead.checks.ports import REPLICATION_LIFETIME
from pullahead.errors import ConflictError, NewerRecordError, StorageError
from pullahead.messages import CheckRequest, ListRequest, Queued, ReferrerNamed, RefreshRequest, StartWaitingRequest
from pullahead.mirrors.alert import Alert
from pullahead.mirrors.record import DailyLimitRecord, MirrorRecord, Record, RuleRecord
from pullahead.mirrors.record_scan import ScanState
from pullahead.mirrors.review_index import entry_time, needs_review
from pullahead.mirrors.store import DamagedRecord, Heartbeat, NewerRecord, ScannedRecord, after_damage
from pullahead.mirrors.stored_form import Loaded
from pullahead.refresh.ports import StartResult
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey
from tests.fakes.script import Script

_R = TypeVar("_R", bound=Record)


class FakeClock:
    """Implements `pullahead.clock.Clock`; it is stopped until it is advanced."""

    def __init__(self, now: datetime = datetime(2026, 11, 24, 9, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        """Move the clock on."""
        self.now += timedelta(**duration)


class FakeRecords:
    """Implements `pullahead.mirrors.store.RecordStore`; writes are conditional as DynamoDB's are."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.stored: dict[MirrorKey, MirrorRecord] = {}
        self.of_rules: dict[RuleKey, RuleRecord | DailyLimitRecord] = {}
        self.decided: list[Alert] = []  # the alerts that were ever added to a record, in order
        self.heartbeat: Heartbeat | None = None
        self.newer: set[RecordKey] = set()  # the keys of records that only a newer version can read
        self.unindexed: set[RecordKey] = set()  # the keys of records that the index lacks until they are written
        self.scan_state = ScanState()
        self.damaged: set[RecordKey] = set()  # the keys of records that cannot be read
        self.consistent_reads = 0  # of mirrors

    @property
    def writes(self) -> int:
        """Count the writes, refused ones included."""
        return self.script.count("save", "save_heartbeat")

    def load(self, keys: Collection[MirrorKey], *, consistent: bool = True) -> Mapping[MirrorKey, MirrorRecord]:
        with self.script.call("load"):
            self.consistent_reads += consistent
            unread = self.newer | self.damaged
            found = ((key, self.stored[key]) for key in keys if key in self.stored and key not in unread)
            return Loaded(found, (key for key in keys if key in self.newer))

    def load_one(self, key: RecordKey) -> Record | None:
        with self.script.call("load"):
            return self._find(key)

    def scan(self) -> Iterator[Any]:  # records, unless a test lets a newer version have written one
        with self.script.call("scan"):
            for record in self._every():
                yield self._as_read(record)

    def scan_after(self, position: str) -> Iterator[Any]:
        with self.script.call("scan_after"):
            for name, record in sorted((str(record.key), record) for record in self._every()):
                if name > position:
                    yield ScannedRecord(
                        name, self._as_read(record), record.key not in self.unindexed or not needs_review(record)
                    )

    def to_review(self, until: datetime | None = None) -> Iterator[Any]:
        with self.script.call("to_review"):
            for record in sorted(self._indexed(), key=lambda record: (entry_time(record), str(record.key))):
                if until is not None and entry_time(record) > until:
                    return
                yield self._as_read(record)

    def count_to_review(self) -> int:
        with self.script.call("count_to_review"):
            return len(self._indexed())

    def load_listings(self, keys: Collection[RuleKey]) -> Mapping[RuleKey, Record]:
        with self.script.call("load_listings"):
            return {
                key: self.of_rules[key] for key in keys if key in self.of_rules and key not in self.newer | self.damaged
            }

    def load_scan_state(self) -> ScanState:
        with self.script.call("load_scan_state"):
            return self.scan_state

    def save_scan_state(self, state: ScanState) -> None:
        with self.script.call("save_scan_state"):
            self.scan_state = state

    def save(self, record: _R, expected_version: int) -> _R:
        with self.script.call("save"):
            stored = self._find(record.key)
            if (stored.version if stored is not None else 0) != expected_version:
                raise ConflictError(f"the record of {record.key} was changed since version {expected_version}")
            if record.key in self.damaged:
                record = after_damage(record, "damaged")
                self.damaged.discard(record.key)
            known = stored.pending if stored is not None else ()
            self.decided += [alert for alert in record.pending if alert not in known]
            saved = record.with_changes(version=expected_version + 1)
            self.put(saved)
            self.unindexed.discard(record.key)
            return saved

    def put(self, record: Record) -> None:
        """Store a record as it is."""
        if isinstance(record, MirrorRecord):
            self.stored[record.key] = record
        elif isinstance(record, RuleRecord | DailyLimitRecord):
            self.of_rules[record.key] = record

    def load_heartbeat(self) -> Heartbeat | None:
        with self.script.call("load_heartbeat"):
            return self.heartbeat

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        with self.script.call("save_heartbeat"):
            self.heartbeat = heartbeat

    def _every(self) -> list[Record]:
        return [*self.stored.values(), *self.of_rules.values()]

    def _indexed(self) -> list[Record]:
        return [record for record in self._every() if needs_review(record) and record.key not in self.unindexed]

    def _as_read(self, record: Record) -> Record | NewerRecord | DamagedRecord:
        if record.key in self.damaged:
            return DamagedRecord(str(record.key), "damaged")
        return NewerRecord(str(record.key)) if record.key in self.newer else record

    def _find(self, key: RecordKey) -> Record | None:
        if key in self.newer:
            raise NewerRecordError(f"the record of {key} was stored by a newer version")
        if key in self.damaged:
            return None
        if isinstance(key, MirrorKey):
            return self.stored.get(key)
        return self.of_rules.get(key) if isinstance(key, RuleKey) else None


class FakePauseStore:
    """Implements `pullahead.rules.ports.PauseStore`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.rules: set[str] = set()

    def paused_rules(self) -> frozenset[str]:
        with self.script.call("paused_rules"):
            return frozenset(self.rules)

    def pause(self, rule: str) -> None:
        with self.script.call("pause"):
            self.rules.add(rule)

    def resume(self, rule: str) -> None:
        with self.script.call("resume"):
            self.rules.discard(rule)


class FakeReplications:
    """Implements `pullahead.checks.ports.Replications`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.stored: dict[str, tuple[str, datetime]] = {}

    def note(self, repository: str, source: str, at: datetime) -> None:
        with self.script.call("note_replication"):
            self.stored[repository] = (source, at + REPLICATION_LIFETIME)

    def source_of(self, repository: str, now: datetime) -> str:
        with self.script.call("replication_source"):
            source, until = self.stored.get(repository, ("", now))
            return source if until > now else ""


class FakePlanStore:
    """Implements `pullahead.refresh.ports.PlanStore`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.objects: dict[str, bytes] = {}

    def read(self, key: str) -> bytes:
        with self.script.call("read"):
            if key not in self.objects:
                raise StorageError(f"read of {key} failed: there is none")
            return self.objects[key]

    def write(self, key: str, content: bytes) -> None:
        with self.script.call("write"):
            self.objects[key] = content


class FakeRefreshExecutions:
    """Implements `pullahead.refresh.ports.RefreshExecutions`; tests set outcomes in `statuses`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.requests: dict[str, RefreshRequest] = {}
        self.statuses: dict[str, StartResult] = {}

    def start(self, request: RefreshRequest) -> StartResult:
        with self.script.call("start"):
            status = self.statuses.get(request.name)
            if status is None:
                self.requests[request.name] = request
                self.statuses[request.name] = StartResult.RUNNING
                return StartResult.STARTED
            same = self.requests.get(request.name) == request
            return StartResult.STARTED if same and status is StartResult.RUNNING else status

    def state_of(self, name: str) -> StartResult | None:
        with self.script.call("state_of"):
            return self.statuses.get(name)

    def is_running(self, name: str) -> bool:
        with self.script.call("is_running"):
            return self.statuses.get(name) is StartResult.RUNNING


class FakeReceivedMessages:
    """Deletes messages that a function has received, as `pullahead.aws.sqs.SqsReceivedMessages` does."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.deleted: list[str] = []

    def delete(self, receipts: Sequence[str]) -> None:
        with self.script.call("delete_messages"):
            self.deleted += receipts


class FakeCheckQueue:
    """Implements `pullahead.checks.ports.CheckQueue`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.sent: list[CheckRequest] = []
        self.listings: list[ListRequest] = []
        self.referrers: list[ReferrerNamed] = []
        self.starting: list[StartWaitingRequest] = []
        self.delays: list[int] = []

    def send(self, requests: Sequence[Queued], delay_seconds: int = 0) -> None:
        with self.script.call("send"):
            self.delays.extend(delay_seconds for _ in requests)
            self.sent.extend(request for request in requests if isinstance(request, CheckRequest))
            self.listings.extend(request for request in requests if isinstance(request, ListRequest))
            self.referrers.extend(request for request in requests if isinstance(request, ReferrerNamed))
            self.starting.extend(request for request in requests if isinstance(request, StartWaitingRequest))
