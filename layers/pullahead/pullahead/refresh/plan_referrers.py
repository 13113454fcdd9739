"""Plan the copy of an image's referrers: whose they are, which of their blobs the target lacks, in which units."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from pullahead.messages import ReferrersOutcome, Trouble
from pullahead.oci import Descriptor, Digest, Manifest, Reference
from pullahead.oci.registries import ReferrersReader
from pullahead.refresh.referrers import (
    ReadReferrer,
    ReadReferrers,
    count_referrers,
    list_referrers,
    read_referrers,
)
from pullahead.rules.model import ReferrersPolicy

MAX_STORED_SUBJECTS: Final = 24
"""Manifests whose digests a record keeps, to look for their referrers later: 2 KB. Of more, the index is read again."""

MAX_REFERRER_UNITS: Final = 4
_MAX_TROUBLES, _MAX_TROUBLE_CHARACTERS = 3, 500
_MAX_LIMITS = 4


class PlannedReferrers(msgspec.Struct, frozen=True):
    """The referrers to publish with an image, the units of its plan that have their blobs, and what is not copied."""

    fingerprint: str
    subjects: tuple[Digest, ...]
    referrers: tuple[ReadReferrer, ...] = ()
    units: tuple[int, ...] = ()
    excluded: int = 0
    not_applicable: int = 0
    troubles: tuple[Trouble, ...] = ()
    limits: tuple[str, ...] = ()


def referrers_key(refresh: str) -> str:
    """Return the key of what is planned of a refresh's referrers."""
    return f"plans/{refresh}/referrers.json"


def find_referrers(
    source: Reference, subjects: tuple[Digest, ...], upstream: ReferrersReader, policy: ReferrersPolicy
) -> PlannedReferrers:
    """Find and read what belongs to the manifests of an image, of which `source` names the root by digest.

    What belongs to the root alone is only counted where that was replaced, because its rule selects platforms.
    """
    listing = list_referrers(source, subjects, upstream, policy)
    read: ReadReferrers = read_referrers(source, listing, upstream, policy)
    return PlannedReferrers(
        listing.fingerprint,
        subjects,
        read.referrers,
        excluded=read.excluded,
        not_applicable=0 if source.digest in subjects else count_referrers(source, upstream, policy),
        troubles=read.troubles,
        limits=read.limits,
    )


def subjects_of(
    root: Descriptor, graph: Mapping[Digest, Manifest], rewritten: Collection[Digest]
) -> tuple[Digest, ...]:
    """List the manifests of an image that upstream has, the root first: those may have referrers there."""
    order: dict[Digest, None] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop(0)
        if node.digest not in order:
            order[node.digest] = None
            waiting += graph[node.digest].children if node.digest in graph else ()
    return tuple(digest for digest in order if digest not in rewritten)


def missing_blobs(
    planned: PlannedReferrers,
    own: Collection[Digest],
    present_blobs: Callable[[Collection[Digest]], Collection[Digest]],
) -> list[Descriptor]:
    """List the blobs of referrers that the target lacks, and that the image itself does not bring (`own`)."""
    blobs = ReadReferrers(planned.referrers).blobs
    others = [blob for blob in blobs if blob.digest not in own]
    present = frozenset(present_blobs([blob.digest for blob in others])) if others else frozenset[Digest]()
    return [blob for blob in others if blob.digest not in present]


def outcome_of(
    planned: PlannedReferrers, copied: int, copied_bytes: int, troubles: tuple[Trouble, ...]
) -> ReferrersOutcome:
    """Sum up what became of the referrers of an image, small enough for the state machine and a record."""
    every = (*planned.troubles, *troubles)
    shown = [Trouble(each.kind, each.text[:_MAX_TROUBLE_CHARACTERS]) for each in dict.fromkeys(every)]
    return ReferrersOutcome(
        planned.fingerprint,
        copied,
        copied_bytes,
        planned.excluded,
        planned.not_applicable,
        len(every),
        tuple(shown[:_MAX_TROUBLES]),
        planned.limits[:_MAX_LIMITS],
        planned.subjects if len(planned.subjects) <= MAX_STORED_SUBJECTS else (),
    )
