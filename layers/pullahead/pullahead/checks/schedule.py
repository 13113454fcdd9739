"""Queue checks of the mirrors that are due, and listings of the rules that are due.

What is due needs no memory, so that a check of a fresh tag writes nothing: every mirror has times of its own,
`check_every` apart and shifted by a hash of its name, so that many mirrors with one interval are not checked at once.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from pullahead.checks.ports import CheckQueue
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest, ListRequest, StartWaitingRequest
from pullahead.mirrors.rule_record import needs_listing
from pullahead.mirrors.store import Heartbeat, RecordStore
from pullahead.rules.model import Mirror, Rule, Rules


def is_due(mirror: Mirror, last: datetime | None, now: datetime) -> bool:
    """Whether one of the mirror's times is after `last` and not after `now`. Without a `last`, the mirror is due."""
    return _has_time(str(mirror.key), mirror.check_every, last, now)


def next_moment(mirror: Mirror, now: datetime) -> datetime:
    """Return the mirror's next time; the first schedule after it queues the check."""
    every = mirror.check_every.total_seconds()
    phase = _phase(str(mirror.key)) * every
    seconds = ((now.timestamp() - phase) // every + 1) * every + phase
    return datetime.fromtimestamp(seconds, now.tzinfo)


def last_moments(mirror: Mirror, now: datetime) -> tuple[datetime, datetime]:
    """Return the mirror's last time until now, and the one before it."""
    last = next_moment(mirror, now) - mirror.check_every
    return last - mirror.check_every, last


def phase_of(mirror: Mirror) -> float:
    """Return a number of 0 to 1 that spreads what is done once in a while over that while."""
    return _phase(str(mirror.key))


def is_listing_due(rule: Rule, last: datetime | None, now: datetime) -> bool:
    """Whether one of the rule's times is after `last` and not after `now`."""
    return _has_time(rule.name, rule.check_every, last, now)


def batches(mirrors: Iterable[Mirror], size: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Group mirrors by repository into batches of tags of at most `size`."""
    ordered = sorted(mirrors, key=lambda mirror: (mirror.repository, mirror.tag))
    for repository, group in groupby(ordered, key=lambda mirror: mirror.repository):
        tags = [mirror.tag for mirror in group]
        for start in range(0, len(tags), size):
            yield repository, tuple(tags[start : start + size])


def _has_time(key: str, check_every: timedelta, last: datetime | None, now: datetime) -> bool:
    if last is None:
        return True
    every = check_every.total_seconds()
    phase = _phase(key) * every
    return (now.timestamp() - phase) // every > (last.timestamp() - phase) // every


def _phase(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32


class Scheduled(NamedTuple):
    """How many mirrors the rules name, how many checks and listings were queued, and problems with the rules that were
    not logged before."""

    mirrors: int
    due: int
    problems: tuple[str, ...] = ()
    listings: int = 0


def schedule_checks(rules: Rules, records: RecordStore, queue: CheckQueue, now: datetime) -> Scheduled:
    """Queue a check of every mirror, and a listing of every rule that selects, that is due since the last heartbeat.

    New rules make everything due. The heartbeat is written last: if anything fails, the next run queues the same again.
    """
    heartbeat = records.load_heartbeat()
    last = heartbeat.at if heartbeat is not None and heartbeat.rules_digest == rules.digest else None
    due = [mirror for mirror in rules.mirrors if mirror.rule not in rules.paused and is_due(mirror, last, now)]
    checks = [
        CheckRequest(reason="schedule", repository=repository, tags=tags, asked_at=now)
        for repository, tags in batches(due, MAX_TAGS_PER_CHECK)
    ]
    listings = [
        ListRequest(rule=rule.name, asked_at=now)
        for rule in rules.rules
        if rule.name not in rules.paused and needs_listing(rule) and is_listing_due(rule, last, now)
    ]
    queue.send([*checks, *listings, StartWaitingRequest()])  # in case the event of an ended refresh was lost
    records.save_heartbeat(Heartbeat(now, rules.digest))
    return Scheduled(len(rules.mirrors), len(due), listings=len(listings))
