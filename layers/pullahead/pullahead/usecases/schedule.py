"""Send the mirrors that are due for a check, and the rules that are due for a listing, to the checks queue."""

from datetime import datetime
from typing import NamedTuple

from pullahead.freshness.due import batches, is_due, is_listing_due
from pullahead.freshness.listing import needs_listing
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest, FillRequest, ListRequest
from pullahead.ports import Heartbeat, QueuesChecks, Records
from pullahead.rules.model import Rules


class Scheduled(NamedTuple):
    """How many mirrors the rules name, how many were sent for checking, what is told of the rules for the first time,
    and how many listings were sent."""

    mirrors: int
    due: int
    told: tuple[str, ...] = ()
    listings: int = 0


def schedule_checks(rules: Rules, records: Records, queue: QueuesChecks, now: datetime) -> Scheduled:
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
    queue.send([*checks, *listings, FillRequest()])  # in case that the end of a refresh was told to nobody
    records.save_heartbeat(Heartbeat(now, rules.digest))
    return Scheduled(len(rules.mirrors), len(due), listings=len(listings))
