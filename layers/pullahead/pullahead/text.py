"""Text for people: safe single lines of text from outside, time spans and times."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final


def one_line(text: str, most: int) -> str:
    """Make one short line of a text; characters that do not print, or change its direction, become spaces."""
    seen = text[: 4 * most]
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in seen).split())
    return plain if len(plain) <= most and len(seen) == len(text) else plain[: most - 1].rstrip() + "…"


_SPAN_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span_text(span: timedelta) -> str:
    """Write a time span in its two largest units: `3 d 4 h`, `12 min`; a negative one as `0 s`."""
    left = max(0, int(span.total_seconds()))
    for (size, unit), (small_size, small_unit) in pairwise(_SPAN_UNITS):
        if left >= size:
            count, rest = divmod(left, size)
            small = rest // small_size
            # Seconds beside minutes are of no interest.
            return f"{count} {unit} {small} {small_unit}" if small and small_unit != "s" else f"{count} {unit}"
    return f"{left} s"


def moment_text(moment: datetime) -> str:
    """Write a time in UTC, to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
