"""The full scan of all records, a segment in each review: retire what no rule needs, and check the index of reviews.

A segment ends after so many records, or when time runs short; the next one goes on where it ended. What could not be
retired for want of time comes first then. While no record is found that the rules follow, nothing is retired: more
likely the rules are wrong. What was met until then is retired by a second scan, if the first found such a record.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple

from msgspec import structs

from pullahead.errors import ConflictError, PullaheadError
from pullahead.mirrors.record import Record, State
from pullahead.mirrors.record_scan import RecordScan, ScanState
from pullahead.mirrors.retirement import Need, NeedFinder, retired
from pullahead.mirrors.store import DamagedRecord, NewerRecord, RecordStore, ScannedRecord, update_record

MAX_SEGMENT: Final = 20_000
"""Records of one review: 100,000 are scanned within five."""
MAX_RETIRED: Final = 1000
"""Of one review; the others follow with the next ones."""

_AT_ONCE: Final = 500  # records that are held at a time
_THREADS: Final = 16  # as many connections as the DynamoDB client keeps
_RESERVED_SECONDS: Final = 20.0  # for the writes that are running when the time ends, and for the response
_SEGMENT_SECONDS: Final = 60.0  # without so much, nothing more is read


class Retirement(NamedTuple):
    """By what a scan retires records: the rules, their digest, and which records are too new to be judged."""

    need: NeedFinder
    rules_digest: str
    is_too_new: Callable[[Record], bool]


class Segment(NamedTuple):
    """What one segment did; `errors` stopped nothing else, but the last one may have ended it."""

    state: ScanState
    records: int = 0
    retired: int = 0
    repaired: int = 0
    errors: tuple[PullaheadError, ...] = ()


def scan_segment(
    records: RecordStore,
    state: ScanState,
    retirement: Retirement | None,
    now: datetime,
    remaining_seconds: Callable[[], float],
) -> Segment:
    """Scan one segment if one is due, and store how far the scan is. Without `retirement`, nothing is retired."""
    digest = retirement.rules_digest if retirement is not None else ""
    if not state.is_due(digest, now) or remaining_seconds() < _SEGMENT_SECONDS:
        return Segment(state)
    scan = state.next_segment(digest, now)
    by = retirement if retirement is not None and scan.rules_digest == digest else None
    scanning = _Scanning(records, scan, by, now, remaining_seconds, found_followed=state.found_followed(digest))
    try:
        scanning.run()
    except PullaheadError as error:
        scanning.errors.append(error)
    scan = scanning.scan
    after = ScanState(scan, state.last) if scan.ended_at is None else ScanState(None, scan)
    try:
        records.save_scan_state(after)
    except PullaheadError as error:
        scanning.errors.append(error)
        after = state
    return Segment(after, scanning.read, scanning.retired, scanning.repaired, tuple(scanning.errors))


class _Scanning:
    """One segment, while it runs."""

    def __init__(
        self,
        records: RecordStore,
        scan: RecordScan,
        retirement: Retirement | None,
        now: datetime,
        remaining_seconds: Callable[[], float],
        *,
        found_followed: bool,
    ) -> None:
        self._records, self._retirement, self._now = records, retirement, now
        self._remaining_seconds, self._found_followed = remaining_seconds, found_followed
        self.scan, self.read, self.retired, self.repaired = scan, 0, 0, 0
        self.errors: list[PullaheadError] = []

    def run(self) -> None:
        entries = self._records.scan_after(self.scan.position)
        while self.read < MAX_SEGMENT and self._remaining_seconds() >= _SEGMENT_SECONDS:
            some = list(islice(entries, _AT_ONCE))
            if not some:
                self.scan = structs.replace(self.scan, position="", ended_at=self._now)
                return
            if not self._handle(some):
                return

    def _handle(self, entries: Sequence[ScannedRecord]) -> bool:
        """Retire and repair some records, and count them; return whether all of them are done."""
        needs = self._needs_of(entries)
        unneeded = [at for at, need in enumerate(needs) if need in (Need.UNNAMED, Need.UNUSED)]
        retires = self._found_followed or self.scan.followed > 0 or Need.FOLLOWED in needs
        if not retires:
            unneeded = []
        chosen = unneeded[: MAX_RETIRED - self.retired]
        of_retired = self._each(chosen, lambda at: self._retire(entries[at].record, needs[at]))
        broken = sorted({at for at, entry in enumerate(entries) if not entry.well_indexed} - set(unneeded))
        of_repaired = self._each(broken, lambda at: self._repair(entries[at].record))
        results = {**of_retired, **of_repaired}
        left = [*unneeded[len(chosen) :], *(at for at, result in results.items() if result is None)]
        done = min(left, default=len(entries))
        errors = [result for result in results.values() if isinstance(result, PullaheadError)]
        repaired = sum(result is True for result in of_repaired.values())
        self.errors += errors
        self.retired += sum(result is True for result in of_retired.values())
        self.repaired += repaired
        self.read += done
        counted = _counted(self.scan, entries[:done], needs[:done], keeps=not retires)
        self.scan = structs.replace(counted, again=counted.again + len(errors), repaired=counted.repaired + repaired)
        return done == len(entries)

    def _needs_of(self, entries: Sequence[ScannedRecord]) -> list[Need | None]:
        """Judge the records that may be retired; None: it is not judged, or is retired already."""
        judged, by = dict[int, Record](), self._retirement
        if by is not None:
            for at, (_, record, _) in enumerate(entries):
                if isinstance(record, Record) and record.expires_at is None and not by.is_too_new(record):
                    judged[at] = record
        needs = dict(zip(judged, by.need(list(judged.values())), strict=True)) if by is not None else {}
        return [needs.get(at) for at in range(len(entries))]

    def _each(self, places: Sequence[int], work: Callable[[int], bool]) -> dict[int, bool | PullaheadError | None]:
        """Do something at several places at once; None: there was no time for it."""

        def one(at: int) -> bool | PullaheadError | None:
            if self._remaining_seconds() < _RESERVED_SECONDS:
                return None
            try:
                return work(at)
            except PullaheadError as error:
                return error

        if not places:
            return {}
        with ThreadPoolExecutor(min(_THREADS, len(places))) as pool:
            return dict(zip(places, pool.map(one, places), strict=True))

    def _retire(self, record: Record | NewerRecord | DamagedRecord, need: Need | None) -> bool:
        if not isinstance(record, Record):
            return False

        def change(known: Record | None) -> Record | None:
            if known is None or known.expires_at is not None:
                return known
            return retired(known, self._now, alerted=need is Need.UNNAMED)

        after = update_record(self._records, record.key, change, record)
        return after is not None and after.expires_at is not None

    def _repair(self, record: Record | NewerRecord | DamagedRecord) -> bool:
        if not isinstance(record, Record):
            return False
        try:
            self._records.save(record, record.version)
        except ConflictError:
            return False  # whoever wrote it meanwhile has put it into the index
        return True


def _counted(
    scan: RecordScan, entries: Sequence[ScannedRecord], needs: Sequence[Need | None], *, keeps: bool
) -> RecordScan:
    """Count records that are done. `keeps`: what no rule needs is kept for now."""
    records = [entry.record for entry in entries if isinstance(entry.record, Record)]
    active = [record for record in records if record.expires_at is None]
    judged = [need for need in needs if need is not None]
    kept = [need for need in judged if need is not Need.FOLLOWED] if keeps else []
    return structs.replace(
        scan,
        position=entries[-1].position if entries else scan.position,
        records=scan.records + len(active),
        fresh=scan.fresh + sum(record.state is State.FRESH for record in active),
        deleted=scan.deleted + sum(record.state is State.DELETED for record in active),
        followed=scan.followed + judged.count(Need.FOLLOWED),
        unfollowed=scan.unfollowed + kept.count(Need.UNNAMED),
        deferred=scan.deferred + len(kept),
        again=scan.again + (len(active) - len(judged) if scan.rules_digest else 0),  # too new to be judged
        newer=scan.newer + len(entries) - len(records),
    )
