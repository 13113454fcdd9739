"""Numbers and names as people read them. Pure."""

import re

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_UNSAFE = re.compile(r"[^ -~]+")


def size_text(size_bytes: int) -> str:
    """Write a size in the largest unit of which there is at least one."""
    amount, unit = float(size_bytes), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{size_bytes} B" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def rate_text(size_bytes: int, seconds: float) -> str:
    """Write a throughput in MB/s, of a million bytes each."""
    return f"{megabytes_per_second(size_bytes, seconds):.1f} MB/s"


def megabytes_per_second(size_bytes: int, seconds: float) -> float:
    """Compute a throughput; none where no time has gone by."""
    return round(size_bytes / seconds / 1e6, 1) if seconds > 0 else 0.0


def count_text(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def one_line(text: str) -> str:
    """Make one line of a text that holds somebody else's words, so that they cannot steer a terminal."""
    return _UNSAFE.sub(" ", text).strip()
