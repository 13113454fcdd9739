"""What could not be asked now is put back into the queue: when, and when not. Pure.

A registry's rate may not allow a request yet, or the function's time may be used up. Nothing is kept of what waits: a
message is put back only if it comes before the schedule queues the same again, so that at most one of them waits for
each mirror, however long a registry is overloaded. What would come later is left to the schedule. The oftener a message
is put back, the longer it waits: the number of times is bounded by the interval.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import structs

from pullahead.checks.timetable import next_check, next_listing
from pullahead.messages import CheckRequest, ListRequest, Queued, ReferrerNamed
from pullahead.rules.model import Mirror, Rules, is_chosen, rule_named

SHORTEST_SECONDS: Final = 30
_FIRST_SECONDS: Final = 10  # for what a rate does not allow; doubled each time
_FIRST_BY_EVENT_SECONDS: Final = 5  # a part of each registry's rate is for events
LONGEST_SECONDS: Final = 900  # SQS API reference, SendMessage: DelaySeconds
_LOOKS_WAIT_FOR: Final = timedelta(hours=1)  # checks queue the next ones meanwhile
_MOST_DOUBLINGS: Final = 8  # a quarter of an hour is the most anyway
_MADE_ALWAYS = frozenset({"schedule", "manual", "referrers"})  # others were merged before, and are not merged again
_SPREAD = 0.5  # of the delay at most, so that messages that were put back together come apart


class Postponed(NamedTuple):
    """A mirror that was not asked for: for how many seconds its registry is to be left alone, and its tag.

    `seconds` is None where there was no time.
    """

    mirror: Mirror
    seconds: float | None


class PutBack(NamedTuple):
    """What was put back into the queue: a request, and after which delay it comes again."""

    request: Queued
    delay_seconds: int

    @property
    def checks(self) -> int:
        """How many checks, listings or looks that is."""
        return len(self.request.tags) if isinstance(self.request, CheckRequest) else 1


class LeftToSchedule(NamedTuple):
    """How many mirrors of a repository the schedule is left to check, or to look at, and why."""

    repository: str
    mirrors: int
    why: str


def put_back_checks(
    request: CheckRequest, postponed: Iterable[Postponed], rules: Rules, now: datetime
) -> Iterator[PutBack]:
    """Decide which tags of a request are put back, and when."""
    tags = defaultdict[tuple[int, int], list[str]](list)
    first = _FIRST_BY_EVENT_SECONDS if request.is_by_event else _FIRST_SECONDS
    for mirror, seconds in postponed:
        delay = _delay_of(first * 2 ** min(request.postponed, _MOST_DOUBLINGS), seconds, request.repository, now)
        if now + timedelta(seconds=delay) < _next_by_schedule(mirror, request.asked_at, rules):
            tags[delay, request.postponed + (seconds is not None)].append(mirror.tag)
    settled = request.settled or request.reason not in _MADE_ALWAYS
    for (delay, times), some in tags.items():
        yield PutBack(structs.replace(request, tags=tuple(some), settled=settled, postponed=times), delay)


def put_back_listing(request: ListRequest, seconds: float | None, rules: Rules, now: datetime) -> PutBack | None:
    """Decide when a listing is put back, for which there was no time if `seconds` is None; None: the schedule does."""
    rule = rule_named(request.rule, rules)
    waited = (now - request.asked_at).total_seconds()
    delay = _delay_of(max(SHORTEST_SECONDS, waited), seconds, request.upstream or request.rule, now)
    if rule is None or now + timedelta(seconds=delay) >= next_listing(rule, request.asked_at):
        return None
    return PutBack(request, delay)


def put_back_look(request: CheckRequest | ReferrerNamed, now: datetime) -> PutBack | LeftToSchedule:
    """Decide when a look for referrers is put back for which there was no time, or that it is left to the next one.

    Checks queue looks whether or not earlier ones were made: if all of these were kept, there would be more and more.
    """
    waited = now - request.asked_at
    delay = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, int(waited.total_seconds())))
    if waited + timedelta(seconds=delay) <= _LOOKS_WAIT_FOR:
        return PutBack(request, delay)
    why = "for an hour there was no time to look for its referrers"
    if isinstance(request, CheckRequest):
        return LeftToSchedule(request.repository, len(request.tags), why)
    return LeftToSchedule(request.upstream, 1, why)


def _delay_of(shortest: float, seconds: float | None, name: str, now: datetime) -> int:
    """Return a delay of at least so many seconds, within SQS's limit.

    What there was no time for comes again at once.
    """
    if seconds is None:
        return 0
    wanted = max(shortest, seconds)
    lot = int.from_bytes(hashlib.sha256(f"{name} {now.isoformat()}".encode()).digest()[:4], "big") / 2**32
    return min(LONGEST_SECONDS, math.ceil(wanted * (1 + _SPREAD * lot)))


def _next_by_schedule(mirror: Mirror, asked_at: datetime, rules: Rules) -> datetime:
    """Return when the schedule queues the mirror next after a request: by itself, or by a listing that selects it."""
    rule = rule_named(mirror.rule, rules)
    if rule is not None and is_chosen(mirror, rules):
        return next_listing(rule, asked_at)
    return next_check(mirror, asked_at)
