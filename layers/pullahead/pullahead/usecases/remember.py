"""Change a record so that nothing is lost: conditional writes, and alerts kept until they are known to be sent."""

from collections.abc import Callable

from pullahead.errors import ConflictError
from pullahead.freshness.records import Record
from pullahead.ports import PublishesAlerts, Records

_MAX_TRIES = 5


def update(records: Records, key: str, change: Callable[[Record | None], Record | None]) -> Record | None:
    """Apply a pure change to a record and write it, if it says anything new; on a conflict, read and apply again.

    `change` may answer None to leave things as they are. Raises StorageError, and ConflictError after five tries.
    """
    for _ in range(_MAX_TRIES):
        before = records.load([key]).get(key)
        after = change(before)
        if after is None or after.says_the_same_as(before):
            return before
        try:
            return records.save(after, before.version if before is not None else 0)
        except ConflictError:
            continue
    raise ConflictError(f"the record of {key} was changed by others {_MAX_TRIES} times in a row; the check is repeated")


def deliver_pending(record: Record, records: Records, alerts: PublishesAlerts) -> Record:
    """Send the alerts that a record still holds, then take them off it.

    Sent at least once: a crash between the two repeats an alert rather than losing it.
    """
    if not record.pending:
        return record
    for alert in record.pending:
        alerts.publish(alert)
    sent = record.pending

    def without_sent(current: Record | None) -> Record | None:
        if current is None:
            return None
        return current.with_changes(pending=tuple(alert for alert in current.pending if alert not in sent))

    return update(records, record.key, without_sent) or record
