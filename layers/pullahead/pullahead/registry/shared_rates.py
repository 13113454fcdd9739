"""A registry's rate, kept by all processes together: each takes some of the next requests at a time, for a few seconds.

A lease costs one write for many requests. Where all of a window is taken, nobody asks again until the next one. Where
leases cannot be had, each process goes on with its part of the rate.
"""

import math
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from pullahead.errors import StorageError
from pullahead.rules.request_rates import Rate

_SHORTEST_WINDOW_SECONDS: Final = 5.0
_FEWEST_REQUESTS: Final = 10  # of a window: the tags of a usual message
_PROCESSES: Final = 5  # that check: MaximumConcurrency in template.yaml
_LARGEST_SHARE: Final = 5
_PARTS: Final = 20  # of a window: what a process takes and does not send is lost to others, and each costs a write


class Window(NamedTuple):
    """A time in which a registry may be sent so many requests, by whatever process."""

    number: int  # since 1970
    seconds: float
    requests: int

    @property
    def ends_at(self) -> float:
        """When it ends, in seconds since 1970."""
        return (self.number + 1) * self.seconds

    @property
    def part(self) -> int:
        """How many of its requests a process takes at a time."""
        return max(math.ceil(self.requests / _PARTS), min(_LARGEST_SHARE, math.ceil(self.requests / _PROCESSES)))

    @property
    def share(self) -> int:
        """How many of its requests each of the processes may send without asking others."""
        return max(1, self.requests // _PROCESSES)


def window_of(rate: Rate, now: float) -> Window:
    """Return the current window of a rate: as long as it takes to make up for a burst, or longer."""
    seconds = max(_SHORTEST_WINDOW_SECONDS, max(_FEWEST_REQUESTS, rate.burst) / rate.per_second)
    return Window(int(now // seconds), seconds, max(1, int(rate.per_second * seconds)))


TakeRequests = Callable[[str, Window], int]
"""Takes a part of a host's window and returns how many requests it has; 0: none are left. Raises: StorageError."""


class SharedRate:
    """One host's rate in one process. For several threads."""

    def __init__(
        self,
        host: str,
        rate: Rate,
        take: TakeRequests,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._host, self._rate, self._take, self._clock, self._sleep = host, rate, take, clock, sleep
        self._window: Window | None = None
        self._left = 0
        self._is_used_up = False
        self._lock = threading.Lock()

    def wait(self, within: float) -> float | None:
        """Take a request; if one is left only after `within` seconds, return after how many, and take none."""
        while True:
            with self._lock:
                seconds = self._take_one()
            if seconds is None or seconds > within:
                return seconds
            within -= seconds
            self._sleep(seconds)

    def _take_one(self) -> float | None:
        now = self._clock()
        window = window_of(self._rate, now)
        if window != self._window:  # what was left of the last one is gone
            self._window, self._left, self._is_used_up = window, 0, False
        if not self._left and not self._is_used_up:
            self._lease(window)
        if not self._left:
            return max(0.001, window.ends_at - now)
        self._left -= 1
        return None

    def _lease(self, window: Window) -> None:
        try:
            self._left = self._take(self._host, window)
            self._is_used_up = not self._left
        except StorageError:
            self._left, self._is_used_up = window.share, True
