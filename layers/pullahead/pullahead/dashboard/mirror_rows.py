"""What the table says of each mirror, and which mirror comes first. Pure.

What was read for one page. Pure data.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pullahead.dashboard.states import RANKS
from pullahead.mirrors.record import SETTLED, MirrorRecord, Record, State, Transition
from pullahead.rules.mirror_key import RecordKey
from pullahead.text import one_line

_MAX_CAUSE: Final = 200
_MAX_UPSTREAM: Final = 160


class Row(NamedTuple):
    """One mirror, or the listing or daily limit of a rule, as a reader sees it."""

    state: State
    key: RecordKey
    repository: str
    upstream: str
    unfresh_for: timedelta | None  # None: it is fresh
    unfresh_since: datetime | None
    copy_age: timedelta | None  # None: Pullahead has not published it
    copied_at: datetime | None
    cause: str  # one line; empty where nothing went wrong
    next_try: timedelta | None
    execution: str | None  # the refresh that last published it


def row_of(record: Record, now: datetime) -> Row:
    """Say how a mirror stands."""
    since = unfresh_since(record)
    refresh = record.last_refresh if isinstance(record, MirrorRecord) else None
    failure = record.failure if isinstance(record, MirrorRecord) else None
    return Row(
        record.state,
        record.key,
        record.key.repository,
        one_line(record.upstream, _MAX_UPSTREAM),
        now - since if since is not None else None,
        since,
        now - refresh.ended_at if refresh is not None else None,
        refresh.ended_at if refresh is not None else None,
        one_line(record.cause, _MAX_CAUSE) if record.state not in SETTLED else "",
        failure.retry_at - now if failure is not None and record.state not in SETTLED else None,
        refresh.execution if refresh is not None else None,
    )


def unfresh_since(record: Record) -> datetime | None:
    """Tell since when a mirror is not fresh; None where it is, or is meant to be deleted."""
    return None if record.state in SETTLED else record.unfresh_since or record.since


def worst_first(records: Iterable[Record]) -> list[Record]:
    """Order by state, then by how long it is not fresh, then by name."""

    def order(record: Record) -> tuple[int, float, str]:
        since = unfresh_since(record)
        return RANKS[record.state], since.timestamp() if since is not None else 0.0, str(record.key)

    return sorted(records, key=order)


def longest_unfresh(records: Sequence[Record]) -> Record | None:
    """Find the mirror that is not fresh for longest."""
    waiting = [record for record in records if record.state not in SETTLED]
    return min(waiting, key=lambda record: (unfresh_since(record) or record.since, str(record.key)), default=None)


class Snapshot(NamedTuple):
    """Every record that was read, the last time that checks were sent, and what the records tell of the past."""

    records: Sequence[Record]
    last_check: datetime | None
    now: datetime
    transitions: Sequence[Transition] = ()
    complete: bool = True  # False: there are more records than were read
