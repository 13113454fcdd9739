"""Judge a mirror by what upstream and ECR serve. Pure: the same observation gives the same verdict.

A refused or failed request to upstream is UNKNOWN, never MISSING: nothing is overwritten on a guess.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from pullahead.admission.gates import HeldReason
from pullahead.admission.seen_digests import TakenBack
from pullahead.errors import (
    AccessDeniedError,
    DeferredError,
    NotFoundError,
    PullaheadError,
    RateLimitedError,
    Side,
    side_of_message,
)
from pullahead.mirrors.admission import Admission, admit
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.demand import is_absent
from pullahead.mirrors.pinned import moved_away, pinned_descriptor, serves_pin, with_moved_away
from pullahead.mirrors.record import (
    ON_TIME,
    WAITING,
    MirrorRecord,
    MovedAway,
    Record,
    RefreshFailure,
    State,
    Trigger,
    WaitingDigest,
    replicated_deletion,
)
from pullahead.mirrors.refresh_outcome import is_new_try
from pullahead.mirrors.refresh_pace import BURST, after_start, paced_until
from pullahead.mirrors.retirement import followed_again
from pullahead.oci import Descriptor, Digest, parse_reference
from pullahead.oci.media_types import INDEXES
from pullahead.rules.model import Mirror
from pullahead.text import moment_text, one_line

_R = TypeVar("_R", bound=Record)
_MAX_ERROR_CHARACTERS = 2000
_LIMITED = frozenset({RateLimitedError.__name__, DeferredError.__name__})


class Observation(NamedTuple):
    """What one check read: upstream's descriptor, or the error instead; and the digest that ECR serves.

    `published` is None where ECR has no such tag, and an error where ECR refuses to answer.
    """

    upstream: Descriptor | PullaheadError
    published: Digest | AccessDeniedError | None


class Verdict(NamedTuple):
    """What a check concludes: the new record, whether to refresh, and the reason in words.

    `root` is what the tag is to serve, where that is known. `ahead` may not be served yet, and its bytes are to be
    copied at once; `ahead_again`: they should have been before.
    """

    record: MirrorRecord
    refresh: bool
    reason: str
    root: Descriptor | None = None
    ahead: Descriptor | None = None
    ahead_again: bool = False


def judge(
    observed: Observation,
    before: MirrorRecord | None,
    mirror: Mirror,
    now: datetime,
    trigger: Trigger = Trigger.SCHEDULE,
    sender: str = "",
    asked_at: datetime | None = None,
) -> Verdict:
    """Judge an observation, in the light of the record before.

    `sender`: of the webhook that is the trigger. `asked_at`: when somebody asked for the check, by another clock.
    """
    observed, moved = _with_pin(observed, before, mirror, now)
    by_person = trigger is Trigger.MANUAL
    admission = admit(observed.upstream, observed.published, before, mirror, now, asked_at or now, at_once=by_person)
    found = _compare(observed.published, admission, before, mirror, trigger)
    after = _record_after(observed.published, admission, found, before, mirror, now)
    if before is None or before.state is not found.state:
        told_elsewhere = after.error_kind is not None or found.state is State.BLOCKED or found.state in WAITING
        noted = "" if told_elsewhere else found.reason
        after = after.with_changes(since=now, trigger=trigger, reason=noted, sender=sender)
    after = with_moved_away(before, after, moved, now)
    wants, wanted, until = _wants_refresh(after, now), after.upstream_digest, None
    if wants and not by_person:
        until = paced_until(after.pace, wanted, now)
    if wants and until is None and wanted is not None:
        after = after.with_changes(pace=after_start(after.pace, wanted, now))
    ahead = admission.ahead
    if ahead is not None and paced_until(after.pace, ahead.digest, now) is None:
        after = after.with_changes(pace=after_start(after.pace, ahead.digest, now))
    else:
        ahead = None
    after = with_taken_back(after, admission.news, now)
    alerted = with_alerts(before, after, mirror.alert_after, now, mirror.replicated_from)
    reason = found.reason if until is None else f"{found.reason}; {pace_text(until)}"
    root = admission.wanted if isinstance(admission.wanted, Descriptor) else None
    return Verdict(alerted, wants and until is None, reason, root, ahead, admission.is_again)


class _Comparison(NamedTuple):
    """The state, and why; the failed refresh that counts, and the digest at which the tag was left deleted, if any."""

    state: State
    reason: str
    failure: RefreshFailure | None
    left_at: Digest | None


def _with_pin(
    observed: Observation, before: MirrorRecord | None, mirror: Mirror, now: datetime
) -> tuple[Observation, MovedAway | None]:
    """Compare with the digest that the rules pin, if ECR serves it, and say where upstream has moved to since."""
    moved = before.moved_away if before is not None and mirror.pin is not None else None
    if (pinned := pinned_descriptor(mirror)) is not None and serves_pin(mirror, before, observed.published):
        return observed._replace(upstream=pinned), moved_away(observed.upstream, before, mirror, now)
    return observed, moved if moved is not None and moved.pin == mirror.pin else None


def _compare(
    published: Digest | AccessDeniedError | None,
    admission: Admission,
    before: MirrorRecord | None,
    mirror: Mirror,
    trigger: Trigger,
) -> _Comparison:
    failure = _failure_that_counts(before, _platforms_of(mirror), trigger)
    left_at = _left_at(admission.wanted, published, before, mirror)
    state, reason = _state_of(admission.wanted, published, before, left_at, failure, mirror, admission.waiting)
    return _Comparison(state, reason, failure, left_at)


def _record_after(
    published: Digest | AccessDeniedError | None,
    admission: Admission,
    found: _Comparison,
    before: MirrorRecord | None,
    mirror: Mirror,
    now: datetime,
) -> MirrorRecord:
    """Write what was found into the record, without what a refresh that starts or an alert adds."""
    state, upstream, platforms = found.state, admission.wanted, _platforms_of(mirror)
    known = followed_again(before) if before is not None else MirrorRecord(mirror.key, str(mirror.upstream), state, now)
    error = next((side for side in (published, upstream) if isinstance(side, PullaheadError)), None)
    wanted = upstream.digest if isinstance(upstream, Descriptor) else known.upstream_digest
    begins = (
        before is None
        or (wanted, platforms) != (before.upstream_digest, before.platforms)
        or (before.serves_what_it_may and state not in (State.FRESH, *WAITING))
    )
    return known.with_changes(
        upstream=str(mirror.upstream),
        state=state,
        unfresh_since=None if state in ON_TIME else known.unfresh_since or now,
        upstream_digest=wanted,
        published_digest=known.published_digest if isinstance(published, PullaheadError) else published,
        error_kind=type(error).__name__ if error else None,
        error=one_line(str(error), _MAX_ERROR_CHARACTERS) if error else None,
        denied=error.sent if isinstance(error, AccessDeniedError) else "",
        failure=None if state in ON_TIME else found.failure,
        episode=known.episode + 1 if begins else known.episode,
        platforms=platforms,
        left_at=found.left_at,
        replicated_from=mirror.replicated_from or None if found.left_at is not None else None,
        on_demand=mirror.on_demand,
        was_listed=mirror.listed and state is State.GONE,
        admission=admission.seen,
        waiting=admission.waiting,
    )


def with_taken_back(record: MirrorRecord, news: Sequence[TakenBack], now: datetime) -> MirrorRecord:
    """Add an alert for each digest that upstream has taken back before the tag served it."""
    alerts: list[Alert] = []
    for number, each in enumerate(news):
        text = f"upstream took back {each.digest}, which was first seen at {moment_text(each.first_at)}"
        at = _moment_of(AlertKind.WITHDRAWN, record, now) + timedelta(microseconds=number)
        alerts.append(Alert(AlertKind.WITHDRAWN, record.key, record.upstream, each.first_at, at, text))
    return record.with_changes(pending=(*record.pending, *alerts)) if alerts else record


def pace_text(until: datetime) -> str:
    """Say why a refresh is put off though upstream moved."""
    return f"upstream moves too often: after {BURST} refreshes one an hour starts, the next after {moment_text(until)}"


def _failure_that_counts(
    before: MirrorRecord | None, platforms: tuple[str, ...], trigger: Trigger
) -> RefreshFailure | None:
    """Return the failed refresh, unless it copied other platforms than are wanted now, or a person wants another."""
    if before is None or before.platforms != platforms or trigger is Trigger.MANUAL:
        return None
    return before.failure


def needs_no_upstream_check(
    mirror: Mirror, known: MirrorRecord | None, published: Digest | AccessDeniedError | None
) -> bool:
    """Whether no request to upstream is needed: the tag is immutable, and ECR serves what was found fresh."""
    return (
        mirror.immutable
        and known is not None
        and known.state is State.FRESH
        and known.published_digest == published
        and (known.upstream, known.platforms) == (str(mirror.upstream), _platforms_of(mirror))
        and known.expires_at is None
        and not known.outbox
    )


def with_alerts(
    before: MirrorRecord | None, after: MirrorRecord, alert_after: timedelta, now: datetime, replicated_from: str = ""
) -> MirrorRecord:
    """Add the alerts that a change makes due: each kind once until the mirror is fresh, then its RECOVERED.

    That a person must act is news also where STALE was sent, which says that Pullahead retries. STALE is none where
    people know that they must act.

    `replicated_from`: from where ECR's replication writes the tag, if it does.
    """
    if before is not None and _is_drift(before, after):
        drift = _drift_text(before, after, replicated_from)
        after = with_alert(before, after, AlertKind.DRIFT, now, detail=drift)
    kind = _due_alert(after, alert_after, now)
    if kind is AlertKind.STALE and _is_told_already(after, alert_after, now):
        kind = None
    detail = None
    if kind is AlertKind.NOT_FOUND:
        absence = absence_text(after)
        detail = f"{absence} ({after.cause.rstrip('.')})"
    return with_alert(before, after, kind, now, detail=detail)


def with_alert(
    before: Record | None, after: _R, kind: AlertKind | None, now: datetime, *, detail: str | None = None
) -> _R:
    """Add an alert of a kind unless one is open; where all is well again, add RECOVERED for each that is open.

    `detail` is the cause to report where it is not the record's own.
    """
    if after.state in ON_TIME:
        kind = kind if after.state is State.HELD else None
        after = _with_recovery(before, after, now, kind) if set(after.alerted) - {kind} else after
    if kind is None or kind in after.alerted:
        return after
    since = after.since if after.state in (State.UNKNOWN, State.HELD) else after.unfresh_since or now
    cause, cause_kind = (after.cause, after.cause_kind) if detail is None else (detail, "")
    alert = Alert(kind, after.key, after.upstream, since, _moment_of(kind, after, now), cause, cause_kind)
    return after.with_changes(alerted=(*after.alerted, kind), pending=(*after.pending, alert))


def _moment_of(kind: AlertKind, record: Record, now: datetime) -> datetime:
    """Return now, or a moment after the last alert of this kind: two of one moment would be taken for one."""
    earlier = [alert.at for alert in record.pending if alert.about is kind]
    sent = record.last_told(kind)
    earlier += [sent.at] if sent is not None else []
    return max([now, *(moment + timedelta(microseconds=1) for moment in earlier)])


def _with_recovery(before: Record | None, after: _R, now: datetime, kept: AlertKind | None) -> _R:
    since = (before.unfresh_since if before is not None else None) or after.since
    recovered = [
        Alert(AlertKind.RECOVERED, after.key, after.upstream, since, _moment_of(kind, after, now), of=kind)
        for kind in after.alerted
        if kind is not kept
    ]
    alerted = tuple(kind for kind in after.alerted if kind is kept)
    return after.with_changes(alerted=alerted, pending=(*after.pending, *recovered))


_BY_A_PERSON = frozenset({AlertKind.BLOCKED, AlertKind.ACCESS_DENIED})
"""What keeps a mirror from being refreshed until a person acts."""


def _is_told_already(record: MirrorRecord, alert_after: timedelta, now: datetime) -> bool:
    """Whether STALE would report what an open alert has said already: that a person must act, for the mirror to be
    refreshed. It is news if that was done, and the mirror stays stale for another reason."""
    if _BY_A_PERSON.isdisjoint(record.alerted):
        return False
    is_same = record.failure is not None and record.failure.blocking
    return is_same or now - record.since < alert_after


def is_denied(record: MirrorRecord) -> bool:
    """Whether upstream denies access: to a check, or to the refresh."""
    if record.cause_kind != AccessDeniedError.__name__:
        return False
    if record.state is State.BLOCKED:  # ECR may deny access, too: to the check, or to the refresh
        return record.error_kind is None and side_of_message(record.cause) == Side.UPSTREAM
    return record.state is State.UNKNOWN


def _is_drift(before: MirrorRecord, after: MirrorRecord) -> bool:
    """Whether somebody else moved the tag in ECR: it was fresh, and upstream has not moved."""
    return (
        before.serves_what_it_may
        and after.state is State.STALE
        and after.published_digest not in (None, before.published_digest)
        and (after.upstream_digest, after.platforms) == (before.upstream_digest, before.platforms)
    )


def _drift_text(before: MirrorRecord, after: MirrorRecord, replicated_from: str) -> str:
    by = f"; ECR's replication from {replicated_from} writes this repository" if replicated_from else ""
    return f"ECR serves {after.published_digest}, where {before.published_digest} was published{by}"


def _platforms_of(mirror: Mirror) -> tuple[str, ...]:
    return tuple(sorted(set(mirror.platforms)))  # their order means nothing


def _left_at(
    upstream: Descriptor | PullaheadError | None,
    published: Digest | PullaheadError | None,
    before: MirrorRecord | None,
    mirror: Mirror,
) -> Digest | None:
    """Return the upstream digest at which the tag was deleted from ECR, where it is restored only after upstream moves:
    by its rule, or because ECR's replication may have deleted it."""
    if before is None or (mirror.restored and not mirror.replicated_from):
        return None
    if isinstance(published, PullaheadError):
        return before.left_at
    if published is not None:
        return None
    left_at = before.left_at if before.published_digest is None else before.upstream_digest
    has_moved = isinstance(upstream, Descriptor) and upstream.digest != left_at
    return None if has_moved else left_at


def _state_of(
    upstream: Descriptor | PullaheadError | None,
    published: Digest | AccessDeniedError | None,
    before: MirrorRecord | None,
    left_at: Digest | None,
    failure: RefreshFailure | None,
    mirror: Mirror,
    waiting: WaitingDigest | None,
) -> tuple[State, str]:
    """Return the state, and why. `upstream` is None where no digest may be served: then something waits."""
    platforms = _platforms_of(mirror)
    if isinstance(published, AccessDeniedError):
        return State.BLOCKED, str(published)
    if isinstance(upstream, PullaheadError):
        return _state_of_error(upstream, published, before, mirror)
    is_left = left_at is not None and published is None
    if upstream is None or (published is not None and published == _expected_digest(upstream, before, platforms)):
        if waiting is not None and not waiting.reported and not is_left:
            return waiting.state, waiting.text
        if upstream is not None:
            return State.FRESH, f"ECR serves what {'upstream serves' if mirror.pin is None else 'the rules pin'}"
    if left_at is not None or upstream is None:
        return State.DELETED, _left_because(mirror)
    if failure is not None and failure.blocking and failure.digest == upstream.digest:
        return State.BLOCKED, failure.text
    if published is None:
        return State.MISSING, "ECR does not have the tag"
    return State.STALE, _reason_of(upstream.digest, before, platforms, is_pinned=mirror.pin is not None)


def _state_of_error(
    error: PullaheadError, published: Digest | None, before: MirrorRecord | None, mirror: Mirror
) -> tuple[State, str]:
    if not isinstance(error, NotFoundError):
        return State.UNKNOWN, str(error)
    was_seen = published is not None or (before is not None and before.was_seen)
    was_listed = mirror.listed or (before is not None and before.was_listed)
    return State.GONE, _absence_text(mirror.upstream.locator, was_seen=was_seen, was_listed=was_listed)


def _left_because(mirror: Mirror) -> str:
    if mirror.replicated_from:
        return replicated_deletion(mirror.replicated_from)
    return "the tag was deleted from ECR, and its rule restores it only when upstream moves"


def absence_text(record: MirrorRecord) -> str:
    """Say that upstream does not have a tag: no longer, or it never had it as far as is known."""
    return _absence_text(upstream_tag(record), was_seen=record.was_seen, was_listed=record.was_listed)


def _absence_text(tag: str, *, was_seen: bool, was_listed: bool) -> str:
    if was_seen:
        return "upstream no longer has the tag"
    spelling = "" if was_listed else "; check its spelling"
    return f"upstream has no {'digest' if ':' in tag else 'tag'} `{tag}`{spelling}"


def upstream_tag(record: MirrorRecord) -> str:
    """Name the upstream tag that a mirror follows, or the digest that it is pinned to."""
    return parse_reference(record.upstream).locator


def _reason_of(wanted: Digest, before: MirrorRecord | None, platforms: tuple[str, ...], *, is_pinned: bool) -> str:
    if before is None or before.upstream_digest != wanted:
        return "the rules pin another digest" if is_pinned else "upstream moved"
    if before.platforms != platforms:
        return "the rules select other platforms"
    return "the tag was overwritten in ECR" if before.serves_what_it_may else "upstream moved"


def _expected_digest(upstream: Descriptor, before: MirrorRecord | None, platforms: tuple[str, ...]) -> Digest | None:
    """Return the digest that ECR should serve; None where only reading the index can tell."""
    if not platforms or upstream.media_type not in INDEXES:  # a single manifest is published as it is
        return upstream.digest
    made = before.filtered if before is not None else None
    return made.digest if made is not None and made.made_from(upstream.digest, platforms) else None


def wants_refresh(record: MirrorRecord, now: datetime) -> bool:
    """Whether a mirror should be refreshed now, by its record."""
    return _wants_refresh(record, now) and paced_until(record.pace, record.upstream_digest, now) is None


def _wants_refresh(record: MirrorRecord, now: datetime) -> bool:
    if record.error_kind is not None or record.state not in (State.MISSING, State.STALE, State.BLOCKED):
        return False
    failure = record.failure
    return failure is None or now >= failure.retry_at or is_new_try(failure, record.upstream_digest)


def _due_alert(record: MirrorRecord, alert_after: timedelta, now: datetime) -> AlertKind | None:
    if record.on_demand and is_absent(record):
        return None  # the client that pulled it knows from ECR that it does not exist
    if record.state in WAITING:
        is_decided = record.waiting is None or record.waiting.because in (None, HeldReason.REJECTED)
        # Upstream may answer at the next look.
        is_retried = record.waiting is not None and record.waiting.because is HeldReason.UNVERIFIED
        return None if is_decided or (is_retried and now - record.since < alert_after) else AlertKind.HELD
    if record.state is State.GONE and record.was_only_asked_for:
        return None  # who asked is told by the command
    if record.state is State.GONE:
        # Version 0.1 had one kind for both.
        is_new_kind = record.was_never_found and AlertKind.GONE not in record.alerted
        return AlertKind.NOT_FOUND if is_new_kind else AlertKind.GONE
    if is_denied(record):
        return AlertKind.ACCESS_DENIED
    if record.state is State.BLOCKED:
        return AlertKind.BLOCKED
    is_late = now - (record.unfresh_since or now) >= alert_after
    is_long_in_state = now - record.since >= alert_after
    is_limited = record.cause_kind in _LIMITED
    if record.state is State.UNKNOWN:
        kind = AlertKind.RATE_LIMITED if is_limited else AlertKind.UPSTREAM_UNREACHABLE
        # Where STALE is open, a failed request is worth an alert of its own only after the same time.
        return kind if is_long_in_state or (is_late and not record.alerted) else None
    kind = AlertKind.RATE_LIMITED if is_limited else AlertKind.STALE
    # After UNKNOWN the first refresh gets its chance, unless refreshes were failing before.
    return kind if is_late and (is_long_in_state or record.failure is not None) else None
