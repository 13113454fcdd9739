"""What checks use to queue more checks, to merge the events of one mirror, and to know of ECR's replication.

A method raises the errors that its docstring names and no others; implementations translate.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from pullahead.messages import Queued
from pullahead.rules.mirror_key import RecordKey

EVENT_WINDOW = timedelta(seconds=60)
"""How long the events of one mirror are merged."""


REPLICATION_LIFETIME = timedelta(days=180)
"""How long after the last replicated tag replication may still delete: a lifecycle policy of the source acts late."""


class WindowDecision(StrEnum):
    """What to do about an event, by how many events came before it in its mirror's window."""

    RUN_NOW = "RUN_NOW"  # the first: check now
    RUN_LATER = "RUN_LATER"  # the second: check again when the window ends, so that no change since the first is missed
    DROP = "DROP"  # any other: the check at the end of the window covers it


class WindowClaim(NamedTuple):
    """The answer to a claim. `delay_seconds`: until the window ends, where the decision is RUN_LATER."""

    when: WindowDecision
    delay_seconds: int = 0


class EventWindows(Protocol):
    """Counts the events of mirrors, window by window."""

    def claim(self, key: RecordKey, now: datetime) -> WindowClaim:
        """Count an event of a mirror, or of a rule's listing; at most one conditional write. Raises: StorageError."""
        ...

    def release(self, key: RecordKey, now: datetime) -> None:
        """Take back a claim of the same moment, since no check could be queued; at most one write.

        Another event that was counted meanwhile may be answered as the first or the second once more: what is released
        is checked too often rather than too late. Raises: StorageError.
        """
        ...


class Replications(Protocol):
    """Remembers into which repositories ECR's replication writes: it may delete tags there, which ECR does not say."""

    def note(self, repository: str, source: str, at: datetime) -> None:
        """Remember that a tag was replicated from an account and Region; at most one write. Raises: StorageError."""
        ...

    def source_of(self, repository: str, now: datetime) -> str:
        """Return the account and Region from which a repository was last replicated into; "" if it was not of late.

        Raises: StorageError.
        """
        ...


class CheckQueue(Protocol):
    """Sends requests to the checks queue."""

    def send(self, requests: Sequence[Queued], delay_seconds: int = 0) -> None:
        """Queue all requests or raise, to be received after a delay of at most 15 minutes. Raises: StorageError."""
        ...
