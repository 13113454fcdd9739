"""Checks, refreshes, reviews, and a world that moves, all at one mirror at once; and a ledger of its writes.

Each actor has ports of its own, which give the floor away before every call. Claims nothing.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec

from pullahead.alerts.incidents import Incident
from pullahead.alerts.notify import NotificationSender
from pullahead.alerts.text import Notice
from pullahead.checks.check import CheckMirrors
from pullahead.errors import PullaheadError, Side, TagImmutableError
from pullahead.messages import CheckRequest, Failure, OutcomeRequest, RefreshRequest
from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.outcome_event import OutcomeEvent
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.store import Heartbeat
from pullahead.oci import Descriptor, Digest, RawManifest, Reference, digest_of, media_types
from pullahead.refresh.plan import CopyPlan, manifest_key, plan_key
from pullahead.refresh.ports import StartResult
from pullahead.refresh.publish import publish_image
from pullahead.refresh.record_outcome import record_outcome
from pullahead.rules.mirror_key import MirrorKey, RecordKey
from pullahead.rules.model import Rules
from tests.fakes.memory import FakeClock, FakePlans, FakeRecords
from tests.fakes.outcomes import FakeOutcomes
from tests.fakes.samples import KEY, REPOSITORY, rules
from tests.fakes.script import Killed
from tests.fakes.stage import Actor, Stage
from tests.fakes.telling import FakeAlerts, FakeIncidents
from tests.fakes.upstream import FakeUpstream

_T = TypeVar("_T")
_R = TypeVar("_R", bound=Record)

_MUCH_TIME = 300.0
_NOBODY = FakeAlerts()  # gets copies, and is asked nothing
RETRIES = 5  # of a message that comes back, and of record_outcome


def manifest(seed: str) -> RawManifest:
    """Make a manifest, another for another seed."""
    content = f'{{"schemaVersion": 2, "seed": "{seed}"}}'.encode()
    return RawManifest(Descriptor(media_types.OCI_MANIFEST, digest_of(content), len(content)), content)


MANIFESTS = {made.descriptor.digest: made for made in map(manifest, "abc")}
A, B, STRANGE = (made.descriptor for made in MANIFESTS.values())


@dataclass
class World:
    """What upstream and ECR serve at this moment, and how refreshes go."""

    upstream: Descriptor | PullaheadError = A
    published: Digest | None = None
    immutable: bool = False
    paused: bool = False
    clock: FakeClock = field(default_factory=FakeClock)
    reviews: int = 0  # that are under way

    def let_pass(self, **time: float) -> bool:
        """Let time pass, unless a review is under way: none takes longer than its turn lasts."""
        if self.reviews:
            return False
        self.clock.advance(**time)
        return True


class Written(NamedTuple):
    """One write to the record, and what its writer knew."""

    actor: str
    before: MirrorRecord | None
    after: MirrorRecord
    expected_version: int
    looked_at: int | None  # how many writes there were when the writer last looked at both sides; None: it never did
    saw_published: Digest | None


class Ledger(FakeRecords):
    """Records as all actors share them."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Written] = []

    def save_as(self, actor: "Ports", record: _R, expected_version: int) -> _R:
        """Write as an actor."""
        assert isinstance(record, MirrorRecord)
        before = self.stored.get(record.key)
        saved = self.save(record, expected_version)
        self.written.append(Written(actor.name, before, saved, expected_version, actor.looked_at, actor.saw_published))
        return saved


class Plot(NamedTuple):
    """How refreshes go, in the order in which they begin; what is not said goes well and is told once."""

    deliveries: Sequence[int] = ()  # how often the end of each is told
    stopped_at: Sequence[int | None] = ()  # the number of the call before which it is stopped for good
    failing: Sequence[str] = ()  # an error's class, instead of publishing


class Crowd:
    """The stage with all that the actors share. `ports_of` and `ledger` are others where a test is itself tested."""

    def __init__(
        self,
        choose: Callable[[int], int],
        world: World | None = None,
        plot: Plot | None = None,
        ledger: Ledger | None = None,
        ports_of: "type[Ports] | None" = None,
    ) -> None:
        self.world, self.plot = world or World(), plot or Plot()
        self.stage, self.ledger = Stage(choose), ledger or Ledger()
        self.outcomes, self.plans = FakeOutcomes(), FakePlans()
        self.statuses: dict[str, StartResult] = {}
        self.requests: dict[str, RefreshRequest] = {}
        self._rules, self._ports_of = rules(), ports_of or Ports
        self._checks = self._reviews = 0
        self.incidents, self.alerts = FakeIncidents(), FakeAlerts()

    @property
    def record(self) -> MirrorRecord | None:
        """What is remembered."""
        return self.ledger.stored.get(KEY)

    def rules(self) -> Rules:
        """The rules as they are at this moment."""
        return replace(self._rules, paused=frozenset({"app"}) if self.world.paused else frozenset())

    def check(self, reason: str = "schedule", digest: Digest | None = None, dies_at: int | None = None) -> None:
        """Let a check begin."""

        def work(actor: Actor) -> None:
            for _ in range(RETRIES):
                request = CheckRequest(reason, REPOSITORY, ("1.0",), self.world.clock(), digest)  # type: ignore[arg-type]
                with actor.call():
                    ports = self._ports_of(actor, self)
                results = ports.check_mirrors()(request)
                if all(result.error is None for result in results):
                    return
            raise results[0].error or AssertionError("a check without an end")

        self._checks += 1
        self._add(f"check {self._checks}", work, dies_at)

    def move(self, *moves: Callable[[World], object]) -> None:
        """Let the world move, step by step; a move that says False is tried again."""

        def work(actor: Actor) -> None:
            for each in moves:
                has_moved = False
                while not has_moved:
                    with actor.call():
                        has_moved = each(self.world) is not False

        self._add("world", work, None)

    def refresh(self, request: RefreshRequest) -> None:
        """Let a refresh begin, as the state machine runs it."""
        number = len(self.requests) - 1
        fails_with = _nth(self.plot.failing, number, "")
        stopped_at = _nth(self.plot.stopped_at, number, None)

        def work(actor: Actor) -> None:
            try:
                ports = self._ports_of(actor, self)
                outcome = ports.copy(request, fails_with)
                for _ in range(_nth(self.plot.deliveries, number, 1)):
                    ports.record(outcome)
                    with actor.call():
                        self.statuses[request.name] = StartResult.ENDED if outcome.error else StartResult.SUCCEEDED
            except Killed:
                self.statuses[request.name] = StartResult.ENDED
                raise

        self._add(f"refresh {number}", work, stopped_at)

    def tell(self, dies_at: int | None = None, times: int = 1) -> None:
        """Let a review tell people what the record has to tell, so many times."""

        def work(actor: Actor) -> None:
            for _ in range(times):
                with actor.call():
                    records, now = list(self.ledger.stored.values()), self.world.clock()
                self.world.reviews += 1
                try:
                    self._review(actor, records, now)
                finally:
                    self.world.reviews -= 1

        self._reviews += 1
        self._add(f"review {self._reviews}", work, dies_at)

    def _review(self, actor: Actor, records: Sequence[MirrorRecord], now: datetime) -> None:
        ports, voice = self._ports_of(actor, self), Voice(actor, self)
        told = NotificationSender(ports, voice, voice, _NOBODY)(records, {}, now, lambda: _MUCH_TIME)
        if told.errors:
            raise told.errors[0]

    def _add(self, name: str, work: Callable[[Actor], None], dies_at: int | None) -> None:
        actor = Actor(name, work)
        actor.dies_at = dies_at
        self.stage.add(actor)


class Ports:
    """Everything that one actor asks or does, as ports: each call gives the floor away first."""

    def __init__(self, actor: Actor, crowd: Crowd) -> None:
        self._actor, self._crowd, self._world = actor, crowd, crowd.world
        self.name = actor.name
        self.looked_at: int | None = None
        self.saw_published: Digest | None = None

    # --- use cases ----------------------------------------------------------------------------------------------

    def check_mirrors(self) -> CheckMirrors:
        announcer, upstream = OutboxSender(self, self, self._world.clock), _Upstream(self._actor, self._world)
        return CheckMirrors(
            self._crowd.rules, upstream, self.published_digests, self, self.start, announcer, self._world.clock
        )

    def copy(self, request: RefreshRequest, fails_with: str) -> OutcomeRequest:
        root = MANIFESTS[request.root.digest]
        plan = CopyPlan((root.descriptor,), (), 0, 0)
        self._crowd.plans.write(plan_key(request.name), msgspec.json.encode(plan))
        self._crowd.plans.write(manifest_key(request.name, root.descriptor.digest), root.content)
        began = self._world.clock()
        published, failure = None, Failure(fails_with) if fails_with else None
        if failure is None:
            try:
                published = publish_image(request, self, self._crowd.plans, self)  # type: ignore[arg-type]
            except PullaheadError as error:
                failure = Failure(type(error).__name__, str(error))
        return OutcomeRequest(request, f"arn:{request.name}", began, published, error=failure)

    def record(self, outcome: OutcomeRequest) -> None:
        announcer = OutboxSender(self, self, self._world.clock)
        for attempt in range(RETRIES):
            try:
                record_outcome(outcome, self._crowd.rules(), self, announcer, self._world.clock)
            except PullaheadError:
                if attempt == RETRIES - 1:
                    raise
            else:
                return

    # --- ports --------------------------------------------------------------------------------------------------

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:  # noqa: ARG002
        with self._actor.call():
            self.looked_at = len(self._crowd.ledger.written)
            self.saw_published = self._world.published
            return {} if self.saw_published is None else dict.fromkeys(tags, self.saw_published)

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None) -> None:  # noqa: ARG002
        with self._actor.call():
            served, digest = self._world.published, manifest.descriptor.digest
            if self._world.immutable and served not in (None, digest):
                raise TagImmutableError("immutable", operation="put", side=Side.TARGET, reference=repository)
            self._world.published = digest

    def load(self, keys: Collection[MirrorKey]) -> Mapping[MirrorKey, MirrorRecord]:
        with self._actor.call():
            return self._crowd.ledger.load(keys)

    def load_one(self, key: RecordKey) -> Record | None:
        with self._actor.call():
            return self._crowd.ledger.load_one(key)

    def save(self, record: _R, expected_version: int) -> _R:
        with self._actor.call():
            return self._crowd.ledger.save_as(self, record, expected_version)

    def scan(self) -> Iterator[Record]:
        return self._crowd.ledger.scan()

    def load_heartbeat(self) -> Heartbeat | None:
        return self._crowd.ledger.load_heartbeat()

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        self._crowd.ledger.save_heartbeat(heartbeat)

    def start(self, request: RefreshRequest) -> StartResult:
        with self._actor.call():
            crowd = self._crowd
            status = crowd.statuses.get(request.name)
            if status is not None:
                same = crowd.requests[request.name] == request
                return StartResult.STARTED if same and status is StartResult.RUNNING else status
            crowd.requests[request.name], crowd.statuses[request.name] = request, StartResult.RUNNING
            crowd.refresh(request)
            return StartResult.STARTED

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        with self._actor.call():
            self._crowd.outcomes.publish(events)


class _Upstream(FakeUpstream):
    """The world's upstream, as one actor asks it."""

    def __init__(self, actor: Actor, world: World) -> None:
        super().__init__()
        self._actor, self._world = actor, world

    def head_manifest(self, reference: Reference) -> Descriptor:  # noqa: ARG002 - there is one
        with self._actor.call():
            if isinstance(self._world.upstream, PullaheadError):
                raise self._world.upstream
            return self._world.upstream


class Voice:
    """What a review remembers and says, as ports: each call gives the floor away first."""

    def __init__(self, actor: Actor, crowd: Crowd) -> None:
        self._actor, self._incidents, self._alerts = actor, crowd.incidents, crowd.alerts

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
