"""How texts, sizes, counts, durations and moments are written for people. Pure."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

_SIZE_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_TIME_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_AFTER_HOST: Final = re.compile(r"(https?://)(?:[^\s/@]*@)?([^\s?#]*)[?#]\S*", re.IGNORECASE)
_WWW: Final = re.compile(r"\b(www)\.", re.IGNORECASE)
_LOGIN: Final = re.compile(r"(https?://)[^\s/@]*@", re.IGNORECASE)


def one_line(text: str, max_length: int | None = None) -> str:
    """Make one safe line of untrusted text.

    Control characters, line breaks and marks that reverse the direction of writing become spaces, so that the text
    cannot steer a terminal. A line that is cut ends with an ellipsis.
    """
    read = text if max_length is None else text[: 4 * max_length]
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in read).split())
    if max_length is None or (len(line) <= max_length and len(read) == len(text)):
        return line
    return line[: max_length - 1].rstrip() + "…"


def printable(text: str) -> str:
    """Keep the lines of a text, and replace what steers a terminal or reverses the direction of writing by spaces."""
    return _without_unprintable(text, lambda _: " ")


def escaped_json(document: str) -> str:
    """Escape in a JSON document what `printable` replaces: its values stay what they are."""
    return _without_unprintable(document, _json_escape)


def _without_unprintable(text: str, replace: Callable[[str], str]) -> str:
    if text.replace("\n", "").isprintable():  # nearly always, and many times faster than letter by letter
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else replace(letter) for letter in text)


def _json_escape(letter: str) -> str:
    return json.dumps(letter)[1:-1] if letter != "\x7f" else "\\u007f"


def without_links(text: str) -> str:
    """Write a text from outside so that no reader of mail makes a link of an address in it."""
    return _WWW.sub(r"\1[.]", text.replace("://", "[:]//"))


def public_text(text: str) -> str:
    """Remove logins and queries from the URLs in a text: a presigned URL's query is a credential."""
    return _LOGIN.sub(r"\1", _AFTER_HOST.sub(r"\1\2", text))


def size_text(size_bytes: int) -> str:
    """Write a size in the largest unit of which there is at least one."""
    amount, unit = float(size_bytes), 0
    while amount >= 1024 and unit < len(_SIZE_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{size_bytes} B" if unit == 0 else f"{amount:.1f} {_SIZE_UNITS[unit]}"


def rate_text(size_bytes: int, seconds: float) -> str:
    """Write a throughput in MB/s, of a million bytes each."""
    return f"{megabytes_per_second(size_bytes, seconds):.1f} MB/s"


def megabytes_per_second(size_bytes: int, seconds: float) -> float:
    """Compute a throughput; 0 if no time has passed."""
    return round(size_bytes / seconds / 1e6, 1) if seconds > 0 else 0.0


def count_text(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def span_text(span: timedelta) -> str:
    """Write a duration with its two largest units: `3 d 4 h`, `12 min`. A negative one is `0 s`."""
    left = max(0, int(span.total_seconds()))
    for (size, unit), (small_size, small_unit) in pairwise(_TIME_UNITS):
        if left >= size:
            count, rest = divmod(left, size)
            small = rest // small_size
            # Seconds beside minutes would only flicker.
            return f"{count} {unit} {small} {small_unit}" if small and small_unit != "s" else f"{count} {unit}"
    return f"{left} s"


def moment_text(moment: datetime) -> str:
    """Write a moment in UTC, to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
