"""Queue checks of the mirrors that are due, and listings of the rules that are due."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from pullahead.checks.ports import CheckQueue
from pullahead.checks.timetable import SCHEME, is_due, is_listing_due
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest, ListRequest, StartWaitingRequest
from pullahead.mirrors.rule_record import needs_listing
from pullahead.mirrors.store import Heartbeat, RecordStore
from pullahead.rules.model import Rules
from pullahead.rules.named_mirrors import NamedTags


def batches(groups: Iterable[NamedTags], size: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Group tags by repository into batches of at most `size`."""
    tags_of = defaultdict[str, list[str]](list)
    for group in groups:
        tags_of[group.repository] += group.tags
    for repository in sorted(tags_of):
        tags = sorted(tags_of[repository])
        for start in range(0, len(tags), size):
            yield repository, tuple(tags[start : start + size])


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
    is_same = heartbeat is not None and (heartbeat.rules_digest, heartbeat.scheme) == (rules.digest, SCHEME)
    last = heartbeat.at if heartbeat is not None and is_same else None
    named = rules.named_mirrors.groups
    due = [group for group in named if not rules.is_inactive(group.rule) and is_due(group, last, now)]
    checks = [
        CheckRequest(reason="schedule", repository=repository, tags=tags, asked_at=now)
        for repository, tags in batches(due, MAX_TAGS_PER_CHECK)
    ]
    listings = [
        ListRequest(rule=rule.name, asked_at=now)
        for rule in rules.rules
        if not rules.is_inactive(rule.name) and needs_listing(rule) and is_listing_due(rule, last, now)
    ]
    queue.send([*checks, *listings, StartWaitingRequest()])  # in case the event of an ended refresh was lost
    records.save_heartbeat(Heartbeat(now, rules.digest, SCHEME))
    return Scheduled(_count(named), _count(due), listings=len(listings))


def _count(groups: Iterable[NamedTags]) -> int:
    return sum(len(group.tags) for group in groups)
