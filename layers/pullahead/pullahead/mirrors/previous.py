"""What moved tags served before: kept in ECR under tags of their own, for as long as the rules say. Pure.

A deployment that is pinned by digest goes on pulling. `TAG--previous-<12 hex digits>` is a tag that lifecycle rules of
ECR can tell from others.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from pullahead.oci import Digest
from pullahead.oci.reference import is_tag
from pullahead.rules.model import KeepPrevious
from pullahead.rules.published_tags import previous_tag

MAX_KEPT = 100
"""Of one mirror, in its record. Older ones keep their tags in ECR, but Pullahead no longer knows of them."""


class KeptDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A digest that a tag served, the tag that keeps it, and when the tag moved away from it."""

    digest: Digest
    tag: str
    at: datetime


def tag_to_keep(tag: str, digest: Digest) -> str | None:
    """Name the tag that keeps what a tag serves; None where the name would be too long for ECR."""
    name = previous_tag(tag, digest)
    return name if is_tag(name) else None


def with_kept(known: Sequence[KeptDigest], kept: KeptDigest) -> tuple[KeptDigest, ...]:
    """Add a digest, the oldest first. One that is kept again is as new as the last time."""
    return (*(each for each in known if each.tag != kept.tag), kept)[-MAX_KEPT:]


def still_kept(known: Sequence[KeptDigest], policy: KeepPrevious | None, now: datetime) -> tuple[KeptDigest, ...]:
    """List what the rules keep: the last ones, for a time after the tag has moved away."""
    if policy is None:
        return ()
    return tuple(each for each in known[-policy.most :] if now - each.at < policy.keep_for)
