"""When to stop so that what is begun can still be saved. Pure: the time that is left is asked of whoever has it."""

from collections.abc import Callable

_MAX_RESERVE_SECONDS = 60.0
_RESERVE_SHARE = 0.2


class TimeBudget:
    """Tells when to stop so that the rest can be saved: a share of the time there was, or two slow parts.

    With several `threads` that ask in turn, a part takes as many times longer as there are between two questions.
    """

    def __init__(self, remaining_seconds: Callable[[], float], threads: int = 1) -> None:
        self._remaining, self._threads = remaining_seconds, threads
        self._last = remaining_seconds()
        self._reserve = min(_MAX_RESERVE_SECONDS, self._last * _RESERVE_SHARE)
        self._slowest = 0.0

    def is_up(self) -> bool:
        """Whether to stop now. Called after every part, so it also learns how long a part takes."""
        now = self._remaining()
        self._slowest = max(self._slowest, self._last - now)
        self._last = now
        return now < max(self._reserve, 2 * self._threads * self._slowest)

    def seconds_left(self) -> float:
        """Tell how long something may take that is not to be stopped."""
        return self._remaining() - self._reserve
