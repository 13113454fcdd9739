"""Record how a refresh ended, and tell whom it concerns."""

from pullahead.errors import InvalidEventError
from pullahead.freshness.judge import with_alerts
from pullahead.freshness.outcome import after_failure, after_success
from pullahead.freshness.records import LastRefresh, Published, Record
from pullahead.messages import OutcomeRequest, OutcomeResult
from pullahead.ports import Clock, PublishesAlerts, Records
from pullahead.rules.model import Rules, mirror_key
from pullahead.usecases.remember import deliver_pending, update


def record_outcome(
    outcome: OutcomeRequest, rules: Rules, records: Records, alerts: PublishesAlerts, clock: Clock
) -> OutcomeResult:
    """Write what a refresh came to into its mirror's record, and send the alerts that follow from it.

    A mirror whose record is gone, or that no rule names any more, is left alone.
    Raises: StorageError, ConflictError, InvalidEventError.
    """
    key = mirror_key(outcome.request.repository, outcome.request.tag)
    copied = sum(unit.bytes_copied for unit in outcome.units)
    mirror = rules.find(outcome.request.repository, outcome.request.tag)

    def change(record: Record | None) -> Record | None:
        if record is None or mirror is None:
            return None
        return with_alerts(record, _apply(record, outcome, copied, clock), mirror.alert_after, clock())

    record, added = update(records, key, change)
    if record is None:
        return OutcomeResult(mirror=key, state="UNRECORDED", bytes_copied=copied)
    deliver_pending(record, added, records, alerts, clock())
    refresh = record.last_refresh
    is_ours = refresh is not None and refresh.execution == outcome.execution
    return OutcomeResult(
        mirror=key,
        state=record.state.value,
        bytes_copied=copied,
        seconds=refresh.seconds if refresh is not None and is_ours else None,
        lag_seconds=refresh.lag_seconds if refresh is not None and is_ours else None,
    )


def _apply(record: Record, outcome: OutcomeRequest, copied: int, clock: Clock) -> Record:
    now = clock()
    request = outcome.request
    if outcome.error is not None:
        return after_failure(record, request.root.digest, outcome.error.error, outcome.error.text, now)
    if outcome.published is None:
        raise InvalidEventError("OutcomeRequest: neither `published` nor `error` is there")
    if outcome.published.superseded:
        return record
    refresh = LastRefresh(
        ended_at=now,
        seconds=max(0.0, (now - outcome.started_at).total_seconds()),
        lag_seconds=max(0.0, (now - request.stale_since).total_seconds()),
        bytes_copied=copied,
        execution=outcome.execution,
    )
    published = Published(request.root.digest, request.platforms, outcome.published.digest)
    return after_success(record, published, refresh)
