"""Counts work in progress, so that a caller can wait until there is none."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Activity:
    """A counter of work by name, shared by everything that works in the background."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._begun = 0

    def begin(self, name: str) -> None:
        """Count a piece of accepted work; call it before the caller gets the response."""
        with self._lock:
            self._busy[name] += 1
            self._begun += 1

    def end(self, name: str) -> None:
        """Note that a piece of work is over, whatever came of it."""
        with self._lock:
            self._busy[name] -= 1
            if not self._busy[name]:
                del self._busy[name]

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Count the body as work under way."""
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def busy(self) -> list[str]:
        """Name what is under way, with how many of each."""
        with self._lock:
            return [f"{name} ({count})" for name, count in sorted(self._busy.items())]

    @property
    def begun(self) -> int:
        """Return how many pieces of work ever began: two equal readings mean that none began in between."""
        with self._lock:
            return self._begun
