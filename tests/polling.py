"""Wait for a state by polling, with a limit. The only module of the tests that sleeps."""

import time
from collections.abc import Callable

_LIMIT_SECONDS = 150.0  # many times what a busy machine takes; a scenario waits for a state, not for a time
_POLL_SECONDS = 0.02


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait until something has happened. Raises TimeoutError after two and a half minutes."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {_LIMIT_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
