"""Measure how late mirrors are: how many that are followed are not fresh, and for how long the oldest. Writes nothing.

One scan of the records each time: half a read unit for 4 KB, a few thousand mirrors for a cent a day.
"""

from datetime import datetime
from typing import NamedTuple

from pullahead.freshness.records import Record, State
from pullahead.ports import ScansRecords
from pullahead.rules.model import Rules


class Lateness(NamedTuple):
    """How many mirrors are not fresh, and for how many seconds the one that waits longest."""

    mirrors: int
    oldest_seconds: float


def measure_lateness(records: ScansRecords, rules: Rules, now: datetime) -> Lateness:
    """Look at every record. Raises StorageError.

    What is gone upstream is not late: nothing could be copied. Nor is what no rule follows any more, or what is paused.
    """
    ages = [_age(record, now) for record in records.scan() if _is_late(record, rules)]
    return Lateness(len(ages), max(ages, default=0.0))


def _is_late(record: Record, rules: Rules) -> bool:
    if record.state in (State.FRESH, State.GONE):
        return False
    repository, _, tag = record.key.rpartition(":")
    if tag == "*":  # the record of a listing: no tag is called so
        return False
    mirror = rules.find(repository, tag)
    return mirror is not None and mirror.rule not in rules.paused


def _age(record: Record, now: datetime) -> float:
    return max(0.0, (now - (record.unfresh_since or record.since)).total_seconds())
