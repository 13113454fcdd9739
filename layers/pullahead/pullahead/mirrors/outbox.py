"""Outcome events: when one is due, and how it is sent. At least once, and never in the way of anything else.

Which events are due is derived from a record before and after a change. An event is stored in the record by the write
that makes it true and removed once it is sent, so that it cannot be lost; it may be sent twice. After a failure nothing
is sent for a minute; what was not sent is sent by a later check of that mirror, or by the review of all records.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from msgspec import UNSET, structs

from pullahead.admission.gates import GateName, HeldReason
from pullahead.admission.seen_digests import SeenDigest
from pullahead.clock import Clock
from pullahead.errors import PullaheadError
from pullahead.messages import ReferrersOutcome
from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.mirrors.outcome_event import OutcomeDetail, OutcomeEvent, OutcomeKind, OutcomeReason, Scan
from pullahead.mirrors.record import WAITING, MirrorRecord, State, WaitingDigest
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.oci import Digest

UNSENT_AFTER = timedelta(minutes=5)
"""After this time the writer of an event is assumed dead; no function that writes records runs longer."""

_MAX_EVENTS = 20
"""Events in one record, where the bus accepts none for long: about 20 KB."""

_COPY_STATE_UNKNOWN = (State.UNKNOWN, State.BLOCKED)


def with_outcome_events(before: MirrorRecord | None, after: MirrorRecord, rule: str, now: datetime) -> MirrorRecord:
    """Add the events that a change makes due."""
    due = [
        *_refreshed(before, after, rule, now),
        *_fell_behind(before, after, rule, now),
        *_recovered(before, after, rule, now),
        *_referrers_copied(before, after, rule, now),
        *_pin_moved(before, after, rule, now),
        *_held(before, after, rule, now),
        *_admitted(before, after, rule, now),
        *_taken_back(before, after, rule, now),
    ]
    return _with_events(after, due) if due else after


def with_scan(record: MirrorRecord, scan: Scan, rule: str, now: datetime) -> MirrorRecord:
    """Record what a scan of a digest found; its event is due if ECR serves that digest under the tag."""
    if record.scan is not None and record.scan.digest == scan.digest and record.scan.at >= scan.at:
        return record  # delivered again, or late
    after = record.with_changes(scan=scan)
    if scan.digest != record.published_digest:
        return after
    return _with_events(after, [_event(OutcomeKind.SCANNED, OutcomeReason.SCAN_COMPLETE, after, rule, now)])


def with_pruning(record: MirrorRecord, kind: OutcomeKind, missing: Missing, rule: str, now: datetime) -> MirrorRecord:
    """Add the event that a tag would be removed from ECR, or is."""
    reason = OutcomeReason.GONE_UPSTREAM if missing.reason is PruneReason.GONE else OutcomeReason.UNCHOSEN
    return _with_events(record, [_event(kind, reason, record, rule, now, since=missing.since)])


def outcome_events_between(before: MirrorRecord | None, after: MirrorRecord, now: datetime) -> tuple[OutcomeEvent, ...]:
    """List the events to send now: those that a change added, and those that their writer did not send."""
    known = before.outbox if before is not None else ()
    return tuple(
        event for event in after.outbox if now - event.at >= UNSENT_AFTER or (event not in known and not event.held)
    )


def without_sent(record: MirrorRecord, sent: tuple[OutcomeEvent, ...]) -> MirrorRecord:
    """Remove the events that were sent."""
    return record.with_changes(outbox=tuple(event for event in record.outbox if event not in sent))


def _with_events(record: MirrorRecord, due: list[OutcomeEvent]) -> MirrorRecord:
    """Add events; one that was held back is replaced by one that says more about the same digest."""
    reported = {event.detail.digest for event in due if event.kind is OutcomeKind.REFRESHED}
    waiting = [event for event in record.outbox if not (event.held and event.detail.digest in reported)]
    kept = [*waiting, *due]
    given_up, kept = kept[:-_MAX_EVENTS], kept[-_MAX_EVENTS:]
    if given_up:
        count = len(given_up) + sum(event.detail.events_given_up or 0 for event in given_up)
        kept[0] = _after_lost(kept[0], count)
    return record.with_changes(outbox=tuple(kept))


def _after_lost(event: OutcomeEvent, count: int) -> OutcomeEvent:
    total = count + (event.detail.events_given_up or 0)
    return structs.replace(event, detail=structs.replace(event.detail, events_given_up=total))


def _refreshed(before: MirrorRecord | None, after: MirrorRecord, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
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
            **_referrers(after),
        )
    elif before is not None and after.serves_what_it_may and before.published_digest != after.published_digest:
        # Mostly a check between the end of a refresh and its record, whose event says more: let that come first.
        event = _event(OutcomeKind.REFRESHED, OutcomeReason.FOUND_PUBLISHED, after, rule, now, **_span(before, now))
        yield structs.replace(event, held=True)


def _why_refreshed(before: MirrorRecord | None, after: MirrorRecord) -> OutcomeReason:
    if before is None or (before.last_refresh is None and after.previous_digest is None):
        return OutcomeReason.FIRST_COPY
    last, made = before.last_refresh, before.filtered
    if last is not None and last.digest == after.published_digest:
        return OutcomeReason.RESTORED
    if made is not None and made.upstream_digest == after.upstream_digest:
        return OutcomeReason.PLATFORMS_CHANGED
    return OutcomeReason.UPSTREAM_MOVED


def _fell_behind(before: MirrorRecord | None, after: MirrorRecord, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
    """Report that a mirror fell behind, or is gone: once, though it may be UNKNOWN or BLOCKED in between."""
    was = _last_copy_state(before)
    if after.state is State.GONE and was is not State.GONE and not after.was_only_asked_for:
        why = OutcomeReason.NEVER_FOUND if after.was_never_found else OutcomeReason.GONE_UPSTREAM
        yield _event(OutcomeKind.GONE, why, after, rule, now, since=after.since)
    if _is_behind(after.state, after) and not _is_behind(was, after):
        since = after.unfresh_since or after.since
        yield _event(OutcomeKind.STALE, _why_stale(before, after), after, rule, now, since=since)


def _is_behind(state: State | None, record: MirrorRecord) -> bool:
    """Whether it is STALE, or MISSING although ECR has served it: what was never copied cannot fall behind."""
    return state is State.STALE or (state is State.MISSING and record.previous_digest is not None)


def _last_copy_state(record: MirrorRecord | None) -> State | None:
    """Return the state of the copy when it was last known."""
    if record is None:
        return None
    states = (record.state, *(past.state for past in reversed(record.past)))
    return next((state for state in states if state not in _COPY_STATE_UNKNOWN), None)


def _why_stale(before: MirrorRecord | None, after: MirrorRecord) -> OutcomeReason:
    if after.published_digest is None and _last_copy_state(before) is not State.DELETED:
        return OutcomeReason.DELETED
    if before is None or before.upstream_digest != after.upstream_digest:
        return OutcomeReason.UPSTREAM_MOVED
    if before.platforms != after.platforms:
        return OutcomeReason.PLATFORMS_CHANGED
    was_on_time = _last_copy_state(before) in (State.FRESH, *WAITING)
    return OutcomeReason.OVERWRITTEN if was_on_time else OutcomeReason.UPSTREAM_MOVED


def _recovered(before: MirrorRecord | None, after: MirrorRecord, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
    was_late = before is not None and before.state not in (State.FRESH, *WAITING)
    if before is not None and before.alerted and was_late and after.serves_what_it_may:
        yield _event(OutcomeKind.RECOVERED, OutcomeReason.FRESH_AGAIN, after, rule, now, **_span(before, now))


def _referrers_copied(
    before: MirrorRecord | None, after: MirrorRecord, rule: str, now: datetime
) -> Iterator[OutcomeEvent]:
    """Report referrers that were copied after their image; those that came with it are reported with its refresh."""
    known, earlier = after.referrers, before.referrers if before is not None else None
    is_with_image = before is None or before.last_refresh != after.last_refresh
    if known is None or known == earlier or is_with_image:
        return
    was = earlier.outcome if earlier is not None and earlier.digest == known.digest else ReferrersOutcome("")
    has_more = known.outcome.copied and known.outcome.fingerprint != was.fingerprint
    if not has_more and (was.copied, was.failed) == (known.outcome.copied, known.outcome.failed):
        return
    reason = OutcomeReason.REFERRERS_FAILED if known.outcome.failed else OutcomeReason.LATE_REFERRERS
    details = {"execution": known.execution or UNSET, **_referrers(after)}
    yield _event(OutcomeKind.REFERRERS_COPIED, reason, after, rule, now, **details)


def _pin_moved(before: MirrorRecord | None, after: MirrorRecord, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
    """Report that upstream moves away from a pinned digest: the first time, as the alert does."""
    moved = after.moved_away
    if moved is not None and (before is None or before.moved_away is None):
        reason = OutcomeReason.UPSTREAM_MOVED if moved.to is not None else OutcomeReason.GONE_UPSTREAM
        yield _event(OutcomeKind.PIN_MOVED, reason, after, rule, now, since=moved.since, moved_to=moved.to or UNSET)


_HELD_REASONS = {
    None: OutcomeReason.COOLDOWN,
    HeldReason.WAITING_APPROVAL: OutcomeReason.WAITING_APPROVAL,
    HeldReason.REJECTED: OutcomeReason.REJECTED,
    HeldReason.UNSIGNED: OutcomeReason.UNSIGNED,
    HeldReason.UNTRUSTED: OutcomeReason.UNTRUSTED,
    HeldReason.UNVERIFIED: OutcomeReason.UNVERIFIED,
    HeldReason.VULNERABLE: OutcomeReason.VULNERABLE,
    HeldReason.SCAN_PENDING: OutcomeReason.SCAN_PENDING,
}
_JUST = timedelta(minutes=15)  # a scan that was read since then is what was waited for last: the publish follows it


def _decision(record: MirrorRecord, digest: Digest) -> dict[str, Any]:
    """Say who has decided about a digest, and why."""
    made = record.admission.decision_of(digest) if record.admission is not None else None
    return {} if made is None else {"decided_by": made.by, "decision": made.reason or UNSET}


def _why_held(known: WaitingDigest) -> OutcomeReason:
    if known.because is None and known.gate is GateName.SIGNATURE:
        return OutcomeReason.WAITING_SIGNATURE
    if known.because is None and known.gate is GateName.SCAN:
        return OutcomeReason.WAITING_SCAN
    return _HELD_REASONS[known.because]


def _held(before: MirrorRecord | None, after: MirrorRecord, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
    """Report that a digest may not be served yet, or what for it waits now."""
    known, was = after.waiting, before.waiting if before is not None else None
    if known is None or (
        was is not None and (was.digest, was.because, was.reported) == (known.digest, known.because, known.reported)
    ):
        return
    yield _event(
        OutcomeKind.HELD,
        _why_held(known),
        after,
        rule,
        now,
        **_decision(after, known.digest),
        held_digest=known.digest,
        first_seen=known.first_at,
        until=known.until or UNSET,
        held_detail=known.why or UNSET,
        reported=known.reported or UNSET,
    )


def _admitted(before: MirrorRecord | None, after: MirrorRecord, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
    """Report that the tag serves a digest that had to wait before."""
    if before is None or before.admission is None or after.admission is None:
        return
    waited = [each for each in before.admission.seen if not each.admitted]
    for each in waited:
        found = after.admission.find(each.digest)
        if found is not None and found.admitted:
            details = {"held_digest": each.digest, "first_seen": each.first_at, **_decision(after, each.digest)}
            if before.waiting is not None and before.waiting.reported:
                details["reported"] = True
            reason = OutcomeReason.APPROVED if "decided_by" in details else _why_admitted(each, found, now)
            yield _event(OutcomeKind.ADMITTED, reason, after, rule, now, **details)


def _why_admitted(waited: SeenDigest, digest: SeenDigest, now: datetime) -> OutcomeReason:
    if waited.scan is not None and now - waited.scan.at < _JUST:
        return OutcomeReason.SCANNED
    is_proven = digest.signature is not None and digest.signature.admits
    return OutcomeReason.SIGNED if is_proven else OutcomeReason.OLD_ENOUGH


def _taken_back(before: MirrorRecord | None, after: MirrorRecord, rule: str, now: datetime) -> Iterator[OutcomeEvent]:
    """Report that upstream took a digest back before the tag served it."""
    known = after.admission.taken_back if after.admission is not None else ()
    told = before.admission.taken_back if before is not None and before.admission is not None else ()
    for each in known:
        if not each.admitted and each not in told:
            details = {"held_digest": each.digest, "first_seen": each.first_at}
            yield _event(OutcomeKind.WITHDRAWN, OutcomeReason.TAKEN_BACK, after, rule, now, **details)


def _referrers(record: MirrorRecord) -> dict[str, Any]:
    """Count the referrers, where they were looked for."""
    if record.referrers is None:
        return {}
    outcome = record.referrers.outcome
    return {
        "referrers": outcome.copied,
        "referrers_failed": outcome.failed or UNSET,
        "referrers_not_applicable": outcome.not_applicable or UNSET,
    }


def _span(before: MirrorRecord, now: datetime) -> dict[str, Any]:
    """Return for how long the mirror was not fresh, if that is known."""
    since = before.unfresh_since
    return {} if since is None else {"since": since, "lag_seconds": max(0.0, (now - since).total_seconds())}


def _event(
    kind: OutcomeKind, reason: OutcomeReason, record: MirrorRecord, rule: str, now: datetime, **more: Any
) -> OutcomeEvent:
    digest, scan = record.published_digest, record.scan
    detail = OutcomeDetail(
        version="1",
        id=_identity(kind, str(record.key), str(digest), now.isoformat(), str(record.version)),
        mirror=str(record.key),
        repository=record.key.repository,
        tag=record.key.tag,
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
    """Identify an event, so that a receiver recognizes a duplicate. The version separates changes of one moment."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


class OutcomeEventBus(Protocol):
    """Publishes events for other programs."""

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        """Send all events or raise; after an error some may have been sent all the same. Raises: StorageError."""
        ...


_MAX_BATCH = 10
_MAX_NOTED = 1000  # in one run: a few seconds of work
_MAX_FAILURES = 20  # reported of one run
_PAUSE_AFTER_FAILURE = timedelta(minutes=1)


class _Due(NamedTuple):
    record: MirrorRecord
    events: tuple[OutcomeEvent, ...]


class OutboxSender:
    """Sends the events of one process. May be used by several threads."""

    def __init__(self, records: RecordStore, outcomes: OutcomeEventBus, clock: Clock) -> None:
        self._records, self._outcomes, self._clock = records, outcomes, clock
        self._noted: list[_Due] = []
        self._failures: list[PullaheadError] = []
        self._paused_until = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def note(self, before: MirrorRecord | None, after: MirrorRecord) -> None:
        """Note the events to send of a record as it was written: those that the write added, and those left unsent.

        The writer of an event sends it, so that two that work on one mirror at once do not both send it.
        """
        events = outcome_events_between(before, after, self._clock())
        with self._lock:
            if events and len(self._noted) < _MAX_NOTED:  # the others stay in their records
                self._noted.append(_Due(after, events))

    def flush(self) -> None:
        """Send what was noted. Failures are not raised but returned by `take_failures`."""
        with self._lock:
            noted, self._noted = self._noted, []
        if not noted or self._clock() < self._paused_until:
            return
        for some in _batches(noted):
            try:
                self._outcomes.publish([event for due in some for event in due.events])
            except PullaheadError as error:
                self._paused_until = self._clock() + _PAUSE_AFTER_FAILURE
                self._fail(error)
                return
            for due in some:
                self._remove_sent(due)

    def announce(self, before: MirrorRecord | None, after: MirrorRecord) -> None:
        """Send the events of one record."""
        self.note(before, after)
        self.flush()

    def take_failures(self) -> list[PullaheadError]:
        """Return what has failed since the last call, the first twenty failures."""
        with self._lock:
            taken, self._failures = self._failures, []
        return taken

    def _remove_sent(self, due: _Due) -> None:
        """Remove from a record what was sent; where that fails, it is sent again."""
        try:
            update_record(
                self._records, due.record.key, lambda known: known and without_sent(known, due.events), due.record
            )
        except PullaheadError as error:
            self._fail(error)

    def _fail(self, error: PullaheadError) -> None:
        with self._lock:
            if len(self._failures) < _MAX_FAILURES:
                self._failures.append(error)


def _batches(noted: list[_Due]) -> Iterator[list[_Due]]:
    """Split what was noted into batches, keeping the events of a record together."""
    some: list[_Due] = []
    for due in noted:
        if some and sum(len(each.events) for each in some) + len(due.events) > _MAX_BATCH:
            yield some
            some = []
        some.append(due)
    if some:
        yield some
