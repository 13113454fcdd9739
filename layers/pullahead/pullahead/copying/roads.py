"""Which road a blob goes into the target: one stream, which costs least, or parts, which can be resumed. Pure.

A stream is broken off with all that it has sent when the time runs out, so it is taken only for what surely fits.
"""

from collections import deque

_ASSUMED_BYTES_PER_SECOND = 4_000_000.0  # before anything was measured: what a bad day looks like
_SLOWER = 3.0  # how much slower than measured the next one may be
_FIXED_SECONDS = 2.0  # for opening both ends, whatever the size
_MEASURED_FROM_BYTES = 1024 * 1024  # less is mostly waiting for answers, and says little about a long stream
_REMEMBERED = 4


class Roads:
    """Learns how quick streams are. May be used by several threads: what one appends another reads or does not."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_REMEMBERED)

    def surely_streams(self, size: int, seconds_left: float) -> bool:
        """Tell whether a blob of `size` bytes has come in `seconds_left`, even if things go badly."""
        rate = min(tuple(self._rates), default=_ASSUMED_BYTES_PER_SECOND)
        return size / rate * _SLOWER + _FIXED_SECONDS <= seconds_left

    def learn(self, size: int, seconds: float) -> None:
        """Take note of a stream that came through."""
        if size >= _MEASURED_FROM_BYTES and seconds > 0:
            self._rates.append(size / seconds)
