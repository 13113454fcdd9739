"""Send the mirrors that are due to the checks queue."""

from datetime import datetime
from typing import NamedTuple

from pullahead.freshness.due import batches, is_due
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest
from pullahead.ports import Heartbeat, QueuesChecks, Records
from pullahead.rules.model import Rules


class Scheduled(NamedTuple):
    """How many mirrors the rules name, and how many were sent for checking."""

    mirrors: int
    due: int


def schedule_checks(rules: Rules, records: Records, queue: QueuesChecks, now: datetime) -> Scheduled:
    """Queue a check of every mirror that is due since the last heartbeat; new rules make every mirror due.

    The heartbeat is written last: if anything fails, the next run sends the same mirrors again.
    """
    heartbeat = records.load_heartbeat()
    last = heartbeat.at if heartbeat is not None and heartbeat.rules_digest == rules.digest else None
    due = [mirror for mirror in rules.mirrors if is_due(mirror, last, now)]
    queue.send(
        [
            CheckRequest(reason="schedule", repository=repository, tags=tags, asked_at=now)
            for repository, tags in batches(due, MAX_TAGS_PER_CHECK)
        ]
    )
    records.save_heartbeat(Heartbeat(now, rules.digest))
    return Scheduled(len(rules.mirrors), len(due))
