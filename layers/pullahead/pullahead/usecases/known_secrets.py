"""The secrets of senders of webhooks, asked for seldom: whoever calls must not make us ask AWS each time."""

import threading
from datetime import datetime, timedelta

from pullahead.errors import StorageError
from pullahead.ports import Clock, ReadsWebhookSecrets

KEPT_FOR = timedelta(minutes=5)
AGAIN_AFTER = timedelta(minutes=1)
"""How soon they may be read again because a call does not fit: a secret may have been replaced just now."""


class KnownSecrets:
    """Keeps what was read; from any thread."""

    def __init__(self, secrets: ReadsWebhookSecrets, clock: Clock) -> None:
        self._secrets, self._clock = secrets, clock
        self._lock = threading.Lock()
        self._known: tuple[bytes, ...] = ()
        self._asked_at: datetime | None = None

    def get(self) -> tuple[bytes, ...]:
        """Give the secrets. Raises: StorageError, ConfigError where none were ever read."""
        return self._not_older_than(KEPT_FOR)

    def get_newer(self) -> tuple[bytes, ...]:
        """Give the secrets after a call did not fit those that `get` gave. Raises: as `get`."""
        return self._not_older_than(AGAIN_AFTER)

    def _not_older_than(self, age: timedelta) -> tuple[bytes, ...]:
        with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at >= age:
                self._known, self._asked_at = self._read(), now
            return self._known

    def _read(self) -> tuple[bytes, ...]:
        try:
            return self._secrets.read_webhook_secrets()
        except StorageError:
            if not self._known:
                raise
            return self._known  # a minute or five later they are asked for again
