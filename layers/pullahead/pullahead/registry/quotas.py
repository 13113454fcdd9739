"""What a registry says of its own limit: how much of it is left, and until when. Sends nothing and decides nothing.

Sources: Docker documentation, "Pull usage and limits" (`ratelimit-remaining: 20;w=21600`); IETF draft "RateLimit header
fields for HTTP", versions 03 to 10; GitLab documentation, "Rate limits" (a moment for RateLimit-Reset); X-RateLimit-*.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

_MAX_SECONDS = 7 * 24 * 3600.0
_MOMENTS_FROM = 1_000_000_000.0  # a smaller number of seconds is a wait, a larger one a moment since 1970
_NUMBER = re.compile(r"\s*([0-9]{1,12})(?![0-9])")
_PAIRS = re.compile(r"\b([a-z]+)\s*=\s*([0-9]{1,12})(?![0-9])")


class Reported(NamedTuple):
    """How much a registry would still take, of how much; `seconds` until that is over, None where it is not said."""

    remaining: int
    limit: int
    seconds: float | None = None


def read_reported(headers: Mapping[str, str], wall_time: float) -> Reported | None:
    """Read what an answer says; None where it says nothing, or nothing that makes sense."""
    for prefix in ("RateLimit-", "X-RateLimit-"):
        remaining, limit = _first(headers.get(f"{prefix}Remaining")), _first(headers.get(f"{prefix}Limit"))
        if remaining is not None and limit:
            reset = _first(headers.get(f"{prefix}Reset"))
            window = _pairs(headers.get(f"{prefix}Remaining")) | _pairs(headers.get(f"{prefix}Limit"))
            return _reported(remaining, limit, window.get("w") if reset is None else reset, wall_time)
    return _read_combined(headers, wall_time)


def _read_combined(headers: Mapping[str, str], wall_time: float) -> Reported | None:
    said, policy = _pairs(headers.get("RateLimit")), _pairs(headers.get("RateLimit-Policy"))
    remaining, limit = said.get("r", said.get("remaining")), said.get("limit", policy.get("q"))
    if remaining is None or not limit:
        return None
    return _reported(remaining, limit, said.get("t", said.get("reset", policy.get("w"))), wall_time)


def _reported(remaining: int, limit: int, reset: int | None, wall_time: float) -> Reported:
    if reset is None:
        return Reported(min(remaining, limit), limit)
    seconds = reset - wall_time if reset >= _MOMENTS_FROM else float(reset)
    return Reported(min(remaining, limit), limit, min(max(seconds, 0.0), _MAX_SECONDS))


def _first(header: str | None) -> int | None:
    match = _NUMBER.match(header or "")
    return int(match[1]) if match else None


def _pairs(header: str | None) -> dict[str, int]:
    """Read parameters; of one that is there several times the first, which is the limit that bites first."""
    return {name: int(value) for name, value in reversed(_PAIRS.findall((header or "").lower()))}
