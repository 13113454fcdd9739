"""What each gate says of one digest: it may be served, waits for a moment, or waits for something else. Pure.

A gate decides by what is remembered of this digest under this tag, the rule, and the time. It answers None where it has
nothing against the digest, so that a digest is admitted when every gate is silent. A person's decision outweighs all.

What somebody must do about a digest is said at once, however long it would have to wait for something else; a person is
asked to admit one when it waits for nothing else.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from pullahead.admission.seen_digests import SeenDigest, SeenDigests
from pullahead.admission.signature_evidence import evidence_for
from pullahead.admission.signatures.verdict import Outcome
from pullahead.messages import ScanVerdict
from pullahead.rules.admission_policy import AdmissionPolicy, FirstCopy


class HeldReason(StrEnum):
    """Why a digest may not be served, where no moment ends it."""

    WAITING_APPROVAL = "WAITING_APPROVAL"
    REJECTED = "REJECTED"
    UNSIGNED = "UNSIGNED"  # nothing that signs it, or attests of it, is there
    UNTRUSTED = "UNTRUSTED"  # what is there proves nothing of what the rule demands
    UNVERIFIED = "UNVERIFIED"  # upstream could not be asked for its signatures yet
    VULNERABLE = "VULNERABLE"  # a scan has found what the rule blocks
    SCAN_PENDING = "SCAN_PENDING"  # there is no result of a scan, though it was waited for


class GateName(StrEnum):
    """Which gate holds a digest until a moment."""

    AGE = "age"
    SIGNATURE = "signature"
    SCAN = "scan"


OF_SIGNATURE: Final = frozenset({HeldReason.UNSIGNED, HeldReason.UNTRUSTED, HeldReason.UNVERIFIED})
"""What a signature that comes may end."""
FOUND_BAD: Final = frozenset(
    {HeldReason.UNSIGNED, HeldReason.UNTRUSTED, HeldReason.VULNERABLE, HeldReason.SCAN_PENDING}
)
"""What somebody must do something about, whatever else a digest waits for."""


class Hold(NamedTuple):
    """Why a digest may not be served yet: until a moment, or because of something else. `why` is the evidence."""

    until: datetime | None = None
    because: HeldReason | None = None
    gate: GateName = GateName.AGE
    why: str = ""


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


def require_signature(digest: SeenDigest, policy: AdmissionPolicy, at: Occasion) -> Hold | None:
    """Hold a digest until it is proven who signed it. One that nobody has signed yet waits for the rule's grace first.

    What was proven by another policy, or of another digest, is not there.
    """
    if policy.verify is None:
        return None
    known = evidence_for(policy.verify, digest.signature)
    if known is not None and known.admits:
        return None
    why = known.why if known is not None else ""
    if known is not None and known.outcome is Outcome.UNTRUSTED:
        return Hold(because=HeldReason.UNTRUSTED, why=why)
    left = policy.grace - digest.age(at.now)
    if left > timedelta():
        return Hold(until=at.now + left, gate=GateName.SIGNATURE, why=why)
    is_unsigned = known is not None and known.outcome is Outcome.UNSIGNED
    return Hold(because=HeldReason.UNSIGNED if is_unsigned else HeldReason.UNVERIFIED, why=why)


def require_scan(digest: SeenDigest, policy: AdmissionPolicy, at: Occasion) -> Hold | None:
    """Hold a digest that its scans found vulnerable, or of which they say nothing; there is a time to wait for that."""
    if policy.scan is None:
        return None
    known = digest.scan
    is_asked = known is not None and known.policy == policy.scan.fingerprint
    if known is not None and is_asked and known.verdict is ScanVerdict.CLEAN:
        return None
    if known is not None and is_asked and known.verdict is ScanVerdict.VULNERABLE:
        return Hold(because=HeldReason.VULNERABLE, why=known.text)
    until = (known.since if known is not None else digest.first_at) + policy.scan.wait
    why = known.text if known is not None and is_asked else "its scan was not read yet"
    if known is None:
        why = "it is not in ECR yet, where it is scanned"
    if at.now < until:
        return Hold(until=until, gate=GateName.SCAN, why=why)
    return Hold(because=HeldReason.SCAN_PENDING, why=why)


def require_approval(_digest: SeenDigest, policy: AdmissionPolicy, _at: Occasion) -> Hold | None:
    """Hold a digest until a person admits it."""
    return Hold(because=HeldReason.WAITING_APPROVAL) if policy.approve else None


GATES: Final[tuple[Gate, ...]] = (
    require_age,
    require_signature,
    require_scan,
    require_approval,
)
"""In the order in which they are asked: a person is asked last, about what all others let pass."""


def hold_of(digest: SeenDigest, seen: SeenDigests, policy: AdmissionPolicy, at: Occasion) -> Hold | None:
    """Return why a digest may not be served; None if it may be.

    Of several gates the one counts that found it bad, else the one whose moment comes last, else the first.
    """
    decision = seen.decision_of(digest.digest)
    if decision is not None and not decision.admits:
        return Hold(because=HeldReason.REJECTED)
    if decision is not None or digest.admitted:
        return None
    holds = [hold for gate in GATES if (hold := gate(digest, policy, at)) is not None]
    if len(holds) < 2:
        return holds[0] if holds else None
    bad = next((hold for hold in holds if hold.because in FOUND_BAD), None)
    if bad is not None:
        return bad
    waits = [(hold.until, hold) for hold in holds if hold.until is not None]
    return max(waits, key=lambda pair: pair[0])[1] if waits else holds[0]
