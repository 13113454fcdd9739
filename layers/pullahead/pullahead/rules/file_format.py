"""Single values of a rules file: durations, platforms and the names that ECR allows. Pure."""

import re
from datetime import timedelta

_DURATION = re.compile(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def parse_duration(text: str) -> timedelta | None:
    """Read a duration such as 90s, 5m or 1h30m, the largest unit first; None where it is none."""
    match = _DURATION.fullmatch(text) if text else None
    if match is None:
        return None
    counts = (int(count or 0) for count in match.groups())
    return timedelta(seconds=sum(count * seconds for count, (_, seconds) in zip(counts, _UNITS, strict=True)))


def format_duration(duration: timedelta) -> str:
    """Write a duration as people do in the rules, in whole seconds."""
    left = int(duration.total_seconds())
    parts = []
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
