"""Where alerts are published, and what is remembered of them.

A method raises the errors that its docstring names and no others; implementations translate.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from pullahead.alerts.incidents import Incident
from pullahead.alerts.text import Notice


class AlertPublisher(Protocol):
    """Sends messages to people."""

    def publish(self, notice: Notice) -> None:
        """Send one message. Raises: StorageError."""
        ...


class IncidentStore(Protocol):
    """Stores incidents, and the lock that lets one process at a time send their messages."""

    def load(self, keys: Collection[str]) -> Mapping[str, Incident]:
        """Read incidents, strongly consistent; unknown ones are left out, and those of a newer version, which
        `stored_form.newer_of` names. Raises: StorageError."""
        ...

    def save(self, incident: Incident, now: datetime) -> None:
        """Write an incident. It expires a month later unless it is a condition that holds: that is reported once.

        Raises: StorageError.
        """
        ...

    def lock_sending(self, now: datetime, until: datetime) -> bool:
        """Take the lock unless another process holds it; it expires by itself. Returns whether it was taken.

        Raises: StorageError.
        """
        ...

    def unlock_sending(self, now: datetime) -> None:
        """Release the lock that was taken at a moment, if it is still ours. Raises: StorageError."""
        ...
