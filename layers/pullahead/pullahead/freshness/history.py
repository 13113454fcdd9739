"""What is remembered of the past: when a mirror entered which state. Pure data; who keeps it decides for how long."""

from datetime import datetime
from typing import NamedTuple

from pullahead.freshness.records import State


class Transition(NamedTuple):
    """A mirror entered a state."""

    at: datetime
    key: str
    state: State
