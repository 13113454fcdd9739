"""What a registry leaves us of its own limit on requests that count, as a check may want to know it. Pure data."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple


class Quota(NamedTuple):
    """What a registry said: how much is left, of how much.

    `usable` is what is left above the reserve that the rules keep. `resets_at` is when the limit is whole again at the
    latest; None where the registry does not say.
    """

    remaining: int
    limit: int
    usable: int
    resets_at: datetime | None = None


class Used(NamedTuple):
    """How often a registry was asked for one kind of thing, and what it leaves of its limit; None where unknown."""

    host: str
    kind: str
    requests: int
    remaining: int | None = None


QuotaOf = Callable[[str], Quota | None]
"""Tells what the answers of a registry until now have said; None where they said nothing that still holds."""
