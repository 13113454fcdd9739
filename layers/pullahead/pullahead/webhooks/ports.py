"""What the core asks about who calls by webhook: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from datetime import datetime
from typing import Protocol


class WebhookSecrets(Protocol):
    """Knows what senders of webhooks prove themselves by."""

    def read_webhook_secrets(self) -> tuple[bytes, ...]:
        """Read the secrets that are good now: the current one, and the one before while it is replaced.

        Raises: StorageError, and ConfigError where what is kept there is of no use.
        """
        ...


class ReplayGuard(Protocol):
    """Remembers signed calls for as long as they might be sent again."""

    def is_known(self, identity: str, now: datetime) -> bool:
        """Tell whether a call was remembered; one read at the most. Raises: StorageError."""
        ...

    def remember(self, identity: str, now: datetime) -> None:
        """Remember a call; one write. Raises: StorageError."""
        ...
