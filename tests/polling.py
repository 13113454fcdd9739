"""Waiting for what happens elsewhere: short looks, and an end to patience. The only place of the tests that waits."""

import time
from collections.abc import Callable

_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.02


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait, at most half a minute, until something has happened."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
