"""The budget of requests that a registry's rate limit leaves: which mirrors go first, and what is deferred. Pure."""

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
    """What a registry last reported of its own limit on the requests that it counts.

    `usable` is what remains above the reserve that the rules keep. `resets_at` is when all of the limit is available
    again at the latest; None where the registry does not say.
    """

    remaining: int
    limit: int
    usable: int
    resets_at: datetime | None = None


class UpstreamUse(NamedTuple):
    """The number of requests of one kind to a registry, and what remains of its limit; None where unknown."""

    host: str
    kind: str
    requests: int
    remaining: int | None = None


QuotaOf = Callable[[str], RemainingQuota | None]
"""Returns what a registry last reported; None where it reported nothing that still holds."""


_USUAL_MANIFESTS = 9  # of an index that is copied whole, including itself; only reading it tells how many there are
_NOT_WAITING = datetime.max.replace(tzinfo=UTC)
_RETRY = re.compile(r"; retry in ([0-9]{1,9}) s\b")


def retry_in_words(seconds: float) -> str:
    """Write the end of an error's text that `seconds_until_again` reads."""
    return f"; retry in {math.ceil(seconds)} s"


def seconds_until_again(text: str) -> float | None:
    """Read from an error's text when to retry: Step Functions passes on nothing else of an error."""
    match = _RETRY.search(text)
    return float(match[1]) if match else None


def was_not_sent(answer: object) -> bool:
    """Whether a request was not sent, for the sake of a limit that Pullahead keeps."""
    return isinstance(answer, RateLimitedError) and answer.status is None


def deferred_because(cause: str) -> str:
    """Write why something is deferred to the next check."""
    return f"deferred: {cause}"


def oldest_first(mirrors: Sequence[Mirror], known: Mapping[MirrorKey, MirrorRecord]) -> list[Mirror]:
    """Order mirrors by how long they are not fresh; those that are fresh or unknown come last."""
    return sorted(mirrors, key=lambda mirror: _waits_since(mirror, known))


def request_order(
    mirrors: Sequence[Mirror], known: Mapping[MirrorKey, MirrorRecord], asked_at: datetime
) -> list[Mirror]:
    """Order mirrors for their requests to upstream: the longest stale first, the others in another order at each check.

    Where a registry allows fewer requests than there are tags, every tag has its turn in the end.
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
    """The requests that the refreshes of one batch may make within registries' limits, all together."""

    def __init__(self, quota_of: QuotaOf) -> None:
        self._quota_of = quota_of
        self._promised: dict[str, int] = {}

    def shortage(self, registry: str, manifests: int) -> str | None:
        """Return why a refresh that reads this many manifests must wait; None where it may start."""
        quota = self._quota_of(registry)
        if quota is None:
            return None
        usable = quota.usable - self._promised.get(registry, 0)
        if usable >= _needed(quota, manifests):
            return None
        return (
            f"{registry} leaves {quota.remaining} of its limit of {quota.limit} requests, {max(0, usable)} above the "
            f"reserve and what other refreshes need; this one needs about {manifests}, and the longest stale go first"
        )

    def promise(self, registry: str, manifests: int) -> None:
        """Reserve the requests of a refresh that was started."""
        self._promised[registry] = self._promised.get(registry, 0) + manifests


def _needed(quota: RemainingQuota, manifests: int) -> int:
    """Require at most half of what a limit can ever leave: a refresh that needs more would never start."""
    most = quota.limit - (quota.remaining - quota.usable)
    return max(1, min(manifests, most // 2))
