"""The service of a simulation: the real decisions, on stores in memory, a queue and functions as AWS runs them."""

import bisect
import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from bench.check_cpu import CPU_SECONDS
from bench.costs import ASSUMED
from bench.scale_run import cpu_share
from bench.simulate.world import START, AskingInTurn, SimulatedClock, SimulatedUpstream, SimulatedWorld
from pullahead.checks.check import CheckMirrors, CheckPorts
from pullahead.checks.handle_message import MessageHandler
from pullahead.checks.late_referrers import LookForReferrers
from pullahead.checks.listing import ListTags
from pullahead.checks.ports import EVENT_WINDOW, WindowClaim, WindowDecision
from pullahead.checks.schedule import schedule_checks
from pullahead.checks.select import CheckMerger, MirrorSelector
from pullahead.checks.timetable import SCHEME
from pullahead.checks.upstream_pool import Backoffs, RemainingSeconds, UpstreamPool
from pullahead.errors import ConflictError
from pullahead.messages import CheckRequest, OutcomeRequest, PublishResult, Queued, RefreshRequest, StartWaitingRequest
from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.outcome_event import OutcomeEvent
from pullahead.mirrors.record import MirrorRecord, Record, State
from pullahead.mirrors.store import Heartbeat, RecordStore
from pullahead.oci import Digest
from pullahead.oci.registries import CopySource, Upstream
from pullahead.refresh.ports import Slot, SlotLimits, SlotResult, StartResult, WaitingRefresh
from pullahead.refresh.queue import RefreshQueue
from pullahead.refresh.record_outcome import record_outcome
from pullahead.rules.mirror_key import MirrorKey, RecordKey
from pullahead.rules.model import Rules, never_cached

TIMEOUT_SECONDS = 120.0  # of check_freshness
COLD_START_SECONDS = 2.0
CPU_OF_CHECK_SECONDS = CPU_SECONDS / cpu_share(256)  # measured by bench.check_cpu
_ONE_BATCH = 10
_SCHEDULE_SECONDS = 300.0


class SimulatedRecords:
    """Implements `pullahead.mirrors.store.RecordStore`, as far as checks of named tags need it."""

    def __init__(self) -> None:
        self.stored: dict[RecordKey, Record] = {}
        self.heartbeat: Heartbeat | None = None
        self.read_units, self.writes = 0.0, 0

    def load(self, keys: Collection[MirrorKey], *, consistent: bool = True) -> Mapping[MirrorKey, MirrorRecord]:
        """Look the records up."""
        self.read_units += len(keys) * (1.0 if consistent else 0.5)
        found = ((key, self.stored.get(key)) for key in keys)
        return {key: record for key, record in found if isinstance(record, MirrorRecord)}

    def load_one(self, key: RecordKey) -> Record | None:
        """Look a record up."""
        self.read_units += 1
        return self.stored.get(key)

    def save(self, record: Any, expected_version: int) -> Any:
        """Write a record, if nobody has meanwhile."""
        stored = self.stored.get(record.key)
        if (stored.version if stored is not None else 0) != expected_version:
            raise ConflictError(f"the record of {record.key} was changed")
        self.writes += 2  # of more than 1 KB
        saved = self.stored[record.key] = record.with_changes(version=expected_version + 1)
        return saved

    def scan(self) -> Iterator[Record]:
        """Read everything."""
        return iter(list(self.stored.values()))

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the heartbeat."""
        return self.heartbeat

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write the heartbeat."""
        self.writes += 1
        self.heartbeat = heartbeat


class _Waiting:
    """Implements `pullahead.refresh.ports.WaitingRefreshes` by sorted lines."""

    def __init__(self) -> None:
        self.lines: dict[str, list[tuple[str, str]]] = {}
        self.refreshes: dict[MirrorKey, WaitingRefresh] = {}
        self._remembered: set[str] = set()
        self.writes = 0

    def add(self, request: RefreshRequest) -> None:
        mirror = MirrorKey(request.repository, request.tag)
        if mirror in self.refreshes:
            self.remove(self.refreshes[mirror])
        self.writes += 2
        since = request.stale_since.astimezone(UTC).isoformat(timespec="microseconds")
        self.refreshes[mirror] = WaitingRefresh(mirror, request.name, since, request)
        bisect.insort(self.lines.setdefault(request.host, []), (since, str(mirror)))

    def hosts(self) -> frozenset[str]:
        return frozenset(self._remembered)

    def remember(self, host: str) -> None:
        self._remembered.add(host)

    def forget(self, host: str) -> None:
        self._remembered.discard(host)

    def oldest_first(self, host: str, page: int) -> Iterator[WaitingRefresh]:
        line = list(self.lines.get(host, ())[: 40 * page])
        return (self.refreshes[key] for _, name in line if (key := MirrorKey.parse(name)) in self.refreshes)

    def remove(self, refresh: WaitingRefresh) -> None:
        known = self.refreshes.get(refresh.mirror)
        if known is not None and known.name == refresh.name and known.request is not None:
            self.writes += 2
            del self.refreshes[refresh.mirror]
            line = self.lines[known.request.host]
            line.pop(bisect.bisect_left(line, (known.since, str(refresh.mirror))))

    def count(self, host: str) -> int:
        return len(self.lines.get(host, ()))


class _Slots:
    """Implements `pullahead.refresh.ports.RefreshSlots`."""

    def __init__(self) -> None:
        self.held: dict[str, Slot] = {}
        self.writes = 0

    def taken(self) -> Mapping[str, int]:
        return Counter(slot.host for slot in self.held.values())

    def recount(self) -> None:
        """They are counted each time."""

    def oldest(self, most: int) -> Sequence[Slot]:
        return sorted(self.held.values(), key=lambda slot: slot.until)[:most]

    def take(self, slot: Slot, now: datetime, limits: SlotLimits) -> SlotResult:
        current = self.held.get(slot.name)
        if current is not None and current.until > now:
            return SlotResult.ALREADY_TAKEN
        if current is None and len(self.held) >= limits.slots:
            return SlotResult.FULL
        if current is None and self.taken().get(slot.host, 0) >= limits.of_one_host:
            return SlotResult.HOST_FULL
        self.writes += 4  # two items in a transaction
        self.held[slot.name] = slot
        return SlotResult.TAKEN

    def renew(self, slot: Slot, until: datetime) -> None:
        self.held[slot.name] = slot._replace(until=until)

    def release(self, name: str, _before: datetime | None = None) -> None:
        if self.held.pop(name, None) is not None:
            self.writes += 4


class _Windows:
    """Implements `pullahead.checks.ports.EventWindows`."""

    def __init__(self) -> None:
        self._open: dict[RecordKey, tuple[datetime, int]] = {}

    def claim(self, key: RecordKey, now: datetime) -> WindowClaim:
        begun, count = self._open.get(key, (now, 0))
        if now - begun >= EVENT_WINDOW:
            begun, count = now, 0
        self._open[key] = begun, count + 1
        if count == 0:
            return WindowClaim(WindowDecision.RUN_NOW)
        left = int((begun + EVENT_WINDOW - now).total_seconds())
        return WindowClaim(WindowDecision.RUN_LATER, left) if count == 1 else WindowClaim(WindowDecision.DROP)

    def release(self, key: RecordKey, now: datetime) -> None:
        begun, count = self._open.get(key, (now, 1))
        self._open[key] = begun, count - 1


class _Bus:
    """Implements `pullahead.mirrors.outbox.OutcomeEventBus`."""

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        """Send nothing."""


class _NoReplications:
    def note(self, repository: str, source: str, at: datetime) -> None:
        """Remember nothing."""

    def source_of(self, _repository: str, _now: datetime) -> str:
        return ""


class _Handler(MessageHandler):
    """The real handler, which asks in simulated time."""

    def make_pool(self, backoffs: Backoffs, remaining_seconds: RemainingSeconds) -> UpstreamPool:
        clock = cast("SimulatedClock", self._clock)
        asking = AskingInTurn(clock, CPU_OF_CHECK_SECONDS)
        return UpstreamPool(clock, backoffs, remaining_seconds, clock.sleep, asking)


class _Worker:
    """A process of check_freshness."""

    def __init__(self, handler: MessageHandler) -> None:
        self.handler, self.free_at, self.is_cold = handler, 0.0, True


class Settings(NamedTuple):
    """The settings of the template that matter here."""

    concurrency: int = ASSUMED.concurrency
    max_refreshes: int = 20
    refresh_seconds: tuple[float, float] = (10.0, 40.0)


class Used(NamedTuple):
    """What was used of AWS while it was measured, and how busy the functions were."""

    seconds: float
    invocations: int
    busy_seconds: float
    messages: int
    describe_images: int
    read_units: float
    write_units: float
    refreshes: int
    queue_p99: int
    queue_max: int


class SimulatedService:
    """The queue, the functions and the state machine, event by event."""

    def __init__(self, rules: Rules, world: SimulatedWorld, settings: Settings) -> None:
        self.rules, self.world, self.settings, self.clock = rules, world, settings, SimulatedClock()
        self.records, self.slots, self.waiting = SimulatedRecords(), _Slots(), _Waiting()
        self.published: dict[str, dict[str, Digest]] = {}
        self.running: dict[str, RefreshRequest] = {}
        self.finished_at: dict[str, float] = {}  # the last refresh of each mirror, by the text of its key
        self.moved_at: dict[str, float] = {}
        self._events: list[tuple[float, int, str, Any]] = []
        self._number = 0
        self._visible: deque[Queued] = deque()
        self._store = cast("RecordStore", self.records)  # as far as checks and refreshes need it: nothing is reviewed
        self._sender = OutboxSender(self._store, _Bus(), self.clock)
        self._windows = _Windows()
        self._workers = [_Worker(self._handler()) for _ in range(settings.concurrency)]
        self._depths: list[int] = []
        self._invocations = self._messages = self._describes = self._refreshes = 0
        self._busy = 0.0
        self._counted_from = (0, 0.0)  # writes and read units before the measure

    def begin_fresh(self) -> None:
        """Let every mirror be fresh, and the schedule have run just before."""
        now = self.clock()
        for mirror in self.rules.mirrors:
            digest = self.world.digest(str(mirror.upstream), 0)
            record = MirrorRecord(mirror.key, str(mirror.upstream), State.FRESH, now, version=1)
            self.records.stored[mirror.key] = record.with_changes(upstream_digest=digest, published_digest=digest)
            self.published.setdefault(mirror.repository, {})[mirror.tag] = digest
        self.records.heartbeat = Heartbeat(now, self.rules.digest, SCHEME)

    def at(self, seconds: float, kind: str, about: Any = None) -> None:
        """Let something happen."""
        self._number += 1
        heapq.heappush(self._events, (seconds, self._number, kind, about))

    def run(self, until: float, measured_from: float) -> Used:
        """Run from the start until so many seconds after it; measure from a moment on."""
        self.world.measured_from = START + measured_from
        for kind, first, every in (("schedule", 1.0, _SCHEDULE_SECONDS), ("sample", measured_from, 10.0)):
            for number in range(int((until - first) / every) + 1):
                self.at(START + first + number * every, kind)
        self.at(START + measured_from, "measure")
        while self._events and self._events[0][0] < START + until:
            seconds, _, kind, about = heapq.heappop(self._events)
            self.clock.seconds = seconds
            getattr(self, f"_on_{kind}")(about)
            self._dispatch(seconds)
        return self._used(until - measured_from)

    # --- events -----------------------------------------------------------------------------------------------------

    def _on_schedule(self, _about: None) -> None:
        schedule_checks(self.rules, self._store, self, self.clock())

    def _on_visible(self, message: Queued) -> None:
        self._visible.append(message)

    def _on_free(self, _about: None) -> None:
        """Let a process take more."""

    def _on_sample(self, _about: None) -> None:
        self._depths.append(len(self._visible))

    def _on_measure(self, _about: None) -> None:
        self._invocations = self._messages = self._describes = self._refreshes = 0
        self._busy = 0.0
        self._counted_from = (self._writes(), self.records.read_units)

    def _on_move(self, about: tuple[MirrorKey, str, bool]) -> None:
        key, reference, by_event = about
        self.world.move(reference, self.clock.seconds, by_event=by_event)
        self.moved_at[str(key)] = self.clock.seconds
        if by_event:
            asked = CheckRequest("webhook", key.repository, (key.tag,), self.clock())
            self.at(self.clock.seconds + 2.0, "visible", asked)

    def _on_ended(self, request: RefreshRequest) -> None:
        key = MirrorKey(request.repository, request.tag)
        self.running.pop(request.name, None)
        self._refreshes += 1
        self.published.setdefault(request.repository, {})[request.tag] = request.root.digest
        self.finished_at[str(key)] = self.clock.seconds
        moved_at = self.moved_at.get(str(key))
        if moved_at is not None and self.clock.seconds >= self.world.measured_from:
            self.world.seen[request.host].refresh_lags.append(self.clock.seconds - moved_at)
        outcome = OutcomeRequest(request, request.name, self.clock(), PublishResult(request.root.digest))
        record_outcome(outcome, self.rules, self._store, self._sender, self.clock, never_cached)
        self.at(self.clock.seconds + 0.5, "visible", StartWaitingRequest(ended=request.name))

    # --- functions --------------------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        while self._visible:
            worker = next((worker for worker in self._workers if worker.free_at <= now), None)
            if worker is None:
                return
            some = [self._visible.popleft() for _ in range(min(_ONE_BATCH, len(self._visible)))]
            self._invoke(worker, some, now)

    def _invoke(self, worker: _Worker, messages: Sequence[Queued], now: float) -> None:
        self.clock.seconds = now + ASSUMED.batch_seconds
        ends = now + TIMEOUT_SECONDS
        outcomes = worker.handler(messages, lambda: ends - self.clock.seconds)
        for message, outcome in zip(messages, outcomes, strict=True):
            if outcome.error is not None:
                raise outcome.error
            if any(getattr(result, "error", None) is not None for result in outcome.results):
                self.at(self.clock.seconds + 720.0, "visible", message)
        worker.free_at = self.clock.seconds + (COLD_START_SECONDS if worker.is_cold else 0.0)
        worker.is_cold = False
        self.at(worker.free_at, "free")
        self._invocations += 1
        self._messages += len(messages)
        self._busy += worker.free_at - now

    def _handler(self) -> MessageHandler:
        upstream = SimulatedUpstream(self.world, self.clock, self.rules.settings_of)
        queue = RefreshQueue(
            lambda _moment: self.rules, self.slots, self.waiting, self, self._store, self.clock,
            self.settings.max_refreshes,
        )  # fmt: skip
        asked = cast("Upstream", upstream)
        ports = CheckPorts(
            asked, self._published_digests, self._store, queue.start, self._sender, self.clock, upstream.quota,
            queue_looks=self.send, replications=_NoReplications(), head_seconds=20.0,
        )  # fmt: skip
        select = MirrorSelector(CheckMerger(self._windows, self, self.clock))
        check = CheckMirrors(lambda: self.rules, ports, select)
        listing = ListTags(lambda: self.rules, asked, self._store, self, self.clock)
        source = cast("CopySource", upstream)
        looks = LookForReferrers(lambda: self.rules, source, self._store, queue.start, self._sender, self.clock)
        return _Handler(
            lambda _moment: None, self._store, check, listing, looks, queue, lambda _scan, _read: (), self, self.clock
        )

    def send(self, requests: Sequence[Queued], delay_seconds: int = 0) -> None:
        """Implement `pullahead.checks.ports.CheckQueue`."""
        for request in requests:
            self.at(self.clock.seconds + delay_seconds, "visible", request)

    def start(self, request: RefreshRequest) -> StartResult:
        """Implement `pullahead.refresh.ports.RefreshExecutions`: refreshes take some seconds."""
        if request.name not in self.running:
            self.running[request.name] = request
            self.at(self.clock.seconds + self.world.random.uniform(*self.settings.refresh_seconds), "ended", request)
        return StartResult.STARTED

    def state_of(self, name: str) -> StartResult | None:
        """Tell whether a refresh runs."""
        return StartResult.RUNNING if name in self.running else None

    def is_running(self, name: str) -> bool:
        """Tell whether a refresh runs."""
        return name in self.running

    def _published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        self._describes += 1
        self.clock.sleep(ASSUMED.message_seconds)
        here = self.published.get(repository, {})
        return {tag: here[tag] for tag in tags if tag in here}

    # --- measures ---------------------------------------------------------------------------------------------------

    def _writes(self) -> int:
        return self.records.writes + self.waiting.writes + self.slots.writes + self.world.writes

    def _used(self, seconds: float) -> Used:
        depths = sorted(self._depths)
        return Used(
            seconds,
            self._invocations,
            self._busy,
            self._messages,
            self._describes,
            self.records.read_units - self._counted_from[1],
            self._writes() - self._counted_from[0],
            self._refreshes,
            depths[int(0.99 * (len(depths) - 1))],
            depths[-1],
        )
