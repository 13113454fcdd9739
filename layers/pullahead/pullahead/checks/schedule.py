"""Send the mirrors that are due for a check, and the rules that are due for a listing, to the checks queue.

Which mirrors are due for a check, and which rules for a listing.

Pure, and without a memory of its own: a check of a fresh tag writes nothing. Every mirror has its own moments,
`check_every` apart and spread by its name, so that a thousand mirrors with the same interval are not asked in the same
minute.
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
    """Whether one of the mirror's moments lies after `last` and not after `now`. Without a `last`, it is due."""
    return _has_moment(str(mirror.key), mirror.check_every, last, now)


def next_moment(mirror: Mirror, now: datetime) -> datetime:
    """Tell the mirror's next moment; the first schedule after it sends the check."""
    every = mirror.check_every.total_seconds()
    phase = _phase(str(mirror.key)) * every
    seconds = ((now.timestamp() - phase) // every + 1) * every + phase
    return datetime.fromtimestamp(seconds, now.tzinfo)


def is_listing_due(rule: Rule, last: datetime | None, now: datetime) -> bool:
    """Whether one of the rule's own moments lies after `last` and not after `now`; as for a mirror."""
    return _has_moment(rule.name, rule.check_every, last, now)


def batches(mirrors: Iterable[Mirror], size: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Group mirrors by repository into batches of tags of at most `size`."""
    ordered = sorted(mirrors, key=lambda mirror: (mirror.repository, mirror.tag))
    for repository, group in groupby(ordered, key=lambda mirror: mirror.repository):
        tags = [mirror.tag for mirror in group]
        for start in range(0, len(tags), size):
            yield repository, tuple(tags[start : start + size])


def _has_moment(key: str, check_every: timedelta, last: datetime | None, now: datetime) -> bool:
    if last is None:
        return True
    every = check_every.total_seconds()
    phase = _phase(key) * every
    return (now.timestamp() - phase) // every > (last.timestamp() - phase) // every


def _phase(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32


class Scheduled(NamedTuple):
    """How many mirrors the rules name, how many were sent for checking, what is told of the rules for the first time,
    and how many listings were sent."""

    mirrors: int
    due: int
    told: tuple[str, ...] = ()
    listings: int = 0


def schedule_checks(rules: Rules, records: RecordStore, queue: CheckQueue, now: datetime) -> Scheduled:
    """Queue a check of every mirror, and a listing of every rule that chooses, that is due since the last heartbeat.

    New rules make everything due. The heartbeat is written last: if anything fails, the next run sends the same again.
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
    queue.send([*checks, *listings, StartWaitingRequest()])  # in case that the end of a refresh was told to nobody
    records.save_heartbeat(Heartbeat(now, rules.digest))
    return Scheduled(len(rules.mirrors), len(due), listings=len(listings))
