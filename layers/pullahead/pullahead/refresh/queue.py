"""Limit how many refreshes run at once; the others wait in a queue, the longest stale mirror first.

A process that is killed between two steps loses nothing: a refresh is removed from the queue last, a slot expires by
itself, and a refresh that is started twice runs once. Reads of the queue may be a moment old; that can cost order, or
a wait until another refresh ends or the next schedule, but never starts more refreshes than allowed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

from pullahead.clock import Clock
from pullahead.errors import ConflictError, StorageError
from pullahead.messages import RefreshRequest
from pullahead.mirrors.judge import wants_refresh
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.refresh_outcome import after_abort
from pullahead.mirrors.store import RecordStore
from pullahead.refresh.ports import (
    RefreshExecutions,
    RefreshSlots,
    SlotResult,
    StartResult,
    WaitingRefresh,
    WaitingRefreshes,
)
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules

SLOT_DURATION: Final = timedelta(minutes=15)
"""After this time it is checked whether the holder of a slot still runs; as a rule it has freed it long before."""

MAX_EXAMINED: Final = 1000
"""Waiting refreshes that one call examines, those that it drops included."""

_PAGE: Final = 25
_ASSUMED_FULL_FOR: Final = timedelta(seconds=5)

RulesAsOf = Callable[[datetime], Rules]
"""Returns the current rules, at least as recent as the given time."""


class StartedWaiting(NamedTuple):
    """The mirrors whose refreshes were started, those that were dropped with the reason, the slots that had expired,
    and how many refreshes run now. `waiting` is set where it was counted."""

    started: tuple[MirrorKey, ...] = ()
    dropped: tuple[str, ...] = ()
    freed: tuple[str, ...] = ()
    running: int = 0
    waiting: int | None = None
    error: None = None

    @property
    def changed(self) -> bool:
        """Return whether there is anything to report."""
        return bool(self.started or self.dropped or self.freed)


class _Examined(NamedTuple):
    """What became of a waiting refresh: it was started, or dropped for a reason, or no slot is free."""

    started: bool = False
    dropped: str | None = None
    full: bool = False


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
    ) -> None:
        self._rules, self._slots, self._waiting, self._refreshes = rules, slots, waiting, refreshes
        self._records, self._clock, self._at_most = records, clock, at_most
        self._full_until: datetime | None = None

    def start(self, request: RefreshRequest) -> StartResult:
        """Start a refresh where none waits and a slot is free; else let it wait. Raises: StorageError."""
        if self._none_waits() and self._take(request.name) is not SlotResult.FULL:
            return self._start_with_slot(request)
        self._full_until = (
            self._clock() + _ASSUMED_FULL_FOR
        )  # until then new refreshes wait without a read of the queue
        self._waiting.add(request)
        return StartResult.WAITING

    def start_waiting(self, ended: str = "", *, count: bool = False) -> StartedWaiting:
        """Free the slot of the execution that has `ended`, if given, and start waiting refreshes while slots are free.

        Raises: StorageError, ConfigError; refreshes that were started before stay started.
        """
        if ended:
            self._slots.release(ended)
        holders = self._slots.holders()
        freed = tuple(self._free_expired(holders))
        started, dropped = self._start_oldest(self._at_most - len(holders) + len(freed))
        waiting = self._waiting.count() if count else None
        return StartedWaiting(started, dropped, freed, len(holders) - len(freed) + len(started), waiting)

    def _none_waits(self) -> bool:
        if self._full_until is not None and self._clock() < self._full_until:
            return False
        return next(self._waiting.oldest_first(1), None) is None

    def _take(self, name: str) -> SlotResult:
        now = self._clock()
        return self._slots.take(name, now, now + SLOT_DURATION, self._at_most)

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

    def _free_expired(self, holders: Mapping[str, datetime]) -> Iterator[str]:
        """Free the expired slots whose refresh does not run, and return their names."""
        now = self._clock()
        for name, until in sorted(holders.items(), key=lambda slot: slot[1])[:_PAGE]:
            if until > now:
                return
            if self._refreshes.is_running(name):
                self._slots.renew(name, until, now + SLOT_DURATION)
            else:
                self._slots.release(name, until)
                yield name

    def _start_oldest(self, free: int) -> tuple[tuple[MirrorKey, ...], tuple[str, ...]]:
        """Start waiting refreshes, the longest stale first, until no slot is free."""
        started: list[MirrorKey] = []
        dropped: list[str] = []
        oldest = islice(self._waiting.oldest_first(min(max(free, 1), _PAGE)), MAX_EXAMINED)
        while free > len(started) and (page := list(islice(oldest, min(free - len(started), _PAGE)))):
            for refresh, examined in self._examine_page(page):
                if examined.full:
                    return tuple(started), tuple(dropped)
                started += [refresh.mirror] if examined.started else []
                dropped += [f"{refresh.mirror}: {examined.dropped}"] if examined.dropped is not None else []
        return tuple(started), tuple(dropped)

    def _examine_page(self, page: Iterable[WaitingRefresh]) -> Iterator[tuple[WaitingRefresh, _Examined]]:
        records = self._records.load([refresh.mirror for refresh in page])
        for refresh in page:
            examined = self._examine(refresh.request, records.get(refresh.mirror))
            if not examined.full:
                self._waiting.remove(refresh)
            yield refresh, examined

    def _examine(self, request: RefreshRequest | None, record: MirrorRecord | None) -> _Examined:
        if request is None:
            return _Examined(dropped="this version cannot read the request")
        if record is None or not _is_wanted(request, record, self._clock()):
            return _Examined(dropped="the refresh is no longer needed")
        if not _may_start(request, self._rules(request.stale_since)):
            return _Examined(dropped="no rule names the mirror any more, or the rule is paused")
        if self._take(request.name) is SlotResult.FULL:
            return _Examined(full=True)
        if self._start_with_slot(request) not in (StartResult.SUCCEEDED, StartResult.ENDED):
            return _Examined(started=True)
        self._record_abort(request, record)
        return _Examined(dropped="the execution ended without an outcome; it is retried later")

    def _record_abort(self, request: RefreshRequest, record: MirrorRecord) -> None:
        try:
            self._records.save(after_abort(record, request.root.digest, self._clock()), record.version)
        except ConflictError:
            return  # the record is newer by now, and the next check goes by that


def _is_wanted(request: RefreshRequest, record: MirrorRecord, now: datetime) -> bool:
    """Return whether a check would request the same refresh now."""
    asked = (request.root.digest, request.episode, request.platforms)
    return wants_refresh(record, now) and (record.upstream_digest, record.episode, record.platforms) == asked


def _may_start(request: RefreshRequest, rules: Rules) -> bool:
    mirror = rules.find(request.repository, request.tag)
    return mirror is not None and mirror.rule not in rules.paused
