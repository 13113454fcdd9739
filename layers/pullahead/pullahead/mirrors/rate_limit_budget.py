"""What is put off for the sake of a registry's limit, and who goes first. Pure: knows no clock and sends nothing.

What a registry leaves us of its own limit on requests that count, as a check may want to know it. Pure data.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pullahead.errors import RateLimitedError
from pullahead.mirrors.record import MirrorRecord
from pullahead.oci import Descriptor
from pullahead.oci.media_types import INDEXES
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror


class RemainingQuota(NamedTuple):
    """What a registry said: how much is left, of how much.

    `usable` is what is left above the reserve that the rules keep. `resets_at` is when the limit is whole again at the
    latest; None where the registry does not say.
    """

    remaining: int
    limit: int
    usable: int
    resets_at: datetime | None = None


class UpstreamUse(NamedTuple):
    """How often a registry was asked for one kind of thing, and what it leaves of its limit; None where unknown."""

    host: str
    kind: str
    requests: int
    remaining: int | None = None


QuotaOf = Callable[[str], RemainingQuota | None]
"""Tells what the answers of a registry until now have said; None where they said nothing that still holds."""


_USUAL_MANIFESTS = 9  # of an index of which all is wanted, itself among them; only reading tells how many there are
_NOT_WAITING = datetime.max.replace(tzinfo=UTC)
_AGAIN = re.compile(r"; in ([0-9]{1,9}) s again")


def retry_in_words(seconds: float) -> str:
    """Say in an error when another try may go well, as `seconds_until_again` reads it."""
    return f"; in {math.ceil(seconds)} s again"


def seconds_until_again(text: str) -> float | None:
    """Read from an error's text when another try may go well: Step Functions hands on nothing else of an error."""
    match = _AGAIN.search(text)
    return float(match[1]) if match else None


def was_not_sent(answer: object) -> bool:
    """Whether a limit that we keep ourselves let a request not go out: the registry then has said nothing."""
    return isinstance(answer, RateLimitedError) and answer.status is None


def deferred_because(cause: str) -> str:
    """Say why something is left to the next check."""
    return f"deferred: {cause}"


def oldest_first(mirrors: Sequence[Mirror], known: Mapping[MirrorKey, MirrorRecord]) -> list[Mirror]:
    """Order mirrors by since when they are not fresh; those that are, or are not known, come last."""
    return sorted(mirrors, key=lambda mirror: _waits_since(mirror, known))


def request_order(
    mirrors: Sequence[Mirror], known: Mapping[MirrorKey, MirrorRecord], asked_at: datetime
) -> list[Mirror]:
    """Order mirrors as upstream is asked: the oldest stale first, the others in another order at each check.

    Where a registry bears fewer questions than there are tags, none of them is passed over for ever.
    """

    def turn(mirror: Mirror) -> tuple[datetime, bytes]:
        lot = hashlib.sha256(f"{asked_at.isoformat()} {mirror.key}".encode()).digest()
        return _waits_since(mirror, known), lot

    return sorted(mirrors, key=turn)


def _waits_since(mirror: Mirror, known: Mapping[MirrorKey, MirrorRecord]) -> datetime:
    record = known.get(mirror.key)
    return (record.unfresh_since if record is not None else None) or _NOT_WAITING


def manifests_to_read(root: Descriptor, platforms: Sequence[str]) -> int:
    """Estimate how many manifests a refresh reads."""
    if root.media_type not in INDEXES:
        return 1
    return 1 + len(platforms) if platforms else _USUAL_MANIFESTS


class Allowance:
    """What the refreshes of one batch may take of registries' limits, all of them together."""

    def __init__(self, quota_of: QuotaOf) -> None:
        self._quota_of = quota_of
        self._promised: dict[str, int] = {}

    def shortage(self, registry: str, manifests: int) -> str | None:
        """Say why a refresh that reads so many manifests is to wait; None where it may start."""
        quota = self._quota_of(registry)
        if quota is None:
            return None
        usable = quota.usable - self._promised.get(registry, 0)
        if usable >= _needed(quota, manifests):
            return None
        return (
            f"of {registry}'s limit of {quota.limit} requests {quota.remaining} are left, {max(0, usable)} above the "
            f"reserve and what other refreshes take, and this one takes some {manifests}; the oldest go first"
        )

    def promise(self, registry: str, manifests: int) -> None:
        """Set aside what a refresh takes that was started."""
        self._promised[registry] = self._promised.get(registry, 0) + manifests


def _needed(quota: RemainingQuota, manifests: int) -> int:
    """Ask for no more than half of what a limit ever leaves: a refresh that takes more would never start."""
    most = quota.limit - (quota.remaining - quota.usable)
    return max(1, min(manifests, most // 2))
