"""What the core asks of whoever tells people, and of what remembers what they were told. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from pullahead.alerts.incidents import Incident
from pullahead.alerts.text import Notice


class AlertPublisher(Protocol):
    """Tells people."""

    def publish(self, notice: Notice) -> None:
        """Send one message. Raises: StorageError."""
        ...


class IncidentStore(Protocol):
    """Remembers incidents."""

    def load(self, keys: Collection[str]) -> Mapping[str, Incident]:
        """Read incidents, strongly consistent; unknown ones are left out. Raises: StorageError."""
        ...

    def save(self, incident: Incident, now: datetime) -> None:
        """Write an incident, to be forgotten when it was not written for a month. Raises: StorageError."""
        ...


class SenderLock(Protocol):
    """Lets one at a time tell people, of all that may run at once."""

    def take_turn(self, now: datetime, until: datetime) -> bool:
        """Take the turn, unless somebody has it; it ends by itself. Raises: StorageError."""
        ...

    def end_turn(self, now: datetime) -> None:
        """End the turn that was taken at a moment, if it is still ours. Raises: StorageError."""
        ...
