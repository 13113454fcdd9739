"""Checks, refreshes and reviews of one mirror that run concurrently while upstream and ECR change.

Each actor has its own ports, which yield to the scheduler before every call. All writes are logged. Asserts nothing.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec

from pullahead.alerts.incidents import Incident
from pullahead.alerts.notify import NotificationSender
from pullahead.alerts.text import Notice
from pullahead.checks.check import CheckMirrors, CheckPorts
from pullahead.errors import PullaheadError, Side, TagImmutableError
from pullahead.messages import CheckRequest, Failure, OutcomeRequest, PublishRequest, RefreshRequest
from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.outcome_event import OutcomeEvent
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.record_scan import ScanState
from pullahead.mirrors.store import Heartbeat, ScannedRecord
from pullahead.oci import Descriptor, Digest, RawManifest, Reference, digest_of, media_types
from pullahead.refresh.plan import CopyPlan, manifest_key, plan_key
from pullahead.refresh.ports import StartResult
from pullahead.refresh.publish import publish_image
from pullahead.refresh.record_outcome import record_outcome
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey
from pullahead.rules.model import Rules
from tests.fakes.alerts import FakeAlerts, FakeIncidents
from tests.fakes.memory import FakeClock, FakePlanStore, FakeRecords
from tests.fakes.outcomes import FakeOutcomes
from tests.fakes.samples import KEY, REPOSITORY, rules
from tests.fakes.scheduler import Actor, Scheduler
from tests.fakes.script import Killed
from tests.fakes.upstream import FakeUpstream

_T = TypeVar("_T")
_R = TypeVar("_R", bound=Record)

_MUCH_TIME = 300.0
_CHAT = FakeAlerts()  # receives copies; never inspected
RETRIES = 5  # of a message, and of record_outcome


def at_once(_breaks: int) -> None:
    """Wait for nothing: the scheduler alone says what comes next."""


def manifest(seed: str) -> RawManifest:
    """Make a manifest, unique to its seed."""
    content = f'{{"schemaVersion": 2, "seed": "{seed}"}}'.encode()
    return RawManifest(Descriptor(media_types.OCI_MANIFEST, digest_of(content), len(content)), content)


MANIFESTS = {made.descriptor.digest: made for made in map(manifest, "abc")}
A, B, FOREIGN = (made.descriptor for made in MANIFESTS.values())


@dataclass
class Environment:
    """What upstream and ECR serve now, and the time."""

    upstream: Descriptor | PullaheadError = A
    published: Digest | None = None
    immutable: bool = False
    paused: bool = False
    clock: FakeClock = field(default_factory=FakeClock)
    reviews: int = 0  # in progress

    def let_pass(self, **time: float) -> bool:
        """Advance the clock, unless a review is in progress: none takes longer than its lock lasts."""
        if self.reviews:
            return False
        self.clock.advance(**time)
        return True


class LoggedWrite(NamedTuple):
    """One write to the record, and what its writer had read."""

    actor: str
    before: MirrorRecord | None
    after: MirrorRecord
    expected_version: int
    read_at: int | None  # how many writes there were when the writer last looked at both sides; None: it never did
    published_read: Digest | None


class WriteLog(FakeRecords):
    """The records that all actors share, with a log of the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[LoggedWrite] = []

    def save_as(self, actor: "ActorPorts", record: _R, expected_version: int) -> _R:
        """Save a record for an actor."""
        assert isinstance(record, MirrorRecord)
        before = self.stored.get(record.key)
        saved = self.save(record, expected_version)
        self.written.append(
            LoggedWrite(actor.name, before, saved, expected_version, actor.read_at, actor.published_read)
        )
        return saved


class RefreshFaults(NamedTuple):
    """Faults of refreshes in the order of their starts; the others succeed and report their end once."""

    deliveries: Sequence[int] = ()  # how often the end of each is reported
    stopped_at: Sequence[int | None] = ()  # the number of the call before which it is killed
    failing: Sequence[str] = ()  # an error's class, instead of publishing


class ConcurrentActors:
    """The scheduler and the shared state. A test of the invariants replaces `ports_type` or `write_log`."""

    def __init__(
        self,
        choose: Callable[[int], int],
        environment: Environment | None = None,
        faults: RefreshFaults | None = None,
        write_log: WriteLog | None = None,
        ports_type: "type[ActorPorts] | None" = None,
    ) -> None:
        self.environment, self.faults = environment or Environment(), faults or RefreshFaults()
        self.scheduler, self.write_log = Scheduler(choose), write_log or WriteLog()
        self.outcomes, self.plans = FakeOutcomes(), FakePlanStore()
        self.statuses: dict[str, StartResult] = {}
        self.requests: dict[str, RefreshRequest] = {}
        self._rules, self._ports_type = rules(), ports_type or ActorPorts
        self._checks = self._reviews = 0
        self.incidents, self.alerts = FakeIncidents(), FakeAlerts()

    @property
    def record(self) -> MirrorRecord | None:
        """The mirror's record."""
        return self.write_log.stored.get(KEY)

    def rules(self) -> Rules:
        """The current rules."""
        return replace(self._rules, paused=frozenset({"app"}) if self.environment.paused else frozenset())

    def check(self, reason: str = "schedule", digest: Digest | None = None, dies_at: int | None = None) -> None:
        """Start a check."""

        def work(actor: Actor) -> None:
            for _ in range(RETRIES):
                request = CheckRequest(reason, REPOSITORY, ("1.0",), self.environment.clock(), digest)  # type: ignore[arg-type]
                with actor.call():
                    ports = self._ports_type(actor, self)
                results = ports.check_mirrors()(request)
                if all(result.error is None for result in results):
                    return
            raise results[0].error or AssertionError("a check without an end")

        self._checks += 1
        self._add(f"check {self._checks}", work, dies_at)

    def move(self, *moves: Callable[[Environment], object]) -> None:
        """Change the environment, step by step; a change that returns False is retried."""

        def work(actor: Actor) -> None:
            for each in moves:
                has_moved = False
                while not has_moved:
                    with actor.call():
                        has_moved = each(self.environment) is not False

        self._add("environment", work, None)

    def refresh(self, request: RefreshRequest) -> None:
        """Start a refresh, as the state machine runs it."""
        number = len(self.requests) - 1
        fails_with = _nth(self.faults.failing, number, "")
        stopped_at = _nth(self.faults.stopped_at, number, None)

        def work(actor: Actor) -> None:
            try:
                ports = self._ports_type(actor, self)
                outcome = ports.copy(request, fails_with)
                for _ in range(_nth(self.faults.deliveries, number, 1)):
                    ports.record(outcome)
                    with actor.call():
                        self.statuses[request.name] = StartResult.ENDED if outcome.error else StartResult.SUCCEEDED
            except Killed:
                self.statuses[request.name] = StartResult.ENDED
                raise

        self._add(f"refresh {number}", work, stopped_at)

    def review(self, dies_at: int | None = None, times: int = 1) -> None:
        """Start reviews, so many in sequence, that send the record's pending alerts."""

        def work(actor: Actor) -> None:
            for _ in range(times):
                with actor.call():
                    records, now = list(self.write_log.stored.values()), self.environment.clock()
                self.environment.reviews += 1
                try:
                    self._review(actor, records, now)
                finally:
                    self.environment.reviews -= 1

        self._reviews += 1
        self._add(f"review {self._reviews}", work, dies_at)

    def _review(self, actor: Actor, records: Sequence[MirrorRecord], now: datetime) -> None:
        ports, alert_ports = self._ports_type(actor, self), ActorAlerts(actor, self)
        sent = NotificationSender(ports, alert_ports, alert_ports, _CHAT)(records, {}, now, lambda: _MUCH_TIME)
        if sent.errors:
            raise sent.errors[0]

    def _add(self, name: str, work: Callable[[Actor], None], dies_at: int | None) -> None:
        actor = Actor(name, work)
        actor.dies_at = dies_at
        self.scheduler.add(actor)


class ActorPorts:
    """All ports of one actor; each call yields to the scheduler first."""

    def __init__(self, actor: Actor, actors: ConcurrentActors) -> None:
        self._actor, self._actors, self._environment = actor, actors, actors.environment
        self.name = actor.name
        self.read_at: int | None = None
        self.published_read: Digest | None = None

    # --- use cases ----------------------------------------------------------------------------------------------

    def check_mirrors(self) -> CheckMirrors:
        announcer, upstream = (
            OutboxSender(self, self, self._environment.clock),
            _Upstream(self._actor, self._environment),
        )
        ports = CheckPorts(upstream, self.published_digests, self, self.start, announcer, self._environment.clock)
        return CheckMirrors(self._actors.rules, ports)

    def copy(self, request: RefreshRequest, fails_with: str) -> OutcomeRequest:
        root = MANIFESTS[request.root.digest]
        plan = CopyPlan((root.descriptor,), (), 0, 0)
        self._actors.plans.write(plan_key(request.name), msgspec.json.encode(plan))
        self._actors.plans.write(manifest_key(request.name, root.descriptor.digest), root.content)
        began = self._environment.clock()
        published, failure = None, Failure(fails_with) if fails_with else None
        if failure is None:
            try:
                asked = PublishRequest(request, request.root.digest)
                published = publish_image(
                    asked,
                    self._actors.rules(),
                    self,  # type: ignore[arg-type]
                    self._actors.plans,
                    self,
                    self._environment.clock,
                    at_once,
                )
            except PullaheadError as error:
                failure = Failure(type(error).__name__, str(error))
        return OutcomeRequest(request, f"arn:{request.name}", began, published, error=failure)

    def record(self, outcome: OutcomeRequest) -> None:
        announcer = OutboxSender(self, self, self._environment.clock)
        for attempt in range(RETRIES):
            try:
                record_outcome(outcome, self._actors.rules(), self, announcer, self._environment.clock)
            except PullaheadError:
                if attempt == RETRIES - 1:
                    raise
            else:
                return

    # --- ports --------------------------------------------------------------------------------------------------

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:  # noqa: ARG002
        with self._actor.call():
            self.read_at = len(self._actors.write_log.written)
            self.published_read = self._environment.published
            return {} if self.published_read is None else dict.fromkeys(tags, self.published_read)

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None) -> None:  # noqa: ARG002
        with self._actor.call():
            served, digest = self._environment.published, manifest.descriptor.digest
            if self._environment.immutable and served not in (None, digest):
                raise TagImmutableError("immutable", operation="put", side=Side.TARGET, reference=repository)
            self._environment.published = digest

    def load(self, keys: Collection[MirrorKey], *, consistent: bool = True) -> Mapping[MirrorKey, MirrorRecord]:
        with self._actor.call():
            return self._actors.write_log.load(keys, consistent=consistent)

    def load_one(self, key: RecordKey) -> Record | None:
        with self._actor.call():
            return self._actors.write_log.load_one(key)

    def save(self, record: _R, expected_version: int) -> _R:
        with self._actor.call():
            return self._actors.write_log.save_as(self, record, expected_version)

    def scan(self) -> Iterator[Record]:
        return self._actors.write_log.scan()

    def scan_after(self, position: str) -> Iterator[ScannedRecord]:
        return self._actors.write_log.scan_after(position)

    def to_review(self, until: datetime | None = None) -> Iterator[Record]:
        return self._actors.write_log.to_review(until)

    def count_to_review(self) -> int:
        return self._actors.write_log.count_to_review()

    def load_listings(self, keys: Collection[RuleKey]) -> Mapping[RuleKey, Record]:
        return self._actors.write_log.load_listings(keys)

    def load_scan_state(self) -> ScanState:
        return self._actors.write_log.load_scan_state()

    def save_scan_state(self, state: ScanState) -> None:
        self._actors.write_log.save_scan_state(state)

    def load_heartbeat(self) -> Heartbeat | None:
        return self._actors.write_log.load_heartbeat()

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        self._actors.write_log.save_heartbeat(heartbeat)

    def start(self, request: RefreshRequest) -> StartResult:
        with self._actor.call():
            actors = self._actors
            status = actors.statuses.get(request.name)
            if status is not None:
                same = actors.requests[request.name] == request
                return StartResult.STARTED if same and status is StartResult.RUNNING else status
            actors.requests[request.name], actors.statuses[request.name] = request, StartResult.RUNNING
            actors.refresh(request)
            return StartResult.STARTED

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        with self._actor.call():
            self._actors.outcomes.publish(events)


class _Upstream(FakeUpstream):
    """The environment's upstream, as one actor asks it."""

    def __init__(self, actor: Actor, environment: Environment) -> None:
        super().__init__()
        self._actor, self._environment = actor, environment

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:  # noqa: ARG002 - there is one
        with self._actor.call():
            if isinstance(self._environment.upstream, PullaheadError):
                raise self._environment.upstream
            return self._environment.upstream


class ActorAlerts:
    """The alert ports of a review; each call yields to the scheduler first."""

    def __init__(self, actor: Actor, actors: ConcurrentActors) -> None:
        self._actor, self._incidents, self._alerts = actor, actors.incidents, actors.alerts

    def load(self, keys: Collection[str]) -> Mapping[str, Incident]:
        with self._actor.call():
            return self._incidents.load(keys)

    def save(self, incident: Incident, now: datetime) -> None:
        with self._actor.call():
            self._incidents.save(incident, now)

    def lock_sending(self, now: datetime, until: datetime) -> bool:
        with self._actor.call():
            return self._incidents.lock_sending(now, until)

    def unlock_sending(self, now: datetime) -> None:
        with self._actor.call():
            self._incidents.unlock_sending(now)

    def publish(self, notice: Notice) -> None:
        with self._actor.call():
            self._alerts.publish(notice)


def _nth(values: Sequence[_T], number: int, otherwise: _T) -> _T:
    return values[number] if number < len(values) else otherwise
