"""Ninety days of many tags, repeatable by seed: random moves, rebuilds, and poisoned releases that upstream withdraws.

The tag follows upstream by the cooldown alone. Whether what it served was right is judged by what the simulation knows
of each digest, not by what is remembered of it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Final, NamedTuple

from pullahead.admission.choose import choose
from pullahead.admission.seen_digests import (
    SeenDigests,
    after_admitted,
    after_gone,
    after_missing,
    after_served,
    begin,
)
from pullahead.oci import Descriptor, Digest
from pullahead.rules.admission_policy import AdmissionPolicy
from tests.fakes.samples import root
from tests.unit.admission.stories import START

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS = 90
POLICY = AdmissionPolicy(min_age=3 * DAY)
_LONGEST_POISON = 5 * DAY
_MOST_BEHIND = 6  # digests: what the memory of a tag may leave out, or pass over
_CHECKED_WITHIN = HOUR / 4


class Pace(NamedTuple):
    """How often upstream moves a kind of tags: how many of 1,000 there are, and the hours to the next move."""

    name: str
    share: int
    hours: Callable[[Random], float]


PACES: Final = (
    Pace("released now and then", 400, lambda random: 24 + random.expovariate(1 / 300)),
    Pace("rebuilt daily", 380, lambda random: random.uniform(22, 26)),
    Pace("moved at random", 200, lambda random: 1 + random.expovariate(1 / 40)),
    Pace("rebuilt hourly", 20, lambda random: random.uniform(0.8, 1.2)),
)


@dataclass
class Release:
    """A digest of a tag: when it was pushed, and when upstream withdrew it or had it no longer."""

    root: Descriptor
    pushed_at: datetime
    poisoned: bool = False
    withdrawn_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass
class Upstream:
    """What upstream does with one tag. `moves`: what it serves from a moment on; None: it has no such tag."""

    releases: list[Release] = field(default_factory=list)
    moves: list[tuple[datetime, Release | None]] = field(default_factory=list)
    incidents: list[tuple[datetime, datetime]] = field(default_factory=list)

    def served_at(self, now: datetime) -> Release | None:
        return self.moves[bisect_right(self.moves, now, key=lambda move: move[0]) - 1][1]

    def next_move(self, now: datetime) -> datetime | None:
        place = bisect_right(self.moves, now, key=lambda move: move[0])
        return self.moves[place][0] if place < len(self.moves) else None

    def push(self, name: str, at: datetime, *, poisoned: bool = False) -> Release:
        release = Release(root(f"{name} {len(self.releases)}"), at, poisoned)
        self.releases.append(release)
        self.moves.append((at, release))
        return release


def live(name: str, pace: Pace, random: Random) -> Upstream:
    """Let upstream live for ninety days."""
    upstream, end = Upstream(), START + DAYS * DAY
    poisonings = sorted(START + random.uniform(15, DAYS - 10) * DAY for _ in range(random.choice((0, 0, 1, 2))))
    now = START
    good = upstream.push(name, now)
    while (now := now + pace.hours(random) * HOUR) < end:
        if poisonings and poisonings[0] <= now:
            now = _poison(name, upstream, good, poisonings.pop(0), pace, random)
            good = next(each for each in reversed(upstream.releases) if not each.poisoned)
            poisonings = [each for each in poisonings if each > now]
        else:
            good = upstream.push(name, now)
    return upstream


def _poison(name: str, upstream: Upstream, good: Release, at: datetime, pace: Pace, random: Random) -> datetime:
    """Poison a tag for four hours to five days; what is built meanwhile is poisoned, too. Return when that is over.

    Upstream withdraws it: it goes back to the good digest, or removes the tag, or deletes what is poisoned after it has
    released a good one. Or it only replaces it by a good one, which nothing tells from a rebuild.
    """
    at = max(at, upstream.moves[-1][0] + HOUR / 2)
    way = random.choice(["back", "gone", "deleted", "replaced"])
    over = at + random.uniform(4, 120) * HOUR
    poisoned, now = [upstream.push(name, at, poisoned=True)], at
    while (now := now + pace.hours(random) * HOUR) < over:
        poisoned.append(upstream.push(name, now, poisoned=True))
    for each in poisoned:
        each.withdrawn_at = over if way != "replaced" else None
        each.deleted_at = over if way == "deleted" else None
    upstream.incidents.append((at, over))
    if way == "back":
        upstream.moves.append((over, good))
    elif way == "gone":
        upstream.moves.append((over, None))
        over += random.uniform(1, 20) * HOUR
        upstream.push(name, over)
    else:
        upstream.push(name, over)
    return over


@dataclass
class Counts:
    """What became of the tags of one pace."""

    tags: int = 0
    moves: int = 0
    published: int = 0
    checks: int = 0
    early: int = 0
    starved: int = 0
    poisoned: int = 0
    withdrawn_in_time: int = 0  # of these, before they were old enough
    served_in_spite: int = 0  # of these
    withdrawn_late: int = 0
    served_late: int = 0  # of these
    only_replaced: int = 0  # not withdrawn: a newer release took its place
    served_replaced: int = 0  # of these
    taken_back: int = 0


def simulate(seed: int, tags: int) -> dict[str, Counts]:
    """Let many tags live, and follow each of them."""
    random, table = Random(seed), dict[str, Counts]()  # noqa: S311 - no secret is made
    for pace in PACES:
        counts = table[pace.name] = Counts()
        for number in range(pace.share * tags // 1000):
            upstream = live(f"{pace.name} {number}", pace, random)
            _Follower(upstream, counts, random, is_new=number % 2 == 0).follow()
    return table


class _Follower:
    """Follows one tag. A check comes within a quarter of an hour after upstream moves, and after a cooldown ends."""

    def __init__(self, upstream: Upstream, counts: Counts, random: Random, *, is_new: bool) -> None:
        self._upstream, self._counts, self._random = upstream, counts, random
        first = upstream.releases[0]
        self._seen = SeenDigests() if is_new else begin(first.root, START - 30 * DAY)
        self._serves: Release | None = None if is_new else first
        self._good = [each for each in upstream.releases if not each.poisoned]
        self._by_digest: dict[Digest, Release] = {each.root.digest: each for each in upstream.releases}

    def follow(self) -> None:
        counts, upstream = self._counts, self._upstream
        counts.tags += 1
        counts.moves += len(upstream.moves)
        poisoned = [each for each in upstream.releases if each.poisoned]
        counts.poisoned += len(poisoned)
        in_time, withdrawn = sum(map(_is_withdrawn_in_time, poisoned)), sum(map(_is_withdrawn, poisoned))
        counts.withdrawn_in_time += in_time
        counts.withdrawn_late += withdrawn - in_time
        counts.only_replaced += len(poisoned) - withdrawn
        is_starved = False
        for now in self._checks():
            counts.checks += 1
            is_starved = is_starved or self._is_starved(now)
        counts.starved += is_starved

    def _checks(self) -> Iterator[datetime]:
        now: datetime | None = START
        while now is not None and now < START + DAYS * DAY:
            now += self._random.random() * _CHECKED_WITHIN
            until = self._check(now)
            yield now
            moments = [moment for moment in (self._upstream.next_move(now), until) if moment is not None]
            now = min(moments, default=None)

    def _check(self, now: datetime) -> datetime | None:
        served = self._upstream.served_at(now)
        change = after_served(self._seen, served.root, now) if served is not None else after_gone(self._seen, now)
        self._seen = change.after
        self._counts.taken_back += len(change.news)
        if served is None:
            return None  # nothing is published while upstream has no tag
        decided = choose(self._seen, POLICY, now)
        while decided.serve is not None and (chosen := self._by_digest[decided.serve.digest]) is not self._serves:
            if chosen.deleted_at is None or chosen.deleted_at > now:
                self._publish(chosen, now)
            else:
                change = after_missing(self._seen, chosen.root.digest, now)
                self._seen = change.after
                self._counts.taken_back += len(change.news)
            decided = choose(self._seen, POLICY, now)
        return decided.waiting.hold.until if decided.waiting is not None else None

    def _publish(self, release: Release, now: datetime) -> None:
        counts = self._counts
        counts.published += 1
        was_served_before = self._seen.find(release.root.digest) in [each for each in self._seen.seen if each.admitted]
        counts.early += not was_served_before and now - release.pushed_at < POLICY.min_age
        if release.poisoned:
            counts.served_in_spite += _is_withdrawn_in_time(release)
            counts.served_late += _is_withdrawn(release) and not _is_withdrawn_in_time(release)
            counts.served_replaced += not _is_withdrawn(release)
        self._serves = release
        self._seen = after_admitted(self._seen, release.root, now)

    def _is_starved(self, now: datetime) -> bool:
        """Tell whether the tag is behind a good digest that is old enough and still there, or far behind others.

        While a release is poisoned, and some time after, what was good before it may have to be older.
        """
        recent = now - POLICY.min_age - _LONGEST_POISON - DAY
        troubled = any(end >= recent and begin_ <= now for begin_, end in self._upstream.incidents)
        slack = _LONGEST_POISON + DAY if troubled else _CHECKED_WITHIN
        old_enough = self._good_until(now - POLICY.min_age - slack)
        serves = self._good_until(self._serves.pushed_at) if self._serves is not None else 0
        current = self._upstream.served_at(now)
        is_current_good = current is not None and not current.poisoned
        place = self._good_until(current.pushed_at) if current is not None and is_current_good else 0
        return serves < place <= old_enough or old_enough - serves > _MOST_BEHIND

    def _good_until(self, moment: datetime) -> int:
        return bisect_right(self._good, moment, key=lambda each: each.pushed_at)


def _is_withdrawn(release: Release) -> bool:
    return release.withdrawn_at is not None


def _is_withdrawn_in_time(release: Release) -> bool:
    return release.withdrawn_at is not None and release.withdrawn_at - release.pushed_at < POLICY.min_age


def table_text(table: dict[str, Counts]) -> str:
    """Write the table."""
    names = [name.replace("_", " ") for name in Counts.__dataclass_fields__]
    rows = [f"{'':24}" + "".join(f"{name:>19}" for name in names)]
    for pace, counts in table.items():
        rows.append(f"{pace:24}" + "".join(f"{getattr(counts, name):>19,}" for name in Counts.__dataclass_fields__))
    return "\n".join(rows)
