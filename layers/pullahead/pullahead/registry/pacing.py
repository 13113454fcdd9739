"""When a request may go: a steady rate after a burst, and a window of requests under way. Knows no host and no HTTP.

Whoever came first goes first, and no lock is held while somebody waits.
"""

import threading
from collections import deque
from collections.abc import Callable

_LONGEST_WAIT_SECONDS = 3600.0


class TokenBucket:
    """Lets requests go at a rate, after a burst. May be used by several threads.

    A turn is booked when it is asked for and slept until then, so that turns are taken in the order of their asking.
    It is the generic cell rate algorithm: one moment is all that is remembered.
    """

    def __init__(
        self, per_second: float, burst: int, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        if per_second <= 0 or burst < 1:
            raise ValueError(f"a bucket of {burst} at {per_second} a second lets nothing go")
        self._interval = 1.0 / per_second
        self._tolerance = (burst - 1) * self._interval
        self._clock, self._sleep = clock, sleep
        self._looked = clock()
        self._full_at = self._looked  # when the burst is whole again
        self._lock = threading.Lock()

    def wait(self, within: float) -> float | None:
        """Wait for a turn; where it would come only after `within` seconds, answer when, and book nothing."""
        with self._lock:
            now = self._now()
            seconds = max(0.0, self._full_at - self._tolerance - now)
            if seconds > within:
                return seconds
            self._full_at = max(self._full_at, now) + self._interval
        if seconds:
            self._sleep(seconds)
        return None

    def _now(self) -> float:
        now = self._clock()
        if now < self._looked:  # the clock was put back: what was booked goes back with it
            self._full_at -= self._looked - now
        self._looked = now
        return now


class Place:
    """A place in a window, to be given back."""

    def __init__(self, size_age: int) -> None:
        self.size_age = size_age


class Window:
    """How many requests may be under way at once: halved when a registry is pressed too hard, and widened slowly.

    Additive increase, multiplicative decrease, as TCP's congestion avoidance (RFC 5681 section 3.1): one more for each
    windowful that went well. Complaints about requests that were sent before the last halving do not halve again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = float(most)
        self._halvings = 0
        self._under_way = 0
        self._waiting: deque[tuple[threading.Event, Place]] = deque()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many may be under way now."""
        return int(self._size)

    def enter(self, within: float) -> Place | None:
        """Wait for a place; None where there is none within so many seconds."""
        called, place = threading.Event(), Place(0)
        with self._lock:
            self._waiting.append((called, place))
            self._call()
        if called.wait(min(within, _LONGEST_WAIT_SECONDS)):
            return place
        with self._lock:
            if called.is_set():  # at the last moment
                return place
            self._waiting.remove((called, place))
            return None

    def leave(self, place: Place, *, went_well: bool | None) -> None:
        """Give a place back; `went_well` is False where the registry complained, None where neither can be said."""
        with self._lock:
            self._under_way -= 1
            if went_well:
                self._size = min(float(self._most), self._size + 1.0 / self._size)
            elif went_well is False and place.size_age == self._halvings:
                self._size = max(1.0, self._size / 2)
                self._halvings += 1
            self._call()

    def _call(self) -> None:
        while self._waiting and self._under_way < int(self._size):
            called, place = self._waiting.popleft()
            place.size_age = self._halvings
            self._under_way += 1
            called.set()
