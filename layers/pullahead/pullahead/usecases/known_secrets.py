"""The secrets of senders of webhooks, asked for seldom: whoever calls must not make us ask AWS each time."""

import threading
from datetime import datetime, timedelta

from pullahead.errors import ConfigError, StorageError
from pullahead.ports import Clock, ReadsWebhookSecrets

KEPT_FOR = timedelta(minutes=5)
AGAIN_AFTER = timedelta(minutes=1)
"""How soon they may be read again because a call does not fit: a secret may have been replaced just now."""
FAILED_FOR = timedelta(seconds=10)
"""How long a failure is the answer: a secret that is wrong must cost no more than one that is right."""


class KnownSecrets:
    """Keeps what was read; from any thread."""

    def __init__(self, secrets: ReadsWebhookSecrets, clock: Clock) -> None:
        self._secrets, self._clock = secrets, clock
        self._lock = threading.Lock()
        self._known: tuple[bytes, ...] = ()
        self._asked_at: datetime | None = None
        self._failure: StorageError | ConfigError | None = None

    def get(self) -> tuple[bytes, ...]:
        """Give the secrets. Raises: StorageError where none were ever read; ConfigError."""
        return self._not_older_than(KEPT_FOR)

    def get_newer(self) -> tuple[bytes, ...]:
        """Give the secrets after a call did not fit those that `get` gave. Raises: as `get`."""
        return self._not_older_than(AGAIN_AFTER)

    def _not_older_than(self, age: timedelta) -> tuple[bytes, ...]:
        with self._lock:
            now = self._clock()
            kept_for = FAILED_FOR if self._failure is not None else age
            if self._asked_at is None or now - self._asked_at >= kept_for:
                self._ask(now)
            if self._failure is not None:
                raise self._failure.with_traceback(None)  # else every raise would make it longer
            return self._known

    def _ask(self, now: datetime) -> None:
        self._asked_at, self._failure = now, None
        try:
            self._known = self._secrets.read_webhook_secrets()
        except StorageError as error:
            self._failure = None if self._known else error  # what is known is good; it is asked for again as if read
        except ConfigError as error:
            self._failure = error
