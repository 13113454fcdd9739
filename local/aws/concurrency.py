"""The account's concurrency: how many invocations run at once, and which were throttled. Knows no queue and no retry.

AWS Lambda Developer Guide, "Understanding Lambda function scaling": an invocation beyond the account's limit is
answered 429, TooManyRequestsException, whoever invokes.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

# Developer guide, "Error handling for asynchronous invocations" and for event source mappings: throttled events are
# tried again after a second, then less and less often.
FIRST_RETRY_SECONDS: Final = 1.0


class ThrottledError(RuntimeError):
    """The account's concurrency is used up."""


class AccountConcurrency:
    """Counts what runs; without a limit, everything may run."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._running = 0
        self._most = 0
        self._throttles = Counter[str]()

    @property
    def most_at_once(self) -> int:
        """Return how many invocations have run at once at most."""
        return self._most

    @property
    def throttles(self) -> Mapping[str, int]:
        """Return how often each function was throttled: what CloudWatch counts as Throttles."""
        with self._lock:
            return dict(self._throttles)

    @contextmanager
    def invocation(self, function: str) -> Iterator[None]:
        """Take a place for one invocation.

        Raises:
            ThrottledError: there is none.
        """
        with self._lock:
            if self.limit is not None and self._running >= self.limit:
                self._throttles[function] += 1
                raise ThrottledError("Rate Exceeded.")
            self._running += 1
            self._most = max(self._most, self._running)
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1


def retry_delays(longest_seconds: float, total_seconds: float) -> Iterator[float]:
    """Yield the waits between tries of what is throttled, each twice the one before, until their sum is the total."""
    delay, waited = FIRST_RETRY_SECONDS, 0.0
    while waited < total_seconds:
        step = min(delay, longest_seconds, total_seconds - waited)
        yield step
        waited += step
        delay *= 2
