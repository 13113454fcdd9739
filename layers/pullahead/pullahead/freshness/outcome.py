"""What the end of a refresh does to a record. Pure."""

from datetime import datetime, timedelta

from pullahead.errors import (
    AccessDeniedError,
    ConfigError,
    DigestMismatchError,
    ManifestRefusedError,
    TagImmutableError,
    UnsupportedMediaTypeError,
)
from pullahead.freshness.records import LastRefresh, Record, RefreshFailure, State
from pullahead.oci import Digest, InvalidManifestError

BLOCKING_ERRORS = frozenset(
    kind.__name__
    for kind in (
        AccessDeniedError,
        ConfigError,
        DigestMismatchError,
        InvalidManifestError,
        ManifestRefusedError,
        TagImmutableError,
        UnsupportedMediaTypeError,
    )
)
"""Errors that another try will not mend until a human acts; the class names, as Step Functions hands them on."""

_FIRST_RETRY = timedelta(minutes=5)
_LAST_RETRY = timedelta(hours=6)


def after_success(record: Record, published: Digest, refresh: LastRefresh) -> Record:
    """Record that a digest was published. The mirror is fresh unless upstream was seen to be elsewhere meanwhile."""
    failure = record.failure if record.failure is not None and record.failure.digest != published else None
    record = record.with_changes(published_digest=published, last_refresh=refresh, failure=failure)
    if record.upstream_digest != published or record.state in (State.GONE, State.UNKNOWN):
        return record  # the next check will tell
    since = record.since if record.state is State.FRESH else refresh.ended_at
    return record.with_changes(state=State.FRESH, since=since, unfresh_since=None, error_kind=None, error=None)


def after_failure(record: Record, wanted: Digest, error_kind: str, error: str, now: datetime) -> Record:
    """Record that a refresh failed: BLOCKED where a human must act, else to be tried again later and later.

    A mirror that has become fresh, or whose upstream has moved on, is not touched by the late news.
    """
    if record.state is State.FRESH or record.upstream_digest != wanted:
        return record
    blocking = error_kind in BLOCKING_ERRORS
    count = failures_in_a_row(record, wanted) + 1
    wait = _LAST_RETRY if blocking else min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(count - 1, 10))
    state = State.BLOCKED if blocking else record.state
    return record.with_changes(
        state=state,
        since=record.since if state is record.state else now,
        failure=RefreshFailure(wanted, error_kind, error, blocking, count, now + wait),
        episode=record.episode + 1,
    )


def failures_in_a_row(record: Record, wanted: Digest) -> int:
    """Count the refreshes to a digest that have failed since something else was wanted."""
    return record.failure.count if record.failure is not None and record.failure.digest == wanted else 0
