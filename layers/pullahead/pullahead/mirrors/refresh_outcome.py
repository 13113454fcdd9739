"""Record the outcome of a refresh. Pure."""

from datetime import datetime, timedelta
from typing import Any

from msgspec import structs

from pullahead.errors import (
    AccessDeniedError,
    ConfigError,
    DeferredError,
    DigestMismatchError,
    ImageTooLargeError,
    ManifestRefusedError,
    NoLongerWantedError,
    SigningDeniedError,
    TagImmutableError,
    UnsupportedMediaTypeError,
)
from pullahead.messages import RefreshRequest
from pullahead.mirrors.admission import after_copy, after_publish, state_of
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.rate_limit_budget import seconds_until_again
from pullahead.mirrors.record import ON_TIME, LastRefresh, MirrorRecord, Published, RefreshFailure, State, Trigger
from pullahead.mirrors.referrers import KnownReferrers, due_alert
from pullahead.oci import Digest, InvalidManifestError
from pullahead.text import size_text, span_text

BLOCKING_ERRORS = frozenset(
    kind.__name__
    for kind in (
        AccessDeniedError,
        ConfigError,
        DigestMismatchError,
        ImageTooLargeError,
        InvalidManifestError,
        ManifestRefusedError,
        SigningDeniedError,
        TagImmutableError,
        UnsupportedMediaTypeError,
    )
)
"""Errors that a retry does not help until a human acts: the class names, as Step Functions passes them on."""

TRIES_OF_NEW_DIGESTS = 3
"""Refreshes to so many digests may fail in a row before the next one waits, too."""
_FIRST_RETRY = timedelta(minutes=5)
_LAST_RETRY = timedelta(hours=6)
_LONGEST_RETRY_AHEAD = timedelta(minutes=14)  # SQS delays by 15 at most: of 5, 10, 20 ... minutes the first two
_LONGEST_DEFERRAL = timedelta(hours=1)  # a limit may reset, or be raised, before the registry says so


def after_success(record: MirrorRecord, published: Published, refresh: LastRefresh) -> MirrorRecord:
    """Record what was published. The mirror is fresh unless something else is wanted by now."""
    source = published.upstream_digest
    is_wanted = (record.upstream_digest, record.platforms) == (source, published.platforms)
    changes: dict[str, Any] = {
        "published_digest": published.digest,
        "left_at": None,
        "replicated_from": None,
        "filtered": published if published.platforms else None,
        "last_refresh": refresh,
        "failure": None if is_wanted or record.failure is None or record.failure.digest == source else record.failure,
    }
    record = after_publish(record, source, refresh.ended_at)
    if is_wanted and record.state not in (State.GONE, State.UNKNOWN):  # else the next check decides
        state = state_of(record.waiting)
        changes |= {"state": state, "unfresh_since": None, "error_kind": None, "error": None, "denied": ""}
        if record.state is not state:
            copied = f"{size_text(refresh.bytes_copied)} copied in {span_text(timedelta(seconds=refresh.seconds))}"
            changes |= {"since": refresh.ended_at, "trigger": Trigger.REFRESH, "reason": copied}
    return record.with_changes(**changes)


def after_failure(record: MirrorRecord, wanted: Digest, error_kind: str, error: str, now: datetime) -> MirrorRecord:
    """Record that a refresh failed: BLOCKED where a human must act, else with a retry after a back-off.

    A deferred refresh has not failed, nor has one that was no longer wanted: it is retried when its limit may allow it,
    if a check still asks for it. A mirror that has become fresh, or whose upstream has moved meanwhile, is left as it
    is.
    """
    if record.state in ON_TIME or record.upstream_digest != wanted:
        return record
    if error_kind in (DeferredError.__name__, NoLongerWantedError.__name__):
        return _after_deferral(record, wanted, error_kind, error, now)
    blocking = error_kind in BLOCKING_ERRORS
    count, digests = failures_in_a_row(record, wanted) + 1, failed_digests(record, wanted)
    doublings = count - 1 + max(0, digests - TRIES_OF_NEW_DIGESTS + 1)
    wait = _LAST_RETRY if blocking else _backoff(doublings)
    state = State.BLOCKED if blocking else record.state
    entered = {} if state is record.state else {"since": now, "trigger": Trigger.REFRESH}
    return record.with_changes(
        state=state,
        **entered,
        failure=RefreshFailure(wanted, error_kind, error, blocking, count, now + wait, digests),
        episode=record.episode + 1,
    )


def after_refused_publish(record: MirrorRecord, request: RefreshRequest, refusal: str, now: datetime) -> MirrorRecord:
    """Record that a digest was copied without its tag: it may not be served yet.

    Where a check thought that it may, by another clock or by other rules, a later check tries again.
    """
    wanted = request.root.digest
    record = after_copy(record, wanted)
    if record.upstream_digest != wanted or record.state in ON_TIME or request.episode < record.episode:
        return record
    failure = RefreshFailure(
        wanted, "NotAdmitted", refusal, False, 0, now + _FIRST_RETRY, failed_digests(record, wanted)
    )
    return record.with_changes(failure=failure, episode=record.episode + 1)


def after_abort(record: MirrorRecord, wanted: Digest, now: datetime) -> MirrorRecord:
    """Record that a refresh ended without recording its outcome, or that its success did not last.

    The first time it may be tried again at once: it has ended some time ago.
    """
    count, digests = failures_in_a_row(record, wanted) + 1, failed_digests(record, wanted)
    text = "the refresh ended without a lasting outcome; see the executions of the refresh state machine"
    wait = timedelta() if count == 1 else _backoff(count - 2)
    failure = RefreshFailure(wanted, "RefreshAborted", text, False, count, now + wait, digests)
    return record.with_changes(failure=failure, episode=record.episode + 1)


def _backoff(doublings: int) -> timedelta:
    factor: int = 2 ** min(doublings, 10)
    return min(_LAST_RETRY, _FIRST_RETRY * factor)


def retry_ahead_of_schedule(record: MirrorRecord, wanted: Digest, now: datetime) -> timedelta | None:
    """Return after how long a mirror whose refresh has failed is to be checked again; None: the schedule does that.

    Only the first retries come so soon. A deferred refresh is left to the schedule: its registry is asked too much as
    it is.
    """
    failure = record.failure
    if record.state in ON_TIME or failure is None or failure.digest != wanted or failure.blocking or not failure.count:
        return None
    wait = max(timedelta(), failure.retry_at - now)
    return wait if wait <= _LONGEST_RETRY_AHEAD else None


def _after_deferral(record: MirrorRecord, wanted: Digest, error_kind: str, error: str, now: datetime) -> MirrorRecord:
    """Postpone the retry. Earlier failures, and their number, are kept."""
    wait = timedelta(seconds=seconds_until_again(error) or _FIRST_RETRY.total_seconds())
    retry_at = now + min(wait, _LONGEST_DEFERRAL)
    if record.failure is not None and failures_in_a_row(record, wanted):
        failure = structs.replace(record.failure, retry_at=retry_at)
    else:
        failure = RefreshFailure(wanted, error_kind, error, False, 0, retry_at, failed_digests(record, wanted))
    return record.with_changes(
        failure=failure, episode=record.episode + 1
    )  # the name of its execution cannot be used again


def with_referrers(record: MirrorRecord, known: KnownReferrers, alert_after: timedelta, now: datetime) -> MirrorRecord:
    """Record what became of the referrers, with the alert that some fail, or no longer do."""
    alert = due_alert(known, record.key, record.upstream, alert_after, now)
    if alert is None:
        return record.with_changes(referrers=known)
    known = structs.replace(known, alerted=alert.kind is AlertKind.REFERRERS_FAILED)
    return record.with_changes(referrers=known, pending=(*record.pending, alert))


def failures_in_a_row(record: MirrorRecord, wanted: Digest) -> int:
    """Count the refreshes to a digest that have failed in a row."""
    return record.failure.count if record.failure is not None and record.failure.digest == wanted else 0


def failed_digests(record: MirrorRecord, failed: Digest) -> int:
    """Count the digests to which refreshes have failed in a row, with one that fails now: upstream may send another
    digest each time."""
    failure = record.failure
    if failure is None:
        return 1
    return failure.digests if failure.digest == failed or not failure.count else failure.digests + 1


def is_new_try(failure: RefreshFailure, wanted: Digest | None) -> bool:
    """Whether upstream has moved since refreshes failed, so that another one need not wait.

    Not after failures to several digests: an upstream could send another one at each check, and never be waited for.
    """
    return failure.digest != wanted and failure.digests < TRIES_OF_NEW_DIGESTS
