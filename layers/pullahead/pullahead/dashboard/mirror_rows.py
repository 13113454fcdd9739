"""The rows of the table of mirrors, their order, and the snapshot they are made from."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pullahead.dashboard.states import STATE_RANKS, meaning_of
from pullahead.mirrors.record import ON_TIME, SETTLED, MirrorRecord, Record, State, Transition
from pullahead.mirrors.record_scan import RecordScan
from pullahead.rules.mirror_key import RecordKey
from pullahead.text import one_line

_MAX_CAUSE: Final = 200
_MAX_UPSTREAM: Final = 160


class Row(NamedTuple):
    """One row: a mirror, or the listing or daily limit of a rule, as people see it."""

    state: State
    key: RecordKey
    repository: str
    upstream: str
    unfresh_for: timedelta | None  # None: it is fresh
    unfresh_since: datetime | None
    copy_age: timedelta | None  # None: Pullahead has not published it
    copied_at: datetime | None
    cause: str  # one line; empty where nothing went wrong
    means: str  # what the state means for it
    next_try: timedelta | None
    execution: str | None  # the refresh that last published it
    referrers: int | None = None  # that ECR has; None: they were not looked for
    referrers_failed: int = 0


def row_of(record: Record, now: datetime, max_cause: int | None = _MAX_CAUSE) -> Row:
    """Make the row of a record; a cause longer than `max_cause` characters is cut."""
    since = unfresh_since(record)
    refresh = record.last_refresh if isinstance(record, MirrorRecord) else None
    failure = record.failure if isinstance(record, MirrorRecord) else None
    referrers = record.referrers.outcome if isinstance(record, MirrorRecord) and record.referrers is not None else None
    return Row(
        record.state,
        record.key,
        record.key.repository,
        one_line(record.upstream, _MAX_UPSTREAM),
        now - since if since is not None else None,
        since,
        now - refresh.ended_at if refresh is not None else None,
        refresh.ended_at if refresh is not None else None,
        one_line(_cause_of(record), max_cause),
        meaning_of(record),
        failure.retry_at - now if failure is not None and record.state not in ON_TIME else None,
        refresh.execution if refresh is not None else None,
        referrers.copied if referrers is not None else None,
        referrers.failed if referrers is not None else 0,
    )


def _cause_of(record: Record) -> str:
    if record.state in SETTLED:
        return ""
    if isinstance(record, MirrorRecord) and record.state is State.GONE and record.cause:
        return f"{meaning_of(record)} ({record.cause.rstrip('.')})"
    return record.cause


def unfresh_since(record: Record) -> datetime | None:
    """Return since when a mirror is not fresh; None if it is, if its rule leaves it deleted, or what is newer waits."""
    return None if record.state in ON_TIME else record.unfresh_since or record.since


def worst_first(records: Iterable[Record]) -> list[Record]:
    """Sort by state, then by how long a mirror has not been fresh, then by name."""

    def order(record: Record) -> tuple[int, float, str]:
        since = unfresh_since(record)
        return STATE_RANKS[record.state], since.timestamp() if since is not None else 0.0, str(record.key)

    return sorted(records, key=order)


def longest_unfresh(records: Sequence[Record]) -> Record | None:
    """Find the mirror that has not been fresh for longest."""
    waiting = [record for record in records if record.state not in ON_TIME]
    return min(waiting, key=lambda record: (unfresh_since(record) or record.since, str(record.key)), default=None)


class SettledCount(NamedTuple):
    """How many mirrors are fresh, or left deleted, where they are only counted: when, and by the last full scan."""

    at: datetime | None  # None: no scan has ended yet
    fresh: int = 0
    deleted: int = 0

    @classmethod
    def of(cls, scan: RecordScan | None) -> "SettledCount":
        """Take the counts of a scan."""
        return cls(None) if scan is None else cls(scan.ended_at, scan.fresh, scan.deleted)


class Snapshot(NamedTuple):
    """Every record, when checks were last sent, and the transitions of the last days.

    Where there are too many records, `settled` counts those that are fresh or left deleted, and they are left out.
    """

    records: Sequence[Record]
    last_check: datetime | None
    now: datetime
    transitions: Sequence[Transition] = ()
    settled: SettledCount | None = None
    unread: int = 0  # records that are not fresh, either, and were not read
    newer: int = 0  # records that only a newer version of Pullahead can read
    damaged: int = 0  # records that cannot be read

    @property
    def counts(self) -> Counter[State]:
        """Count the mirrors by state, as far as they were read or counted."""
        counts = Counter(record.state for record in self.records)
        if self.settled is not None:
            counts.update({State.FRESH: self.settled.fresh, State.DELETED: self.settled.deleted})
        return counts

    @property
    def mirrors(self) -> int:
        """Count the mirrors."""
        return self.counts.total() + self.unread
