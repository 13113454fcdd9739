"""What could not be asked now is put back into the queue: when, and when not. Pure.

A registry's rate may not allow a request yet, or the function's time may be used up. Nothing is kept of what waits: a
message is put back only if it comes before the schedule queues the same again, so that at most one of them waits for
each mirror, however long a registry is overloaded. What would come later is left to the schedule. The longer a message
waits, the less often it comes: the number of times is bounded by the interval.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import structs

from pullahead.checks.timetable import next_check, next_listing
from pullahead.messages import CheckRequest, ListRequest, Queued
from pullahead.rules.model import Mirror, Rules, is_chosen, rule_named

SHORTEST_SECONDS: Final = 30
LONGEST_SECONDS: Final = 900  # SQS API reference, SendMessage: DelaySeconds
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


def put_back_checks(
    request: CheckRequest, postponed: Iterable[Postponed], rules: Rules, now: datetime
) -> Iterator[PutBack]:
    """Decide which tags of a request are put back, and when."""
    tags = defaultdict[int, list[str]](list)
    for mirror, seconds in postponed:
        delay = _delay_of(request.asked_at, seconds, request.repository, now)
        if now + timedelta(seconds=delay) < _next_by_schedule(mirror, request.asked_at, rules):
            tags[delay].append(mirror.tag)
    for delay, some in tags.items():
        yield PutBack(
            structs.replace(request, tags=tuple(some), settled=request.settled or request.reason not in _MADE_ALWAYS),
            delay,
        )


def put_back_listing(request: ListRequest, seconds: float | None, rules: Rules, now: datetime) -> PutBack | None:
    """Decide when a listing is put back, for which there was no time if `seconds` is None; None: the schedule does."""
    rule = rule_named(request.rule, rules)
    delay = _delay_of(request.asked_at, seconds, request.upstream or request.rule, now)
    if rule is None or now + timedelta(seconds=delay) >= next_listing(rule, request.asked_at):
        return None
    return PutBack(request, delay)


def _delay_of(asked_at: datetime, seconds: float | None, name: str, now: datetime) -> int:
    """Return a delay of at least so many seconds, and as long as the message has waited before, within SQS's limit.

    What there was no time for comes again at once.
    """
    if seconds is None:
        return 0
    wanted = max(SHORTEST_SECONDS, seconds, (now - asked_at).total_seconds())
    lot = int.from_bytes(hashlib.sha256(f"{name} {now.isoformat()}".encode()).digest()[:4], "big") / 2**32
    return min(LONGEST_SECONDS, math.ceil(wanted * (1 + _SPREAD * lot)))


def _next_by_schedule(mirror: Mirror, asked_at: datetime, rules: Rules) -> datetime:
    """Return when the schedule queues the mirror next after a request: by itself, or by a listing that selects it."""
    rule = rule_named(mirror.rule, rules)
    if rule is not None and is_chosen(mirror, rules):
        return next_listing(rule, asked_at)
    return next_check(mirror, asked_at)
