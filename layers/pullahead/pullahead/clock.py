"""Clocks, and the back-off before a broken transfer is resumed, which is the same everywhere."""

import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec

Clock = Callable[[], datetime]
"""The time now, aware, in UTC."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with a zone, as it is stored or sent: one without cannot be compared with the clock's."""

Wait = Callable[[int], None]
"""Waits before something is tried again, such as a broken transfer; the argument counts the failures in a row."""


_MAX_WAIT_SECONDS = 10.0


def wait_after_breaks(breaks: int) -> None:
    """Wait longer with every break in a row, with jitter, at most ten seconds."""
    time.sleep(random.uniform(0.1, min(_MAX_WAIT_SECONDS, 0.5 * 2**breaks)))  # noqa: S311 - no secret is made
