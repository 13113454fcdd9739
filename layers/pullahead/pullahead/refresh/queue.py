"""Limit how many refreshes run at once; the others wait in a queue, the longest stale mirror first.

Each upstream registry that has something to copy may run an equal share of them; what is left over goes by age. Where
the rules name several, none ever takes all slots, so one that trickles bytes holds up no mirrors but its own.

A process that is killed between two steps loses nothing: a refresh is removed from the queue last, a slot expires by
itself, and a refresh that is started twice runs once. Reads of the queue may be a moment old; that can cost order, or
a wait until another refresh ends or the next schedule, but never starts more refreshes than allowed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pullahead.clock import Clock
from pullahead.errors import ConflictError, StorageError
from pullahead.messages import RefreshRequest
from pullahead.mirrors.admission import is_ahead
from pullahead.mirrors.judge import wants_refresh
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.refresh_outcome import after_abort
from pullahead.mirrors.store import RecordStore
from pullahead.mirrors.stored_form import newer_of
from pullahead.refresh.ports import (
    RefreshExecutions,
    RefreshSlots,
    Slot,
    SlotLimits,
    SlotResult,
    StartResult,
    WaitingRefresh,
    WaitingRefreshes,
)
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import NewlyCached, Rules, never_cached

SLOT_DURATION: Final = timedelta(minutes=15)
"""After this time it is checked whether the holder of a slot still runs; as a rule it has freed it long before."""

MAX_EXAMINED: Final = 1000
"""Waiting refreshes that one call examines, those that it drops included."""

_PAGE: Final = 25
_ASSUMED_FULL_FOR: Final = timedelta(seconds=5)
_ASSUMED_REMEMBERED_FOR: Final = timedelta(minutes=1)
_RESERVED_SHARE: Final = 4  # a quarter of the slots is for other registries than the one that takes the most
_ALL_HOSTS: Final = ""  # version 0.1 had one line for all

RulesAsOf = Callable[[datetime], Rules]
"""Returns the current rules, at least as recent as the given time."""


class StartedWaiting(NamedTuple):
    """The mirrors whose refreshes were started, those that were dropped with the reason, the slots that had expired,
    and how many refreshes run now. `waiting` is set where it was counted. `more`: so many were dropped that others were
    not examined, though slots may be free for them: call again."""

    started: tuple[MirrorKey, ...] = ()
    dropped: tuple[str, ...] = ()
    freed: tuple[str, ...] = ()
    running: int = 0
    waiting: int | None = None
    more: bool = False
    error: None = None

    @property
    def changed(self) -> bool:
        """Return whether there is anything to report."""
        return bool(self.started or self.dropped or self.freed)


class _Examined(NamedTuple):
    """What became of a waiting refresh: it was started, or dropped for a reason, or no slot is free for it, or it is
    left to a newer version of Pullahead."""

    started: bool = False
    dropped: str | None = None
    refused: SlotResult | None = None
    left: bool = False


class RefreshQueue:
    """Starts refreshes or lets them wait. A caller that got WAITING calls `start_waiting` after its last `start`."""

    def __init__(
        self,
        rules: RulesAsOf,
        slots: RefreshSlots,
        waiting: WaitingRefreshes,
        refreshes: RefreshExecutions,
        records: RecordStore,
        clock: Clock,
        at_most: int,
        newly_cached: NewlyCached = never_cached,
    ) -> None:
        self._rules, self._slots, self._waiting, self._refreshes = rules, slots, waiting, refreshes
        self._records, self._clock, self._at_most, self._newly_cached = records, clock, at_most, newly_cached
        self._full_until: datetime | None = None
        self._remembered: dict[str, datetime] = {}

    def start(self, request: RefreshRequest) -> StartResult:
        """Start a refresh where none waits and a slot is free; else let it wait. Raises: StorageError, ConfigError."""
        if self._none_waits() and self._take(request) in (SlotResult.TAKEN, SlotResult.ALREADY_TAKEN):
            return self._start_with_slot(request)
        self._full_until = (
            self._clock() + _ASSUMED_FULL_FOR
        )  # until then new refreshes wait without a read of the queue
        self._remember(request.host)
        self._waiting.add(request)
        return StartResult.WAITING

    def start_waiting(self, ended: str = "", *, count: bool = False) -> StartedWaiting:
        """Free the slot of the execution that has `ended`, if given, and start waiting refreshes while slots are free.

        `count` also looks at lines that nobody remembers, counts, and has the counts of the slots compared with them.
        Raises: StorageError, ConfigError; refreshes that were started before stay started.
        """
        if ended:
            self._slots.release(ended)
        freed = tuple(slot.name for slot in self._free_expired())
        if count:
            self._slots.recount()
        taken = Counter(self._slots.taken())
        running = taken.total()
        lines = self._lines(complete=count) if count or running < self._at_most else frozenset()
        oldest = self._start_oldest(lines, taken) if running < self._at_most else StartedWaiting()
        waiting = sum(map(self._waiting.count, lines)) if count else None
        return oldest._replace(freed=freed, running=running + len(oldest.started), waiting=waiting)

    def _none_waits(self) -> bool:
        if self._full_until is not None and self._clock() < self._full_until:
            return False
        return not self._waiting.hosts()

    def _lines(self, *, complete: bool) -> frozenset[str]:
        """Return the hosts that have lines; where complete, also those that nobody remembers, but the rules name.

        Another process may have forgotten a host just before this one added to its line.
        """
        now = self._clock()
        remembered = self._waiting.hosts()
        known = {host for host, until in self._remembered.items() if until > now}
        if complete:
            known |= self._rules(now).hosts | {_ALL_HOSTS}
        found = {host for host in known - remembered if next(self._waiting.oldest_first(host, 1), None) is not None}
        for host in found:
            self._waiting.remember(host)
        return remembered | found

    def _remember(self, host: str) -> None:
        now = self._clock()
        if self._remembered.get(host, now) <= now:
            self._waiting.remember(host)
            self._remembered[host] = now + _ASSUMED_REMEMBERED_FOR

    def _take(self, request: RefreshRequest) -> SlotResult:
        now = self._clock()
        has_others = len(self._rules(request.stale_since).hosts) > 1
        limits = SlotLimits(self._at_most, _most_of_one_host(self._at_most) if has_others else self._at_most)
        return self._slots.take(Slot(request.name, request.host, now + SLOT_DURATION), now, limits)

    def _start_with_slot(self, request: RefreshRequest) -> StartResult:
        """Start a refresh that has a slot, and free the slot where it does not run."""
        try:
            started = self._refreshes.start(request)
        except StorageError:
            self._slots.release(request.name)  # whoever retries takes the slot again, should it run after all
            raise
        if started in (StartResult.SUCCEEDED, StartResult.ENDED):
            self._slots.release(request.name)
        return started

    def _free_expired(self) -> Iterator[Slot]:
        """Free the expired slots whose refresh does not run, and return them."""
        now = self._clock()
        for slot in self._slots.oldest(_PAGE):
            if slot.until > now:
                return
            if self._refreshes.is_running(slot.name):
                self._slots.renew(slot, now + SLOT_DURATION)
            else:
                self._slots.release(slot.name, slot.until)
                yield slot

    def _start_oldest(self, hosts: frozenset[str], taken: Counter[str]) -> StartedWaiting:
        """Start waiting refreshes, by the shares of their registries and by age, until no slot is free."""
        started: list[MirrorKey] = []
        dropped: list[str] = []
        lines = _Lines(hosts, self._waiting, taken, self._at_most)
        while page := lines.next_ones(min(self._at_most - taken.total(), _PAGE)):
            for (line, refresh), examined in self._examine_page(page):
                if examined.refused is SlotResult.FULL:
                    return StartedWaiting(tuple(started), tuple(dropped))
                if not examined.started:
                    taken[_host_of(refresh, line)] -= 1
                if examined.refused is SlotResult.HOST_FULL:
                    lines.close(line)
                started += [refresh.mirror] if examined.started else []
                dropped += [f"{refresh.mirror}: {examined.dropped}"] if examined.dropped is not None else []
        for line in lines.found_empty:
            self._waiting.forget(line)
            self._remembered.pop(line, None)
        return StartedWaiting(tuple(started), tuple(dropped), more=bool(dropped) and lines.has_more)

    def _examine_page(
        self, page: "Sequence[tuple[str, WaitingRefresh]]"
    ) -> "Iterator[tuple[tuple[str, WaitingRefresh], _Examined]]":
        records = self._records.load([refresh.mirror for _, refresh in page])
        newer = newer_of(records)
        for line, refresh in page:
            is_left = refresh.newer or refresh.mirror in newer
            record = records.get(refresh.mirror)
            examined = _Examined(left=True) if is_left else self._examine(refresh.request, record)
            if examined.refused is None and not is_left:
                self._waiting.remove(refresh)
            yield (line, refresh), examined

    def _examine(self, request: RefreshRequest | None, record: MirrorRecord | None) -> _Examined:
        if request is None:
            return _Examined(dropped="this version cannot read the request")
        if record is None or not _is_wanted(request, record, self._clock()):
            return _Examined(dropped="the refresh is no longer needed")
        if not _may_start(request, self._rules(request.stale_since), self._newly_cached):
            return _Examined(dropped="no rule names the mirror any more, or the rule is paused or skipped")
        result = self._take(request)
        if result in (SlotResult.FULL, SlotResult.HOST_FULL):
            return _Examined(refused=result)
        if self._start_with_slot(request) not in (StartResult.SUCCEEDED, StartResult.ENDED):
            return _Examined(started=True)
        self._record_abort(request, record)
        return _Examined(dropped="the execution ended without an outcome; it is retried later")

    def _record_abort(self, request: RefreshRequest, record: MirrorRecord) -> None:
        if request.late or request.ahead:
            return  # the next look finds that it ended; what is copied ahead is copied when it is admitted, too
        try:
            self._records.save(after_abort(record, request.root.digest, self._clock()), record.version)
        except ConflictError:
            return  # the record is newer by now, and the next check goes by that


class _Lines:
    """The lines of all registries, read as far as they are needed, and which refresh is next.

    `taken` counts the slots by registry; what is chosen counts as taken.
    """

    def __init__(self, lines: frozenset[str], waiting: WaitingRefreshes, taken: Counter[str], at_most: int) -> None:
        self._taken, self._at_most, self._examined = taken, at_most, 0
        page = min(max(1, at_most - taken.total()), _PAGE)
        self._rest = {line: waiting.oldest_first(line, page) for line in sorted(lines)}
        self._heads: dict[str, WaitingRefresh] = {}
        self.found_empty = tuple(line for line in self._rest if not self._advance(line))

    def next_ones(self, count: int) -> list[tuple[str, WaitingRefresh]]:
        """Choose up to `count` refreshes; returns them with the lines that they are in."""
        chosen: list[tuple[str, WaitingRefresh]] = []
        while len(chosen) < count and self._examined < MAX_EXAMINED and (line := self._next_line()) is not None:
            refresh = self._heads[line]
            chosen.append((line, refresh))
            self._taken[_host_of(refresh, line)] += 1
            self._examined += 1
            self._advance(line)
        return chosen

    @property
    def has_more(self) -> bool:
        """Whether refreshes are left that were not examined, as there is a limit."""
        return self._examined >= MAX_EXAMINED and self._next_line() is not None

    def close(self, line: str) -> None:
        """Choose no more of a line."""
        self._heads.pop(line, None)

    def _next_line(self) -> str | None:
        """Choose the line whose first refresh is oldest, of registries below their share if there are any."""
        heads = {line: _host_of(refresh, line) for line, refresh in self._heads.items()}
        active = set(heads.values()) | {host for host, count in self._taken.items() if count}
        share = max(1, self._at_most // max(1, len(active)))
        for limit in (share, self._at_most):
            lines = [line for line, host in heads.items() if self._taken[host] < limit]
            if lines:
                return min(lines, key=lambda line: self._heads[line].since)
        return None

    def _advance(self, line: str) -> bool:
        head = next(self._rest[line], None)
        if head is None:
            self.close(line)
        else:
            self._heads[line] = head
        return head is not None


def _most_of_one_host(slots: int) -> int:
    """Return how many slots one registry may have where there are others."""
    return max(1, slots - max(1, slots // _RESERVED_SHARE))


def _host_of(refresh: WaitingRefresh, line: str) -> str:
    return refresh.request.host if refresh.request is not None else line


def _is_wanted(request: RefreshRequest, record: MirrorRecord, now: datetime) -> bool:
    """Return whether a check would request the same refresh now."""
    if request.late:  # while the mirror serves what they refer to
        return record.serves_what_it_may and record.upstream_digest == request.root.digest
    asked = (request.root.digest, request.episode, request.platforms)
    if request.ahead:
        return is_ahead(record, request.root.digest) and record.platforms == request.platforms
    return wants_refresh(record, now) and (record.upstream_digest, record.episode, record.platforms) == asked


def _may_start(request: RefreshRequest, rules: Rules, newly_cached: NewlyCached) -> bool:
    mirror = rules.find(request.repository, request.tag)
    if mirror is None:
        return newly_cached(request.repository, request.tag) is not None
    return not rules.is_inactive(mirror.rule)
