"""What a record tells of its mirror's past: when it entered which state. Pure."""

from datetime import datetime
from typing import NamedTuple

from pullahead.freshness.records import Record, State


class Transition(NamedTuple):
    """A mirror entered a state."""

    at: datetime
    key: str
    state: State


def transitions_of(record: Record, since: datetime) -> list[Transition]:
    """List those since a moment, and the last one before it, oldest first; the last of all is the present state."""
    past = [Transition(each.since, record.key, each.state) for each in record.past]
    every = [*past, Transition(record.since, record.key, record.state)]
    before = [transition for transition in every if transition.at < since]
    return [*before[-1:], *every[len(before) :]]
