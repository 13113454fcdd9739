"""What authenticating webhooks needs: the secrets, and which calls were accepted before.

A method raises the errors that its docstring names and no others; implementations translate.
"""

from datetime import datetime
from typing import Protocol


class WebhookSecrets(Protocol):
    """Reads the secrets that authenticate webhook senders."""

    def read_webhook_secrets(self) -> tuple[bytes, ...]:
        """Read the valid secrets: the current one, and the previous one while it is being rotated.

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
