"""How long to wait before a broken transfer goes on. Every engine waits alike."""

import random
import time

_MAX_WAIT_SECONDS = 10.0


def wait_after_breaks(breaks: int) -> None:
    """Wait: longer with every break in a row, with jitter, at most ten seconds."""
    time.sleep(random.uniform(0.1, min(_MAX_WAIT_SECONDS, 0.5 * 2**breaks)))  # noqa: S311 - no secret is made
