"""What the core asks before it follows an event: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from pullahead.messages import Queued

EVENT_WINDOW = timedelta(seconds=60)
"""How long the events of one mirror are taken together."""


class WindowDecision(StrEnum):
    """What is to be done about an event, by how many there were in its mirror's window."""

    RUN_NOW = "RUN_NOW"  # the first: look
    RUN_LATER = (
        "RUN_LATER"  # the second: look once more when the window is over, so that nothing since the first is missed
    )
    DROP = "DROP"  # any other: somebody will look later


class WindowClaim(NamedTuple):
    """The answer to a claim. `delay_seconds`: until the window is over, where the decision is RUN_LATER."""

    when: WindowDecision
    delay_seconds: int = 0


class EventWindows(Protocol):
    """Counts the events of mirrors, window by window."""

    def claim(self, key: str, now: datetime) -> WindowClaim:
        """Count an event of a mirror; one conditional write at the most. Raises: StorageError."""
        ...


class CheckQueue(Protocol):
    """Sends checks and listings to the one queue."""

    def send(self, requests: Sequence[Queued], delay_seconds: int = 0) -> None:
        """Queue requests, all or error, to be received in 15 minutes at the latest. Raises: StorageError."""
        ...
