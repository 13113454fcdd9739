"""Send the events that records keep, and take them out again: at least once, and never in the way of anything else.

A bus that fails is left alone for a minute. What was not sent stays in its record, and is sent by a later check of that
mirror, or by the review of all records.

When which event about a mirror is due: derived from its record before and after a change. Pure.

An event is kept in the record from the write that makes it true until it is known to be sent, so that it cannot be
lost; it may be sent twice. How it is sent is not known here.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from msgspec import UNSET, structs

from pullahead.clock import Clock
from pullahead.errors import PullaheadError
from pullahead.mirrors.outcome_event import OutcomeDetail, OutcomeEvent, OutcomeKind, OutcomeReason, Scan
from pullahead.mirrors.record import Record, State
from pullahead.mirrors.store import RecordStore, update_record

LEFT_AFTER = timedelta(minutes=5)
"""After which whoever kept an event is taken for dead; no function that writes records runs longer."""

_MOST_KEPT = 20
"""Events of one record, where the bus takes none for long: some 20 KB."""

_SAYS_NOTHING_OF_THE_COPY = (State.UNKNOWN, State.BLOCKED)


def with_outcome_events(before: Record | None, after: Record, rule: str, now: datetime) -> Record:
    """Keep the events that a change makes due."""
    due = [
        *_refreshed(before, after, rule, now),
        *_left(before, after, rule, now),
        *_recovered(before, after, rule, now),
    ]
    return _keep(after, due) if due else after


def with_scan(record: Record, scan: Scan, rule: str, now: datetime) -> Record:
    """Remember what a scan of a digest found; its event is due if that is what ECR serves under the tag."""
    if record.scan is not None and record.scan.digest == scan.digest and record.scan.at >= scan.at:
        return record  # it came again, or late
    after = record.with_changes(scan=scan)
    if scan.digest != record.published_digest:
        return after
    return _keep(after, [_event(OutcomeKind.SCANNED, OutcomeReason.SCAN_COMPLETE, after, rule, now)])


def outcome_events_between(before: Record | None, after: Record, now: datetime) -> tuple[OutcomeEvent, ...]:
    """List what is to be sent now: what a change added, and what its writer did not live to send."""
    known = before.outbox if before is not None else ()
    return tuple(
        event for event in after.outbox if now - event.at >= LEFT_AFTER or (event not in known and not event.held)
    )


def without_sent(record: Record, sent: tuple[OutcomeEvent, ...]) -> Record:
    """Take out what was sent."""
    return record.with_changes(outbox=tuple(event for event in record.outbox if event not in sent))


def _keep(record: Record, due: list[OutcomeEvent]) -> Record:
    """Add events; one that was held back makes way for what now says more of the same."""
    said = {event.detail.digest for event in due if event.kind is OutcomeKind.REFRESHED}
    waiting = [event for event in record.outbox if not (event.held and event.detail.digest in said)]
    kept = [*waiting, *due]
    given_up, kept = kept[:-_MOST_KEPT], kept[-_MOST_KEPT:]
    if given_up:
        count = len(given_up) + sum(event.detail.events_given_up or 0 for event in given_up)
        kept[0] = _after_lost(kept[0], count)
    return record.with_changes(outbox=tuple(kept))


def _after_lost(event: OutcomeEvent, count: int) -> OutcomeEvent:
    total = count + (event.detail.events_given_up or 0)
    return structs.replace(event, detail=structs.replace(event.detail, events_given_up=total))


def _refreshed(before: Record | None, after: Record, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
    last, known = after.last_refresh, before.last_refresh if before is not None else None
    if last is not None and (known is None or known.execution != last.execution):
        yield _event(
            OutcomeKind.REFRESHED,
            _why_refreshed(before, after),
            after,
            rule,
            now,
            since=last.ended_at - timedelta(seconds=last.lag_seconds),
            lag_seconds=last.lag_seconds,
            duration_seconds=last.seconds,
            bytes_copied=last.bytes_copied,
            execution=last.execution,
        )
    elif before is not None and after.state is State.FRESH and before.published_digest != after.published_digest:
        # Mostly a check that came between the end of a refresh and its record, which says more: let that come first.
        event = _event(OutcomeKind.REFRESHED, OutcomeReason.FOUND_PUBLISHED, after, rule, now, **_span(before, now))
        yield structs.replace(event, held=True)


def _why_refreshed(before: Record | None, after: Record) -> OutcomeReason:
    if before is None or (before.last_refresh is None and after.previous_digest is None):
        return OutcomeReason.FIRST_COPY
    last, made = before.last_refresh, before.filtered
    if last is not None and last.digest == after.published_digest:
        return OutcomeReason.RESTORED
    if made is not None and made.upstream_digest == after.upstream_digest:
        return OutcomeReason.PLATFORMS_CHANGED
    return OutcomeReason.UPSTREAM_MOVED


def _left(before: Record | None, after: Record, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
    """Say that a mirror fell behind, or is gone; once, though it may not be known, or blocked, in between."""
    was = _last_standing(before)
    if after.state is State.GONE and was is not State.GONE:
        yield _event(OutcomeKind.GONE, OutcomeReason.GONE_UPSTREAM, after, rule, now, since=after.since)
    if _is_behind(after.state, after) and not _is_behind(was, after):
        since = after.unfresh_since or after.since
        yield _event(OutcomeKind.STALE, _why_stale(before, after), after, rule, now, since=since)


def _is_behind(state: State | None, record: Record) -> bool:
    """Whether it is STALE, or MISSING although ECR has served it: what was never copied has nothing to fall behind."""
    return state is State.STALE or (state is State.MISSING and record.previous_digest is not None)


def _last_standing(record: Record | None) -> State | None:
    """Tell how the copy stood when that was last known."""
    if record is None:
        return None
    states = (record.state, *(past.state for past in reversed(record.past)))
    return next((state for state in states if state not in _SAYS_NOTHING_OF_THE_COPY), None)


def _why_stale(before: Record | None, after: Record) -> OutcomeReason:
    if after.published_digest is None and _last_standing(before) is not State.DELETED:
        return OutcomeReason.DELETED
    if before is None or before.upstream_digest != after.upstream_digest:
        return OutcomeReason.UPSTREAM_MOVED
    if before.platforms != after.platforms:
        return OutcomeReason.PLATFORMS_CHANGED
    return OutcomeReason.OVERWRITTEN if _last_standing(before) is State.FRESH else OutcomeReason.UPSTREAM_MOVED


def _recovered(before: Record | None, after: Record, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
    if before is not None and before.alerted and before.state is not State.FRESH and after.state is State.FRESH:
        yield _event(OutcomeKind.RECOVERED, OutcomeReason.FRESH_AGAIN, after, rule, now, **_span(before, now))


def _span(before: Record, now: datetime) -> dict[str, Any]:
    """Say how long the mirror was not fresh, if it is known."""
    since = before.unfresh_since
    return {} if since is None else {"since": since, "lag_seconds": max(0.0, (now - since).total_seconds())}


def _event(
    kind: OutcomeKind, reason: OutcomeReason, record: Record, rule: str, now: datetime, **more: Any
) -> OutcomeEvent:
    repository, _, tag = record.key.rpartition(":")
    digest, scan = record.published_digest, record.scan
    detail = OutcomeDetail(
        version="1",
        id=_identity(kind, record.key, str(digest), now.isoformat()),
        mirror=record.key,
        repository=repository,
        tag=tag,
        upstream=record.upstream,
        reason=reason,
        rule=rule or UNSET,
        digest=digest or UNSET,
        previous_digest=record.previous_digest if record.previous_digest not in (None, digest) else UNSET,
        upstream_digest=record.upstream_digest or UNSET,
        platforms=record.platforms or UNSET,
        scan_findings=scan.counts if scan is not None and scan.digest == digest else UNSET,
        **more,
    )
    return OutcomeEvent(kind, now, detail)


def _identity(*parts: str) -> str:
    """Name an event, so that whoever gets it twice can tell."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


class OutcomeEventBus(Protocol):
    """Puts events where others' programs hear them."""

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        """Send events, all or error; after an error some may have been sent all the same. Raises: StorageError."""
        ...


_AT_ONCE = 10
_MOST_NOTED = 1000  # of one run: some seconds' work
_MOST_FAILURES = 20  # that are told of one run
_LEFT_ALONE_FOR = timedelta(minutes=1)


class _Due(NamedTuple):
    record: Record
    events: tuple[OutcomeEvent, ...]


class OutboxSender:
    """The events of one process. May be used by several threads."""

    def __init__(self, records: RecordStore, outcomes: OutcomeEventBus, clock: Clock) -> None:
        self._records, self._outcomes, self._clock = records, outcomes, clock
        self._noted: list[_Due] = []
        self._failures: list[PullaheadError] = []
        self._quiet_until = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def note(self, before: Record | None, after: Record) -> None:
        """Note what is to be sent of a record as it was written: what that added, and what others left behind.

        Whoever adds an event sends it, so that two that work on one mirror at once do not both send it.
        """
        events = outcome_events_between(before, after, self._clock())
        with self._lock:
            if events and len(self._noted) < _MOST_NOTED:  # what is over stays in its record
                self._noted.append(_Due(after, events))

    def flush(self) -> None:
        """Send what was noted. What fails is not raised, but told by `take_failures`."""
        with self._lock:
            noted, self._noted = self._noted, []
        if not noted or self._clock() < self._quiet_until:
            return
        for some in _by_tens(noted):
            try:
                self._outcomes.publish([event for due in some for event in due.events])
            except PullaheadError as error:
                self._quiet_until = self._clock() + _LEFT_ALONE_FOR
                self._fail(error)
                return
            for due in some:
                self._take_out(due)

    def announce(self, before: Record | None, after: Record) -> None:
        """Send what is to be sent of one record."""
        self.note(before, after)
        self.flush()

    def take_failures(self) -> list[PullaheadError]:
        """Tell what has failed since the last time, the first twenty of it."""
        with self._lock:
            taken, self._failures = self._failures, []
        return taken

    def _take_out(self, due: _Due) -> None:
        """Take out of a record what was sent; where that fails, it is sent again."""
        try:
            update_record(
                self._records, due.record.key, lambda known: known and without_sent(known, due.events), due.record
            )
        except PullaheadError as error:
            self._fail(error)

    def _fail(self, error: PullaheadError) -> None:
        with self._lock:
            if len(self._failures) < _MOST_FAILURES:
                self._failures.append(error)


def _by_tens(noted: list[_Due]) -> Iterator[list[_Due]]:
    """Split what was noted, but no record's events, so that each call to the bus is a full one."""
    some: list[_Due] = []
    for due in noted:
        if some and sum(len(each.events) for each in some) + len(due.events) > _AT_ONCE:
            yield some
            some = []
        some.append(due)
    if some:
        yield some
