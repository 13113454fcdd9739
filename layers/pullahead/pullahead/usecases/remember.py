"""Change a record so that nothing is lost: conditional writes, and alerts kept until they are known to be sent."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.errors import ConflictError
from pullahead.freshness.alerts import Alert
from pullahead.freshness.records import Record
from pullahead.ports import PublishesAlerts, Records

_MAX_TRIES = 5
_ORPHANED_AFTER = timedelta(minutes=5)  # no function that writes records runs longer


class Updated(NamedTuple):
    """A record as it stands after an update, and the alerts that this update added to it."""

    record: Record | None
    added: tuple[Alert, ...] = ()


def update(records: Records, key: str, change: Callable[[Record | None], Record | None]) -> Updated:
    """Apply a pure change to a record and write it, if it says anything new; on a conflict, read and apply again.

    `change` may answer None to leave things as they are. Raises StorageError, and ConflictError after five tries.
    """
    for _ in range(_MAX_TRIES):
        before = records.load([key]).get(key)
        after = change(before)
        if after is None or after.says_the_same_as(before):
            return Updated(before)
        try:
            saved = records.save(after, before.version if before is not None else 0)
        except ConflictError:
            continue
        return Updated(saved, added_alerts(before, saved))
    raise ConflictError(f"the record of {key} was changed by others {_MAX_TRIES} times in a row")


def added_alerts(before: Record | None, after: Record) -> tuple[Alert, ...]:
    """Tell which pending alerts a change added."""
    known = before.pending if before is not None else ()
    return tuple(alert for alert in after.pending if alert not in known)


def deliver_pending(
    record: Record, added: tuple[Alert, ...], records: Records, alerts: PublishesAlerts, now: datetime
) -> Record:
    """Send the alerts that were just added to a record, and those whose writer did not live to send them.

    The answer is the record as it stands then.

    Whoever adds an alert sends it, so that two that work on one mirror at once do not both say it; after five minutes
    the writer is taken for dead. A crash between sending and noting repeats an alert rather than losing it.
    """
    due = [alert for alert in record.pending if alert in added or now - alert.at >= _ORPHANED_AFTER]
    if not due:
        return record
    for alert in due:
        alerts.publish(alert)

    def without_sent(current: Record | None) -> Record | None:
        if current is None:
            return None
        return current.with_changes(pending=tuple(alert for alert in current.pending if alert not in due))

    return update(records, record.key, without_sent).record or record
