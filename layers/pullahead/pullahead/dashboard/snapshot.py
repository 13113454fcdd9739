"""What was read for one page. Pure data."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from pullahead.freshness.history import Transition
from pullahead.freshness.records import Record


class Snapshot(NamedTuple):
    """Every record that was read, the last time that checks were sent, and what the records tell of the past."""

    records: Sequence[Record]
    last_check: datetime | None
    now: datetime
    transitions: Sequence[Transition] = ()
    complete: bool = True  # False: there are more records than were read
