"""What each gate says of one digest: it may be served, waits for a moment, or waits for something else. Pure.

A gate decides by what is remembered of this digest under this tag, the rule, and the time. It answers None where it has
nothing against the digest, so that a digest is admitted when every gate is silent. A person's decision outweighs all.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from pullahead.admission.seen_digests import SeenDigest, SeenDigests
from pullahead.rules.admission_policy import AdmissionPolicy, FirstCopy


class HeldReason(StrEnum):
    """Why a digest may not be served, where no moment ends it."""

    WAITING_APPROVAL = "WAITING_APPROVAL"
    REJECTED = "REJECTED"


class Hold(NamedTuple):
    """Why a digest may not be served yet: until a moment, or because of something else."""

    until: datetime | None = None
    because: HeldReason | None = None


class Occasion(NamedTuple):
    """When it is decided, and whether the tag has never been copied."""

    now: datetime
    never_copied: bool = False


Gate = Callable[[SeenDigest, AdmissionPolicy, Occasion], Hold | None]


def require_age(digest: SeenDigest, policy: AdmissionPolicy, at: Occasion) -> Hold | None:
    """Hold a digest until it is old enough, unless it is the first copy and the rule lets that pass."""
    if at.never_copied and digest.replaced_at is None and policy.first_copy is FirstCopy.ADMIT:
        return None
    left = policy.min_age - digest.age(at.now)
    return Hold(until=at.now + left) if left > timedelta() else None


def require_approval(_digest: SeenDigest, policy: AdmissionPolicy, _at: Occasion) -> Hold | None:
    """Hold a digest until a person admits it."""
    return Hold(because=HeldReason.WAITING_APPROVAL) if policy.approve else None


GATES: Final[tuple[Gate, ...]] = (require_age, require_approval)
"""In the order in which they are asked: a person is asked last, about what all others let pass."""


def hold_of(digest: SeenDigest, seen: SeenDigests, policy: AdmissionPolicy, at: Occasion) -> Hold | None:
    """Return what the first gate that holds a digest says; None if it may be served."""
    decision = seen.decision_of(digest.digest)
    if decision is not None and not decision.admits:
        return Hold(because=HeldReason.REJECTED)
    if decision is not None or digest.admitted:
        return None
    return next((hold for gate in GATES if (hold := gate(digest, policy, at)) is not None), None)
