"""Record the outcome of a refresh, and queue a check for the moment at which a failed one may be retried."""

import math
from datetime import datetime, timedelta
from typing import Final

from pullahead.clock import Clock
from pullahead.errors import (
    DeferredError,
    InvalidEventError,
    NoLongerWantedError,
    NotFoundError,
    Side,
    side_of_message,
)
from pullahead.messages import (
    CheckRequest,
    Failure,
    OutcomeRequest,
    OutcomeResult,
    RefreshRequest,
    ScanVerdict,
    Trouble,
)
from pullahead.mirrors.admission import after_failed_look, after_not_found, after_scanned, is_awaited, look_again_after
from pullahead.mirrors.judge import with_alerts, with_taken_back
from pullahead.mirrors.outbox import OutboxSender, with_outcome_events
from pullahead.mirrors.previous import KeptDigest, with_kept
from pullahead.mirrors.record import LastRefresh, MirrorRecord, Published
from pullahead.mirrors.referrers import after_referrers, after_trouble
from pullahead.mirrors.refresh_outcome import (
    after_failure,
    after_refused_publish,
    after_success,
    retry_ahead_of_schedule,
    with_referrers,
)
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.refresh.ports import QueueCheck, no_check
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, NewlyCached, Rules, never_cached

SCAN_LOOK_SECONDS: Final = 30
"""After a copy whose scans had no result: most of ECR's basic scans are done by then."""

_NOT_FAILED = frozenset({DeferredError.__name__, NoLongerWantedError.__name__})


def record_outcome(
    outcome: OutcomeRequest,
    rules: Rules,
    records: RecordStore,
    announcer: OutboxSender,
    clock: Clock,
    newly_cached: NewlyCached = never_cached,
    queue_check: QueueCheck = no_check,
) -> OutcomeResult:
    """Write the outcome of a refresh into its mirror's record, with the alerts that follow, and send its events.

    A refresh that has failed queues one check, for when it may be retried, if that is before long. Such checks do not
    multiply: only a refresh that was started leads to another one, and each waits twice as long as the one before.

    Nothing is written for a mirror that has no record, or that no rule names any more.
    Raises: StorageError, ConflictError, InvalidEventError.
    """
    key = MirrorKey(outcome.request.repository, outcome.request.tag)
    copied = sum(unit.bytes_copied for unit in (*outcome.units, *outcome.referrer_units))
    repository, tag = outcome.request.repository, outcome.request.tag
    mirror = rules.find(repository, tag) or newly_cached(repository, tag)
    before: MirrorRecord | None = None

    def change(current: MirrorRecord | None) -> MirrorRecord | None:
        nonlocal before
        before = current
        if current is None or mirror is None:
            return None
        if outcome.request.late:
            after = _apply_late(current, outcome, mirror.alert_after, clock())
        else:
            after = _apply(current, outcome, copied, mirror, clock)
            after = with_alerts(current, after, mirror.alert_after, clock())
        return with_outcome_events(current, after, mirror.rule, clock())

    record = update_record(records, key, change)
    if record is None:
        return OutcomeResult(mirror=str(key), state="UNRECORDED", bytes_copied=copied)
    announcer.announce(before, record)
    waits = (_retry_after(outcome, record, clock()), _look_after(outcome, record, mirror, clock()))
    if (wait := min((each for each in waits if each is not None), default=None)) is not None:
        request = CheckRequest(reason="schedule", repository=repository, tags=(tag,), asked_at=clock())
        queue_check([request], math.ceil(wait.total_seconds()) + 1)  # a second more, since clocks differ
    if (seconds := _scan_look_after(outcome, record, mirror, clock())) is not None:
        look = CheckRequest(reason="scan", repository=repository, tags=(tag,), asked_at=clock(), settled=True)
        queue_check([look], seconds)
    refresh = record.last_refresh
    is_ours = refresh is not None and refresh.execution == outcome.execution
    return OutcomeResult(
        mirror=str(key),
        state=record.state.value if _is_wanted(outcome) else "NO_LONGER_WANTED",
        bytes_copied=copied,
        seconds=refresh.seconds if refresh is not None and is_ours else None,
        lag_seconds=refresh.lag_seconds if refresh is not None and is_ours else None,
    )


def _retry_after(outcome: OutcomeRequest, record: MirrorRecord, now: datetime) -> timedelta | None:
    """Return after how long a failed refresh is to be retried ahead of the schedule."""
    if outcome.error is None or outcome.request.late or outcome.error.error in _NOT_FAILED:
        return None
    return retry_ahead_of_schedule(record, outcome.request.root.digest, now)


def _scan_look_after(outcome: OutcomeRequest, record: MirrorRecord, mirror: Mirror | None, now: datetime) -> int | None:
    """Return after how many seconds a check is to act by the scans that a publish has read, or to read them.

    The event of a scan may have come before what is scanned was recorded; a scan that is done later has its own.
    """
    scan = outcome.published.scan if outcome.published is not None and outcome.error is None else None
    if scan is None or mirror is None or mirror.admit is None:
        return None
    if scan.verdict is ScanVerdict.CLEAN and is_awaited(record, mirror, outcome.request.root.digest, now):
        return None
    return SCAN_LOOK_SECONDS if scan.verdict is ScanVerdict.NONE else 0


def _is_wanted(outcome: OutcomeRequest) -> bool:
    return outcome.error is None or outcome.error.error != NoLongerWantedError.__name__


def _apply_late(record: MirrorRecord, outcome: OutcomeRequest, alert_after: timedelta, now: datetime) -> MirrorRecord:
    """Apply the outcome of a copy of late referrers, unless the mirror has moved on."""
    digest = outcome.request.root.digest
    if record.upstream_digest != digest or not _is_wanted(outcome):
        return record
    referrers = outcome.published.referrers if outcome.published is not None else None
    if outcome.error is not None:
        trouble = Trouble(outcome.error.error, outcome.error.text)
        known = after_trouble(record.referrers, digest, trouble, outcome.execution, now)
    elif referrers is None:
        return record  # the rule copies none any more
    else:
        known = after_referrers(record.referrers, digest, referrers, outcome.execution, now)
    return with_referrers(record, known, alert_after, now)


def _look_after(
    outcome: OutcomeRequest, record: MirrorRecord, mirror: Mirror | None, now: datetime
) -> timedelta | None:
    """Return after how long what a look at signatures found is acted upon, or it is looked again."""
    if mirror is None or outcome.request.late:
        return None
    return look_again_after(record, mirror, outcome.request.root.digest, outcome.started_at, now)


def _apply_failure(
    record: MirrorRecord, request: RefreshRequest, error: Failure, mirror: Mirror, began: datetime, now: datetime
) -> MirrorRecord:
    """Apply a failure: once, as it may be recorded again, or the refresh be requested again since."""
    if request.episode < record.episode:
        return record
    digest = request.root.digest
    if error.error == NotFoundError.__name__ and side_of_message(error.text) == Side.UPSTREAM:
        record, news = after_not_found(record, digest, now)
        record = with_taken_back(record, news, now)
    if request.ahead:  # it is copied when it may be served
        return after_failed_look(record, mirror, digest, f"{error.error}: {error.text}", began, now)
    return after_failure(record, digest, error.error, error.text, now)


def _apply(record: MirrorRecord, outcome: OutcomeRequest, copied: int, mirror: Mirror, clock: Clock) -> MirrorRecord:
    now, alert_after = clock(), mirror.alert_after
    request, last = outcome.request, record.last_refresh
    if last is not None and last.execution == outcome.execution:
        return record  # recorded before; what was observed since is newer
    if outcome.error is not None:
        return _apply_failure(record, request, outcome.error, mirror, outcome.started_at, now)
    if outcome.published is None:
        raise InvalidEventError("OutcomeRequest: neither `published` nor `error` is set")
    if outcome.published.superseded:
        return record
    if outcome.published.scan is not None:
        record = after_scanned(record, request.root.digest, outcome.published.scan)
    if outcome.published.held:
        return after_refused_publish(record, request, outcome.published.held, now)
    refresh = LastRefresh(
        ended_at=now,
        seconds=max(0.0, (now - outcome.started_at).total_seconds()),
        lag_seconds=max(0.0, (now - request.stale_since).total_seconds()),
        bytes_copied=copied,
        execution=outcome.execution,
        digest=outcome.published.digest,
    )
    published = Published(request.root.digest, request.platforms, outcome.published.digest)
    if outcome.published.referrers is not None:
        known = after_referrers(
            record.referrers, request.root.digest, outcome.published.referrers, outcome.execution, now
        )
        record = with_referrers(record, known, alert_after, now)
    if (kept := outcome.published.kept) is not None:
        record = record.with_changes(kept=with_kept(record.kept, KeptDigest(kept.digest, kept.tag, now)))
    return after_success(record, published, refresh)
