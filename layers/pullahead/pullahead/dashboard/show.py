"""Read the records and draw the page of mirrors. Writes nothing.

Up to 5,000 mirrors are all read, whatever their state. Where there are more, only those that are not fresh are: by the
index of reviews, those that have not been fresh for longest first.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

from pullahead.dashboard.heat_map import DAYS
from pullahead.dashboard.mirror_rows import SettledCount, Snapshot
from pullahead.dashboard.page import error_page, widget_page
from pullahead.dashboard.widget_request import DOCUMENTATION, read_request
from pullahead.errors import StorageError
from pullahead.mirrors.record import SETTLED, Record, transitions_of
from pullahead.mirrors.review_index import MAX_SHOWN
from pullahead.mirrors.store import DamagedRecord, NewerRecord, RecordStore

MAX_LISTED: Final = 5000
"""Mirrors up to which all are read."""
MAX_READ: Final = 2 * MAX_LISTED  # with those that are about to be deleted


class Shown(NamedTuple):
    """What the widget shows, and of how many mirrors; `error`: why it shows an error instead."""

    content: str
    mirrors: int = 0
    error: StorageError | None = None


def show_mirrors(event: object, endpoint: str, records: RecordStore, now: datetime) -> Shown:
    """Draw what the widget requests. If the records cannot be read, the page says so instead of being empty."""
    asked = read_request(event)
    if asked.describe:
        return Shown(DOCUMENTATION)
    try:
        snapshot = take_snapshot(records, now)
    except StorageError as error:
        return Shown(error_page(str(error), asked.theme, endpoint), error=error)
    return Shown(widget_page(snapshot, asked.view, asked.theme, endpoint), snapshot.mirrors)


def take_snapshot(records: RecordStore, now: datetime) -> Snapshot:
    """Read what a page needs: every record, or what is not fresh where there are too many. Raises StorageError."""
    scan, heartbeat = records.load_scan_state().last, records.load_heartbeat()
    last_check = heartbeat.at if heartbeat is not None else None
    if scan is None or scan.records <= MAX_LISTED:
        read = list(islice(records.scan(), MAX_READ + 1))
        shown = [record for record in read if isinstance(record, Record) and record.expires_at is None]
        if len(read) <= MAX_READ and len(shown) <= MAX_LISTED:
            return _snapshot(shown, read, last_check, now)
    read = list(islice(records.to_review(), MAX_SHOWN + 1))
    unread = records.count_to_review() - MAX_SHOWN if len(read) > MAX_SHOWN else 0
    del read[MAX_SHOWN:]
    unfresh = [each for each in read if isinstance(each, Record) and each.expires_at is None]
    unfresh = [record for record in unfresh if record.state not in SETTLED]
    return _snapshot(unfresh, read, last_check, now)._replace(settled=SettledCount.of(scan), unread=max(0, unread))


def _snapshot(
    shown: Sequence[Record],
    read: Sequence[Record | NewerRecord | DamagedRecord],
    last_check: datetime | None,
    now: datetime,
) -> Snapshot:
    since = now - timedelta(days=DAYS)
    transitions = [transition for record in shown for transition in transitions_of(record, since)]
    newer, damaged = (sum(isinstance(each, kind) for each in read) for kind in (NewerRecord, DamagedRecord))
    return Snapshot(shown, last_check, now, transitions, newer=newer, damaged=damaged)
