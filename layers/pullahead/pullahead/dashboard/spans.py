"""Times as people read them: how long ago, and when. Pure."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span_text(span: timedelta) -> str:
    """Write a span with its two largest units: `3 d 4 h`, `12 min`. A negative one is nothing, `0 s`."""
    left = max(0, int(span.total_seconds()))
    for (size, unit), (small_size, small_unit) in pairwise(_UNITS):
        if left >= size:
            count, rest = divmod(left, size)
            small = rest // small_size
            # Seconds beside minutes would only flicker.
            return f"{count} {unit} {small} {small_unit}" if small and small_unit != "s" else f"{count} {unit}"
    return f"{left} s"


def moment_text(moment: datetime) -> str:
    """Write a moment, in UTC, to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
