"""Credentials kept for a while: how long one is believed, and how often it is looked up again. Knows not where.

Nothing is looked up more than once a minute on the word of a registry: one that refuses everything would otherwise make
us ask AWS at each request.
"""

import threading
from collections.abc import Callable, Hashable
from typing import NamedTuple

from pullahead.errors import AccessDeniedError, RegistryUnavailableError
from pullahead.registry.credentials import Credential

_AGAIN_SECONDS = 60.0


class Found(NamedTuple):
    """A credential, and the moment until which it may be used."""

    credential: Credential
    use_until: float


class LookupFailedError(Exception):
    """Why there is no credential: which of our errors that is, in words that hold no secret."""

    def __init__(
        self, kind: type[AccessDeniedError] | type[RegistryUnavailableError], cause: str, advice: str = ""
    ) -> None:
        super().__init__(cause)
        self.kind, self.cause, self.advice = kind, cause, advice


class _Entry:
    """The lock lets one thread look up while the others wait for what it finds."""

    def __init__(self) -> None:
        self.found: Found | None = None
        self.failure: LookupFailedError | None = None
        self.looked_at = float("-inf")
        self.lock = threading.Lock()


class KeptCredentials:
    """Keeps credentials by key. May be used by several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, look_up: Callable[[], Found]) -> Credential:
        """Return the credential of a key, looked up where none is known. Raises LookupFailedError, kept as well."""
        entry = self._entry(key)
        with entry.lock:
            now = self._clock()
            if entry.found is not None and now < entry.found.use_until:
                return entry.found.credential
            if entry.failure is not None and now - entry.looked_at < _AGAIN_SECONDS:
                raise LookupFailedError(entry.failure.kind, entry.failure.cause, entry.failure.advice)
            entry.found = entry.failure = None
            entry.looked_at = now
            try:
                entry.found = look_up()
            except LookupFailedError as failure:
                entry.failure = failure
                raise
            return entry.found.credential

    def refuse(self, key: Hashable, credential: Credential) -> None:
        """Forget a credential that a registry refuses, unless it was looked up only just now, or is another already."""
        entry = self._entry(key)
        with entry.lock:
            is_it = entry.found is not None and entry.found.credential == credential
            if is_it and self._clock() - entry.looked_at >= _AGAIN_SECONDS:
                entry.found = None

    def _entry(self, key: Hashable) -> _Entry:
        with self._lock:
            return self._entries.setdefault(key, _Entry())
