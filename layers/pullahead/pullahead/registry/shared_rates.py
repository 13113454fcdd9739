"""A registry's rate, kept by all processes together: each takes some of the next requests at a time, for a few seconds.

A lease costs one write for many requests. Where all of a window is taken, nobody asks again until the next one. Where
leases cannot be had, each process goes on with its part of the rate.

What events ask for does not wait behind the schedule, nor the schedule behind a flood of events: of each window a part
is for requests of the schedule alone, a part for those of events alone, and both share what is left.
"""

import math
import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from pullahead.errors import StorageError
from pullahead.rules.request_rates import Rate

_SHORTEST_WINDOW_SECONDS: Final = 5.0
_FEWEST_REQUESTS: Final = 10  # of a window: the tags of a usual message
_PROCESSES: Final = 5  # that check: MaximumConcurrency in template.yaml
_LARGEST_SHARE: Final = 5
_PARTS: Final = 20  # of a window: what a process takes and does not send is lost to others, and each costs a write


_FOR_EVENTS: Final = 0.1  # of a rate; with what is shared half of it, and the schedule has nine tenths at most
_FOR_SCHEDULE: Final = 0.5


class Requests(StrEnum):
    """Whose a part of a window is."""

    SCHEDULE = ""
    EVENTS = "events"
    ANY = "any"


class Window(NamedTuple):
    """A time in which a registry may be sent so many requests, by whatever process; or the part of it that is for some.

    `whole` is how many requests the whole window has.
    """

    number: int  # since 1970
    seconds: float
    requests: int
    whole: int = 0
    of: Requests = Requests.SCHEDULE

    @property
    def ends_at(self) -> float:
        """When it ends, in seconds since 1970."""
        return (self.number + 1) * self.seconds

    @property
    def part(self) -> int:
        """How many of its requests a process takes at a time.

        Of those for events, so few that each process finds some: a window may be longer than an event should wait.
        """
        if self.of is Requests.EVENTS:
            return self.share
        requests = self.whole or self.requests
        return max(math.ceil(requests / _PARTS), min(_LARGEST_SHARE, math.ceil(requests / _PROCESSES)))

    @property
    def share(self) -> int:
        """How many of its requests each of the processes may send without asking others."""
        if self.of is Requests.ANY:
            others = (self.for_some(Requests.EVENTS), self.for_some(Requests.SCHEDULE))
            return max(0, self.whole // _PROCESSES - sum(other.share for other in others))
        return max(1, self.requests // _PROCESSES)

    def for_some(self, of: Requests) -> "Window":
        """Return the part of the whole window that is for some requests."""
        whole = self.whole or self.requests
        events, schedule = max(1, round(whole * _FOR_EVENTS)), round(whole * _FOR_SCHEDULE)
        requests = {Requests.EVENTS: events, Requests.SCHEDULE: schedule}.get(of, whole - events - schedule)
        return self._replace(requests=max(0, requests), whole=whole, of=of)


def window_of(rate: Rate, now: float) -> Window:
    """Return the current window of a rate: as long as it takes to make up for a burst, or longer."""
    seconds = max(_SHORTEST_WINDOW_SECONDS, max(_FEWEST_REQUESTS, rate.burst) / rate.per_second)
    return Window(int(now // seconds), seconds, max(1, int(rate.per_second * seconds)))


TakeRequests = Callable[[str, Window], int]
"""Takes a part of a host's window and returns how many requests it has; 0: none are left. Raises: StorageError."""


class _Lease:
    """What a process has taken of the windows for some requests."""

    def __init__(self, of: Requests) -> None:
        self.of = of
        self.left = 0
        self.is_used_up = False
        self._number = -1

    def move_to(self, window: Window) -> None:
        """Go on to a window. What was taken of the one just before is still sent: it was counted there.

        A clock that is set back a little does not go back to a window: what was taken of the next one would be lost.
        """
        if window.number not in (self._number, self._number - 1):
            self.left = self.left if window.number == self._number + 1 else 0
            self._number, self.is_used_up = window.number, False


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
        shared = _Lease(Requests.ANY)
        self._of_events = (_Lease(Requests.EVENTS), shared)
        self._of_schedule = (_Lease(Requests.SCHEDULE), shared)
        self._lock = threading.Lock()

    def wait(self, within: float, *, by_event: bool = False) -> float | None:
        """Take a request; if one is left only after `within` seconds, return after how many, and take none."""
        while True:
            with self._lock:
                seconds = self._take_one(self._of_events if by_event else self._of_schedule)
            if seconds is None or seconds > within:
                return seconds
            within -= seconds
            self._sleep(seconds)

    def _take_one(self, leases: Sequence[_Lease]) -> float | None:
        now = self._clock()
        window = window_of(self._rate, now)
        for lease in leases:
            lease.move_to(window)
            if not lease.left and not lease.is_used_up:
                self._renew(lease, window.for_some(lease.of))
            if lease.left:
                lease.left -= 1
                return None
        return max(0.001, window.ends_at - now)

    def _renew(self, lease: _Lease, window: Window) -> None:
        try:
            lease.left = self._take(self._host, window)
            lease.is_used_up = not lease.left
        except StorageError:
            lease.left, lease.is_used_up = window.share, True
