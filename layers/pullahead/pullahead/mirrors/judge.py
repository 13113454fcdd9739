"""Judge a mirror by what upstream and ECR were seen to serve. Pure: the same observation gives the same verdict.

A refused or failed question to upstream is UNKNOWN, never MISSING: nothing is overwritten on a guess.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.errors import AccessDeniedError, DeferredError, NotFoundError, PullaheadError, RateLimitedError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.demand import is_absent
from pullahead.mirrors.rate_limit_budget import was_not_sent
from pullahead.mirrors.record import SETTLED, Record, State
from pullahead.mirrors.retirement import followed_again
from pullahead.oci import Descriptor, Digest
from pullahead.oci.media_types import INDEXES
from pullahead.rules.model import Mirror

_LIMITED = frozenset({RateLimitedError.__name__, DeferredError.__name__})


class Observation(NamedTuple):
    """What one check saw: upstream's descriptor or why there is none, and the digest that ECR serves.

    `published` is None where ECR has no such tag, and an error where ECR refuses to say.
    """

    upstream: Descriptor | PullaheadError
    published: Digest | AccessDeniedError | None


class Verdict(NamedTuple):
    """What a check concludes: the record as it should stand now, whether to refresh, and a reason in words."""

    record: Record
    refresh: bool
    reason: str


def upstream_not_asked(seen: Observation) -> bool:
    """Whether upstream was not asked after all, for the sake of its limit: there is then nothing to judge."""
    return was_not_sent(seen.upstream) and not isinstance(seen.published, AccessDeniedError)


def judge(seen: Observation, before: Record | None, mirror: Mirror, now: datetime) -> Verdict:
    """Conclude from an observation and what is remembered."""
    platforms = _platforms_of(mirror)
    if before is not None and before.platforms != platforms:
        before = before.with_changes(failure=None)  # what failed was another copy than the one that is wanted now
    left_at = _left_at(seen, before, mirror)
    state, reason = _state_of(seen, before, platforms, left_at)
    known = followed_again(before) if before is not None else Record(mirror.key, str(mirror.upstream), state, now)
    error = next((side for side in (seen.published, seen.upstream) if isinstance(side, PullaheadError)), None)
    wanted = seen.upstream.digest if isinstance(seen.upstream, Descriptor) else known.upstream_digest
    begins = (
        before is None
        or (wanted, platforms) != (before.upstream_digest, before.platforms)
        or (before.state is State.FRESH and state is not State.FRESH)
    )
    after = known.with_changes(
        upstream=str(mirror.upstream),
        state=state,
        since=known.since if known.state == state else now,
        unfresh_since=None if state in SETTLED else known.unfresh_since or now,
        upstream_digest=wanted,
        published_digest=known.published_digest if isinstance(seen.published, PullaheadError) else seen.published,
        error_kind=type(error).__name__ if error else None,
        error=str(error) if error else None,
        failure=None if state in SETTLED else known.failure,
        episode=known.episode + 1 if begins else known.episode,
        platforms=platforms,
        left_at=left_at,
        on_demand=mirror.on_demand,
    )
    return Verdict(with_alerts(before, after, mirror.alert_after, now), wants_refresh(after, now), reason)


def needs_no_upstream_check(mirror: Mirror, known: Record | None, published: Digest | AccessDeniedError | None) -> bool:
    """Whether a mirror need not be asked for upstream: its tag is immutable, and ECR serves what was found fresh."""
    return (
        mirror.immutable
        and known is not None
        and known.state is State.FRESH
        and known.published_digest == published
        and (known.upstream, known.platforms) == (str(mirror.upstream), _platforms_of(mirror))
        and known.expires_at is None
        and not known.outbox
    )


def with_alerts(before: Record | None, after: Record, alert_after: timedelta, now: datetime) -> Record:
    """Add the alerts that a change makes due: each kind once until the mirror is fresh, then its `Recovered`."""
    if before is not None and _is_drift(before, after):
        after = with_alert(before, after, AlertKind.DRIFT, now)
    return with_alert(before, after, _due_alert(after, alert_after, now), now)


def with_alert(before: Record | None, after: Record, kind: AlertKind | None, now: datetime) -> Record:
    """Add the alert of a kind unless it stands already; where all is well again, take back what stands."""
    if after.state in SETTLED:
        if not after.alerted:
            return after
        since = (before.unfresh_since if before is not None else None) or after.since
        recovered = [
            Alert(AlertKind.RECOVERED, after.key, after.upstream, since, now, of=kind) for kind in after.alerted
        ]
        return after.with_changes(alerted=(), pending=(*after.pending, *recovered))
    if kind is None or kind in after.alerted:
        return after
    since = after.since if after.state is State.UNKNOWN else after.unfresh_since or now
    cause = _drift_text(before, after) if kind is AlertKind.DRIFT else cause_of(after)
    alert = Alert(
        kind, after.key, after.upstream, since, now, cause, "" if kind is AlertKind.DRIFT else _kind_of(after)
    )
    return after.with_changes(alerted=(*after.alerted, kind), pending=(*after.pending, alert))


def cause_of(record: Record) -> str:
    """Say in one line why a mirror is not fresh, as far as it is known."""
    return record.error or (record.failure.text if record.failure else "")


def _kind_of(record: Record) -> str:
    return record.error_kind or (record.failure.kind if record.failure else "")


def _is_drift(before: Record, after: Record) -> bool:
    """Whether somebody else put another image under the tag: it was fresh, and upstream has not moved."""
    return (
        before.state is State.FRESH
        and after.state is State.STALE
        and after.published_digest not in (None, before.published_digest)
        and (after.upstream_digest, after.platforms) == (before.upstream_digest, before.platforms)
    )


def _drift_text(before: Record | None, after: Record) -> str:
    expected = before.published_digest if before is not None else None
    return f"ECR serves {after.published_digest}, where {expected} was published"


def _platforms_of(mirror: Mirror) -> tuple[str, ...]:
    return tuple(sorted(set(mirror.platforms)))  # their order means nothing


def _left_at(seen: Observation, before: Record | None, mirror: Mirror) -> Digest | None:
    """Tell at which upstream digest the tag was deleted from ECR, where its rule leaves it so until upstream moves."""
    if before is None or mirror.restored:
        return None
    if isinstance(seen.published, PullaheadError):
        return before.left_at
    if seen.published is not None:
        return None
    left_at = before.left_at if before.published_digest is None else before.upstream_digest
    has_moved = isinstance(seen.upstream, Descriptor) and seen.upstream.digest != left_at
    return None if has_moved else left_at


def _state_of(
    seen: Observation, before: Record | None, platforms: tuple[str, ...], left_at: Digest | None
) -> tuple[State, str]:
    if isinstance(seen.published, AccessDeniedError):
        return State.BLOCKED, str(seen.published)
    if isinstance(seen.upstream, NotFoundError):
        return State.GONE, "upstream no longer has the tag"
    if isinstance(seen.upstream, PullaheadError):
        return State.UNKNOWN, str(seen.upstream)
    if seen.published is not None and seen.published == _right_digest(seen.upstream, before, platforms):
        return State.FRESH, "ECR serves what upstream serves"
    if left_at is not None:
        return State.DELETED, "the tag was deleted from ECR, and its rule leaves it so until upstream moves"
    failure = before.failure if before is not None else None
    if failure is not None and failure.blocking and failure.digest == seen.upstream.digest:
        return State.BLOCKED, failure.text
    if seen.published is None:
        return State.MISSING, "ECR does not have the tag"
    return State.STALE, _reason_of(seen.upstream.digest, before, platforms)


def _reason_of(wanted: Digest, before: Record | None, platforms: tuple[str, ...]) -> str:
    if before is None or before.upstream_digest != wanted:
        return "upstream moved"
    if before.platforms != platforms:
        return "the rules want other platforms"
    return "the tag was overwritten in ECR" if before.state is State.FRESH else "upstream moved"


def _right_digest(upstream: Descriptor, before: Record | None, platforms: tuple[str, ...]) -> Digest | None:
    """Tell what ECR is to serve; None where only reading the index will tell."""
    if not platforms or upstream.media_type not in INDEXES:  # a single manifest is published as it is
        return upstream.digest
    made = before.filtered if before is not None else None
    return made.digest if made is not None and made.made_from(upstream.digest, platforms) else None


def wants_refresh(record: Record, now: datetime) -> bool:
    """Tell whether a mirror is to be refreshed now, as it stands."""
    if record.error_kind is not None or record.state not in (State.MISSING, State.STALE, State.BLOCKED):
        return False
    failure = record.failure
    return failure is None or failure.digest != record.upstream_digest or now >= failure.retry_at


def _due_alert(record: Record, alert_after: timedelta, now: datetime) -> AlertKind | None:
    if record.on_demand and is_absent(record):
        return None  # whoever pulled what is nowhere has been told by ECR
    if record.state is State.GONE:
        return AlertKind.GONE
    if record.state is State.BLOCKED:
        return AlertKind.BLOCKED
    late = now - (record.unfresh_since or now) >= alert_after
    long_so = now - record.since >= alert_after
    is_limited = _kind_of(record) in _LIMITED
    if record.state is State.UNKNOWN:
        kind = AlertKind.RATE_LIMITED if is_limited else AlertKind.UPSTREAM_UNREACHABLE
        # One that is known to be stale for long is no news for a failed question, until that has lasted as long.
        return kind if long_so or (late and not record.alerted) else None
    kind = AlertKind.RATE_LIMITED if is_limited else AlertKind.STALE
    # After a time of UNKNOWN the first refresh gets its chance, unless refreshes were failing before.
    return kind if late and (long_so or record.failure is not None) else None
