"""How fresh repositories were over the last days, as far as records tell."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pullahead.dashboard.mirror_rows import unfresh_since
from pullahead.mirrors.record import ON_TIME, MirrorRecord, Record, State, Transition
from pullahead.rules.mirror_key import RecordKey

BUCKET: Final = timedelta(hours=6)
DAYS: Final = 7
MAX_ROWS: Final = 20

_BUCKET_SECONDS: Final = BUCKET.total_seconds()
_BUCKETS: Final = DAYS * int(timedelta(days=1) / BUCKET)


class HeatRow(NamedTuple):
    """One repository. A cell is the share of its mirrors' time in which they were not fresh; None: not known.

    Time of which nothing is known counts as fresh, so the share is a lower bound: a few seconds that are all that is
    known of six hours do not fill the cell.
    """

    repository: str
    mirrors: int
    cells: tuple[float | None, ...]


class HeatMap(NamedTuple):
    """Repositories, worst first, by time buckets; the last bucket is the current one."""

    starts: tuple[datetime, ...]
    rows: tuple[HeatRow, ...]
    left_out: int  # further repositories


class _Period(NamedTuple):
    """A period in which a mirror was fresh, or was not, in seconds since 1970."""

    start: float
    end: float
    fresh: bool


class _Sums:
    """The sums of one repository, in seconds by bucket."""

    def __init__(self) -> None:
        self.mirrors = 0
        self.known, self.unfresh = [False] * _BUCKETS, [0.0] * _BUCKETS

    def add(self, period: _Period, first: float) -> None:
        """Add a period to the buckets that it overlaps; `first`: when they begin."""
        begin = max(0, int((period.start - first) // _BUCKET_SECONDS))
        for number in range(begin, _BUCKETS):
            start = first + number * _BUCKET_SECONDS
            seconds = min(period.end, start + _BUCKET_SECONDS) - max(period.start, start)
            if seconds <= 0:
                return
            self.known[number] = True
            if not period.fresh:
                self.unfresh[number] += seconds
            if period.end <= start + _BUCKET_SECONDS:
                return

    def cells(self, current: float) -> tuple[float | None, ...]:
        """Turn the sums into shares; `current`: how many seconds the current bucket has lasted."""
        lengths = [_BUCKET_SECONDS] * (_BUCKETS - 1) + [current]
        return tuple(
            min(1.0, bad / (length * self.mirrors)) if known and length else None
            for bad, known, length in zip(self.unfresh, self.known, lengths, strict=True)
        )


def heat_map(records: Sequence[Record], transitions: Iterable[Transition], now: datetime) -> HeatMap:
    """Compute, for each repository and bucket, the share of time in which its mirrors were not fresh."""
    first = (now.timestamp() // _BUCKET_SECONDS - _BUCKETS + 1) * _BUCKET_SECONDS
    past = _by_key(transitions)
    sums: dict[str, _Sums] = defaultdict(_Sums)
    for record in records:
        if not isinstance(record, MirrorRecord):
            continue
        of_repository = sums[record.key.repository]
        of_repository.mirrors += 1
        for period in _periods(record, past.get(record.key, []), now.timestamp()):
            of_repository.add(period, first)
    worst = sorted(sums, key=lambda repository: (-sum(sums[repository].unfresh), repository))
    current = now.timestamp() - first - (_BUCKETS - 1) * _BUCKET_SECONDS
    rows = (HeatRow(name, sums[name].mirrors, sums[name].cells(current)) for name in worst[:MAX_ROWS])
    starts = (datetime.fromtimestamp(first, now.tzinfo) + number * BUCKET for number in range(_BUCKETS))
    return HeatMap(tuple(starts), tuple(rows), max(0, len(worst) - MAX_ROWS))


def _by_key(transitions: Iterable[Transition]) -> dict[RecordKey, list[Transition]]:
    found: dict[RecordKey, list[Transition]] = defaultdict(list)
    for transition in transitions:
        found[transition.key].append(transition)
    for of_one in found.values():
        of_one.sort(key=lambda transition: transition.at)
    return found


def _periods(record: MirrorRecord, past: Sequence[Transition], now: float) -> Iterator[_Period]:
    """List the known periods of one mirror. Where they differ, the record's state wins over its history."""
    present = (unfresh_since(record) or record.since).timestamp()
    yield _Period(present, now, record.state in ON_TIME)
    starts = [transition.at.timestamp() for transition in past]
    for transition, start, end in zip(past, starts, [*starts[1:], present], strict=False):
        yield _Period(start, min(end, present), transition.state in ON_TIME)
    refresh = record.last_refresh
    is_without_history = all(transition.at >= record.since for transition in past)
    if is_without_history and refresh is not None and record.state is State.FRESH:
        # Without history, the last refresh still tells for how long the mirror was not fresh before it.
        ended = min(refresh.ended_at.timestamp(), present)
        yield _Period(ended - refresh.lag_seconds, ended, fresh=False)
