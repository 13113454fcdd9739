"""Single values of a rules file: durations, platforms and the names that ECR allows. Pure."""

import re
from datetime import timedelta

_DURATION = re.compile(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))

# ECR API reference, CreateRepository, repositoryName: pattern, and 2 to 256 characters.
_REPOSITORY = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
_REPOSITORY_CHARACTERS = range(2, 257)
REPOSITORY_ADVICE = (
    "Write 2 to 256 lower-case letters and digits, joined by single dots, dashes, underscores or slashes."
)

_MAX_PLATFORM_CHARACTERS = 100
_PLATFORM = re.compile(r"[a-z0-9]+(?:/[A-Za-z0-9._-]+){1,2}")


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


def is_repository_name(text: str) -> bool:
    """Tell whether ECR allows a text as the name of a repository."""
    return len(text) in _REPOSITORY_CHARACTERS and _REPOSITORY.fullmatch(text) is not None


def is_platform(text: str) -> bool:
    """Tell whether a text is a platform: OS/ARCHITECTURE, with or without a variant."""
    return len(text) <= _MAX_PLATFORM_CHARACTERS and _PLATFORM.fullmatch(text) is not None
