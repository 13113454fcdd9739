"""Read every record and draw the page of mirrors. Writes nothing."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

from pullahead.dashboard.heat_map import DAYS
from pullahead.dashboard.mirror_rows import Snapshot
from pullahead.dashboard.page import error_page, widget_page
from pullahead.dashboard.widget_request import DOCUMENTATION, read_request
from pullahead.errors import StorageError
from pullahead.mirrors.record import Record, transitions_of
from pullahead.mirrors.store import NewerRecord, RecordStore

MAX_RECORDS: Final = 20_000


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
    return Shown(widget_page(snapshot, asked.view, asked.theme, endpoint), len(snapshot.records))


def take_snapshot(records: RecordStore, now: datetime) -> Snapshot:
    """Read what a page needs. Raises StorageError."""
    newer = list[NewerRecord]()

    def followed() -> Iterator[Record]:
        for record in records.scan():
            if isinstance(record, NewerRecord):
                newer.append(record)
            elif record.expires_at is None:  # the others are about to be deleted
                yield record

    found = list(islice(followed(), MAX_RECORDS + 1))
    since = now - timedelta(days=DAYS)
    heartbeat = records.load_heartbeat()
    return Snapshot(
        found[:MAX_RECORDS],
        heartbeat.at if heartbeat is not None else None,
        now,
        [transition for record in found[:MAX_RECORDS] for transition in transitions_of(record, since)],
        complete=len(found) <= MAX_RECORDS,
        newer=len(newer),
    )
