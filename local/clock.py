"""Decides what time it is on the local AWS: wall time plus an offset. Knows nothing of who asks.

The offset lives in a small file, so that the server, every function process and a test see the same time.
"""

import os
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path


class LocalClock:
    """Wall time plus an offset that only grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._advancing = threading.Lock()

    @property
    def offset(self) -> timedelta:
        """Return how far this clock is ahead of the wall clock."""
        try:
            text = self.path.read_text(encoding="ascii")
        except FileNotFoundError:  # not advanced yet
            return timedelta(0)
        return timedelta(seconds=float(text))

    def now(self) -> datetime:
        """Return the local AWS's time, aware, in UTC."""
        return datetime.now(UTC) + self.offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: the clock would go backwards.
        """
        if seconds < 0:
            raise ValueError(f"a clock does not go back: {seconds} s")
        with self._advancing:
            self._write(self.offset.total_seconds() + seconds)

    def _write(self, offset_seconds: float) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(repr(offset_seconds))
        Path(name).replace(self.path)  # a reader sees the old offset or the new one, never half a number
