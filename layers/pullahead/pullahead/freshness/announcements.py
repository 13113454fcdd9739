"""When which event about a mirror is due: derived from its record before and after a change. Pure.

An event is kept in the record from the write that makes it true until it is known to be sent, so that it cannot be
lost; it may be sent twice. How it is sent is not known here.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from msgspec import UNSET, structs

from pullahead.freshness.outcome_events import OutcomeDetail, OutcomeEvent, OutcomeKind, OutcomeReason, Scan
from pullahead.freshness.records import Record, State

LEFT_AFTER = timedelta(minutes=5)
"""After which whoever kept an event is taken for dead; no function that writes records runs longer."""

_MOST_KEPT = 20
"""Events of one record, where the bus takes none for long: some 20 KB."""

_SAYS_NOTHING_OF_THE_COPY = (State.UNKNOWN, State.BLOCKED)


def with_events(before: Record | None, after: Record, rule: str, now: datetime) -> Record:
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


def due_events(before: Record | None, after: Record, now: datetime) -> tuple[OutcomeEvent, ...]:
    """List what is to be sent now: what a change added, and what its writer did not live to send."""
    known = before.outbox if before is not None else ()
    return tuple(
        event for event in after.outbox if now - event.at >= LEFT_AFTER or (event not in known and not event.held)
    )


def without(record: Record, sent: tuple[OutcomeEvent, ...]) -> Record:
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
