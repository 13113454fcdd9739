"""What receiving webhooks needs: the secrets, which calls were accepted before, and how many checks a sender has left.

A method raises the errors that its docstring names and no others; implementations translate.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol


class SecretSet(NamedTuple):
    """The valid secrets: current ones, and previous ones while they are being rotated.

    A sender that has secrets of its own is authenticated by these alone, any other one by the shared ones.
    """

    shared: tuple[bytes, ...]
    by_sender: Mapping[str, tuple[bytes, ...]] = MappingProxyType({})

    def of(self, sender: str) -> tuple[bytes, ...]:
        """Return the secrets of a sender; none if it has none, and there are no shared ones."""
        return self.by_sender.get(sender, self.shared)


class WebhookSecrets(Protocol):
    """Reads the secrets that authenticate webhook senders."""

    def read_webhook_secrets(self) -> SecretSet:
        """Read the valid secrets.

        Raises: StorageError, and ConfigError where the stored value is unusable.
        """
        ...


class ReplayGuard(Protocol):
    """Remembers signed calls for as long as a copy of one could still pass."""

    def is_known(self, identity: str, now: datetime) -> bool:
        """Return whether a call was remembered; at most one read. Raises: StorageError."""
        ...

    def remember(self, identity: str, now: datetime) -> None:
        """Remember a call; one write. Raises: StorageError."""
        ...


class CheckBudget(Protocol):
    """Counts the checks that each sender asks for, minute by minute."""

    def take(self, sender: str, checks: int, now: datetime) -> bool:
        """Count checks, unless they exceed what a sender may ask for in this minute; return whether they were counted.

        Raises: StorageError.
        """
        ...

    def is_spent(self, sender: str, now: datetime) -> bool:
        """Return whether this process knows that a sender has no checks left in this minute. Makes no call."""
        ...
