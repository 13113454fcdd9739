"""Measure how late mirrors are: how many that are followed are not fresh, and for how long the oldest. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from pullahead.freshness.demands import is_absent
from pullahead.freshness.records import SETTLED, Record, State
from pullahead.rules.model import Rules


class Lateness(NamedTuple):
    """How many mirrors are not fresh, and for how many seconds the one that waits longest."""

    mirrors: int
    oldest_seconds: float


def measure_lateness(records: Iterable[Record], rules: Rules, now: datetime) -> Lateness:
    """Look at every record.

    What is gone upstream is not late: nothing could be copied. Nor is what no rule follows any more, or what is paused.
    """
    ages = [_age(record, now) for record in records if _is_late(record, rules)]
    return Lateness(len(ages), max(ages, default=0.0))


def _is_late(record: Record, rules: Rules) -> bool:
    if record.state in SETTLED or record.state is State.GONE or record.expires_at is not None:
        return False
    if record.on_demand and is_absent(record):  # somebody pulled what is nowhere
        return False
    repository, _, tag = record.key.rpartition(":")
    if tag == "*":  # the record of a listing: no tag is called so
        return False
    mirror = rules.find(repository, tag)
    return mirror is not None and mirror.rule not in rules.paused


def _age(record: Record, now: datetime) -> float:
    return max(0.0, (now - (record.unfresh_since or record.since)).total_seconds())
