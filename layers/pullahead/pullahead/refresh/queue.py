"""Admit refreshes: so many at once and no more, the longest stale mirror first; the others wait in a line.

Whoever dies between two steps loses nothing: an entry leaves the line last, a slot runs out by itself, and starting the
same refresh again is no second one. Reads of the line may be a moment old; what that can cost is order, and a wait
until the next refresh ends or the next schedule, never a refresh more than is allowed.
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

SLOT_FOR: Final = timedelta(minutes=15)
"""After so long somebody looks whether the holder of a slot still runs. Its end is told much earlier, as a rule."""

MAX_LOOKS: Final = 1000
"""Entries of the line that one call goes through, those that are dropped included."""

_PAGE: Final = 25
_BUSY_FOR: Final = timedelta(seconds=5)


RulesAsOf = Callable[[datetime], Rules]
"""The rules in force, those of this moment or younger ones."""


class StartedWaiting(NamedTuple):
    """What a look at the line came to: which mirrors' refreshes were started, which entries dropped and why, which
    slots had run out, and how many are held now. `waiting`: how many wait, where that was counted."""

    started: tuple[MirrorKey, ...] = ()
    dropped: tuple[str, ...] = ()
    freed: tuple[str, ...] = ()
    running: int = 0
    waiting: int | None = None
    error: None = None

    @property
    def changed(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.started or self.dropped or self.freed)


class _Found(NamedTuple):
    """What became of one entry: it was started, or dropped for a reason, or no slot was left for it."""

    started: bool = False
    dropped: str | None = None
    full: bool = False


class RefreshQueue:
    """Satisfies `pullahead.ports.StartsRefreshes`. Whoever is told WAITING calls `fill` when all are asked for."""

    def __init__(
        self,
        rules: RulesAsOf,
        slots: RefreshSlots,
        line: WaitingRefreshes,
        refreshes: RefreshExecutions,
        records: RecordStore,
        clock: Clock,
        at_most: int,
    ) -> None:
        self._rules, self._slots, self._line, self._refreshes = rules, slots, line, refreshes
        self._records, self._clock, self._at_most = records, clock, at_most
        self._busy_until: datetime | None = None

    def start(self, request: RefreshRequest) -> StartResult:
        """Start a refresh at once where nobody waits and a slot is free; else let it wait. Raises: StorageError."""
        if self._nobody_waits() and self._take(request.name) is not SlotResult.FULL:
            return self._begin(request)
        self._busy_until = self._clock() + _BUSY_FOR  # for a while nobody need ask again: the line tells the order
        self._line.add(request)
        return StartResult.WAITING

    def start_waiting(self, ended: str = "", *, count: bool = False) -> StartedWaiting:
        """Free the slot of an execution that has ended, if one has, and start what waits for as long as slots are free.

        Raises: StorageError, ConfigError; what was started until then stays so.
        """
        if ended:
            self._slots.release(ended)
        held = self._slots.holders()
        freed = tuple(self._free(held))
        started, dropped = self._admit(self._at_most - len(held) + len(freed))
        waiting = self._line.count() if count else None
        return StartedWaiting(started, dropped, freed, len(held) - len(freed) + len(started), waiting)

    def _nobody_waits(self) -> bool:
        if self._busy_until is not None and self._clock() < self._busy_until:
            return False
        return next(self._line.oldest_first(1), None) is None

    def _take(self, name: str) -> SlotResult:
        now = self._clock()
        return self._slots.take(name, now, now + SLOT_FOR, self._at_most)

    def _begin(self, request: RefreshRequest) -> StartResult:
        """Start what has a slot; a slot of what does not run is freed again."""
        try:
            started = self._refreshes.start(request)
        except StorageError:
            self._slots.release(request.name)  # who asks again gets the slot again, should it run after all
            raise
        if started in (StartResult.SUCCEEDED, StartResult.ENDED):
            self._slots.release(request.name)
        return started

    def _free(self, held: Mapping[str, datetime]) -> Iterator[str]:
        """Free the slots whose time is over and whose refresh does not run; name them."""
        now = self._clock()
        for name, until in sorted(held.items(), key=lambda slot: slot[1])[:_PAGE]:
            if until > now:
                return
            if self._refreshes.is_running(name):
                self._slots.renew(name, until, now + SLOT_FOR)
            else:
                self._slots.release(name, until)
                yield name

    def _admit(self, free: int) -> tuple[tuple[MirrorKey, ...], tuple[str, ...]]:
        """Start what waits, the longest stale first, until no slot is free."""
        started: list[MirrorKey] = []
        dropped: list[str] = []
        entries = islice(self._line.oldest_first(min(max(free, 1), _PAGE)), MAX_LOOKS)
        while free > len(started) and (page := list(islice(entries, min(free - len(started), _PAGE)))):
            for entry, found in self._work_through(page):
                if found.full:
                    return tuple(started), tuple(dropped)
                started += [entry.mirror] if found.started else []
                dropped += [f"{entry.mirror}: {found.dropped}"] if found.dropped is not None else []
        return tuple(started), tuple(dropped)

    def _work_through(self, page: Iterable[WaitingRefresh]) -> Iterator[tuple[WaitingRefresh, _Found]]:
        known = self._records.load([entry.mirror for entry in page])
        for entry in page:
            found = self._admit_one(entry, known.get(entry.mirror))
            if not found.full:
                self._line.remove(entry)
            yield entry, found

    def _admit_one(self, entry: WaitingRefresh, record: MirrorRecord | None) -> _Found:
        request = entry.request
        if request is None:
            return _Found(dropped="its entry cannot be read by this version")
        if record is None or not _is_wanted(request, record, self._clock()):
            return _Found(dropped="this refresh is not wanted any more")
        if not _may_start(request, self._rules(request.stale_since)):
            return _Found(dropped="no rule follows it any more, or the rule is paused")
        if self._take(request.name) is SlotResult.FULL:
            return _Found(full=True)
        if self._begin(request) not in (StartResult.SUCCEEDED, StartResult.ENDED):
            return _Found(started=True)
        self._note_abort(request, record)
        return _Found(dropped="it ended without a lasting outcome; tried again later")

    def _note_abort(self, request: RefreshRequest, record: MirrorRecord) -> None:
        try:
            self._records.save(after_abort(record, request.root.digest, self._clock()), record.version)
        except ConflictError:
            return  # somebody knows better by now, and the next check goes by that


def _is_wanted(request: RefreshRequest, record: MirrorRecord, now: datetime) -> bool:
    """Whether a check would ask for the very same refresh now."""
    asked = (request.root.digest, request.episode, request.platforms)
    return wants_refresh(record, now) and (record.upstream_digest, record.episode, record.platforms) == asked


def _may_start(request: RefreshRequest, rules: Rules) -> bool:
    mirror = rules.find(request.repository, request.tag)
    return mirror is not None and mirror.rule not in rules.paused
