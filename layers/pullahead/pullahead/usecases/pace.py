"""How fast pieces come, and who waits for whom. Pure: the clock is handed in."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

_WINDOW_SECONDS = 0.2
_STARVED_SHARE = 0.6  # of the time spent waiting for bytes


class Pace(NamedTuple):
    """What a stretch of reading was like: bytes a second, and whether its taker mostly waited for more."""

    rate: float
    is_starved: bool


class Gauge(Protocol):
    """Watches pieces go by."""

    def timed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Hand pieces on, and watch."""
        ...

    def pace(self) -> Pace | None:
        """Tell the pace since the last answer; None where that is too short a time to tell."""
        ...


class ClockGauge:
    """A gauge by a monotonic clock in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began, self._waited, self._bytes = clock(), 0.0, 0

    def timed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Hand pieces on; what passes while the next one is fetched is waiting."""
        while True:
            before = self._clock()
            piece = next(pieces, None)
            self._waited += self._clock() - before
            if piece is None:
                return
            self._bytes += len(piece)
            yield piece

    def pace(self) -> Pace | None:
        """Tell the pace of the last fifth of a second or more."""
        now = self._clock()
        seconds = now - self._began
        if seconds < _WINDOW_SECONDS:
            return None
        pace = Pace(self._bytes / seconds, self._waited >= _STARVED_SHARE * seconds)
        self._began, self._waited, self._bytes = now, 0.0, 0
        return pace
