"""How fresh repositories were over the last days, as far as it is known. Pure; draws nothing."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pullahead.dashboard.mirror_rows import unfresh_since
from pullahead.mirrors.record import SETTLED, MirrorRecord, Record, State, Transition
from pullahead.rules.mirror_key import RecordKey

BUCKET: Final = timedelta(hours=6)
DAYS: Final = 7
MOST_ROWS: Final = 20

_BUCKET_SECONDS: Final = BUCKET.total_seconds()
_BUCKETS: Final = DAYS * int(timedelta(days=1) / BUCKET)


class HeatRow(NamedTuple):
    """One repository. A cell is the share of its mirrors' time that is known not to have been fresh.

    None where nothing is known. Time of which nothing is known counts as time, so the share is a lower bound: a few
    seconds that are all that is known of six hours are not the whole of them.
    """

    repository: str
    mirrors: int
    cells: tuple[float | None, ...]


class HeatMap(NamedTuple):
    """Repositories, worst first, by buckets of time; the last bucket is the one that is running."""

    starts: tuple[datetime, ...]
    rows: tuple[HeatRow, ...]
    left_out: int  # repositories that were less bad than all shown


class _Spell(NamedTuple):
    """A time through which a mirror was fresh or was not, in seconds since 1970."""

    start: float
    end: float
    fresh: bool


class _Sums:
    """Seconds of one repository's mirrors, by bucket."""

    def __init__(self) -> None:
        self.mirrors = 0
        self.known, self.unfresh = [False] * _BUCKETS, [0.0] * _BUCKETS

    def add(self, spell: _Spell, first: float) -> None:
        """Add a spell to the buckets that it touches; `first` is where they begin."""
        begin = max(0, int((spell.start - first) // _BUCKET_SECONDS))
        for number in range(begin, _BUCKETS):
            start = first + number * _BUCKET_SECONDS
            seconds = min(spell.end, start + _BUCKET_SECONDS) - max(spell.start, start)
            if seconds <= 0:
                return
            self.known[number] = True
            self.unfresh[number] += 0.0 if spell.fresh else seconds

    def cells(self, running: float) -> tuple[float | None, ...]:
        """Make shares of the sums; `running` is how many seconds the last bucket has lasted."""
        lengths = [_BUCKET_SECONDS] * (_BUCKETS - 1) + [running]
        return tuple(
            min(1.0, bad / (length * self.mirrors)) if known and length else None
            for bad, known, length in zip(self.unfresh, self.known, lengths, strict=True)
        )


def heat_map(records: Sequence[Record], transitions: Iterable[Transition], now: datetime) -> HeatMap:
    """Sum up, for each repository and bucket, how much of its mirrors' time was not fresh."""
    first = (now.timestamp() // _BUCKET_SECONDS - _BUCKETS + 1) * _BUCKET_SECONDS
    past = _by_key(transitions)
    sums: dict[str, _Sums] = defaultdict(_Sums)
    for record in records:
        if not isinstance(record, MirrorRecord):
            continue
        of_repository = sums[record.key.repository]
        of_repository.mirrors += 1
        for spell in _spells(record, past.get(record.key, []), now.timestamp()):
            of_repository.add(spell, first)
    worst = sorted(sums, key=lambda repository: (-sum(sums[repository].unfresh), repository))
    running = now.timestamp() - first - (_BUCKETS - 1) * _BUCKET_SECONDS
    rows = (HeatRow(name, sums[name].mirrors, sums[name].cells(running)) for name in worst[:MOST_ROWS])
    starts = (datetime.fromtimestamp(first, now.tzinfo) + number * BUCKET for number in range(_BUCKETS))
    return HeatMap(tuple(starts), tuple(rows), max(0, len(worst) - MOST_ROWS))


def _by_key(transitions: Iterable[Transition]) -> dict[RecordKey, list[Transition]]:
    found: dict[RecordKey, list[Transition]] = defaultdict(list)
    for transition in sorted(transitions, key=lambda transition: transition.at):
        found[transition.key].append(transition)
    return found


def _spells(record: MirrorRecord, past: Sequence[Transition], now: float) -> Iterator[_Spell]:
    """Tell what is known of one mirror: what its record says of the present goes before what history says."""
    present = (unfresh_since(record) or record.since).timestamp()
    yield _Spell(present, now, record.state in SETTLED)
    ends = [*(transition.at.timestamp() for transition in past[1:]), present]
    for transition, end in zip(past, ends, strict=False):
        yield _Spell(transition.at.timestamp(), min(end, present), transition.state in SETTLED)
    refresh = record.last_refresh
    knows_only_the_present = all(transition.at >= record.since for transition in past)
    if knows_only_the_present and refresh is not None and record.state is State.FRESH:
        # Where only the present is known, the last refresh still tells how long the mirror was not fresh before it.
        ended = min(refresh.ended_at.timestamp(), present)
        yield _Spell(ended - refresh.lag_seconds, ended, fresh=False)
