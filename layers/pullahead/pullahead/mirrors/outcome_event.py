"""Outcome events on EventBridge: their kinds and their detail. Pure data. `outbox` decides when one is due.

Other programs depend on the detail: within a version fields are added, and never changed or removed
(docs/outcome-events.md).
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET

from pullahead.clock import Moment
from pullahead.oci import Digest


class OutcomeKind(StrEnum):
    """What happened to a mirror: the `detail-type` of the event."""

    REFRESHED = "Mirror Refreshed"
    STALE = "Mirror Stale"
    RECOVERED = "Mirror Recovered"
    GONE = "Mirror Gone"
    SCANNED = "Mirror Scanned"
    REFERRERS_COPIED = "Mirror Referrers Copied"
    PIN_MOVED = "Mirror Pin Moved"
    PRUNE_DUE = "Mirror Prune Due"
    PRUNED = "Mirror Pruned"
    HELD = "Mirror Held"
    ADMITTED = "Mirror Admitted"
    WITHDRAWN = "Mirror Withdrawn"


class OutcomeReason(StrEnum):
    """Why it happened, for event patterns to match."""

    FIRST_COPY = "first-copy"
    UPSTREAM_MOVED = "upstream-moved"
    PLATFORMS_CHANGED = "platforms-changed"  # the rule chooses others
    RESTORED = "restored"  # the tag had been deleted or overwritten in ECR
    FOUND_PUBLISHED = "found-published"  # by others, or by a refresh that could not record its outcome
    DELETED = "deleted"  # from ECR
    OVERWRITTEN = "overwritten"  # in ECR
    GONE_UPSTREAM = "gone-upstream"
    NEVER_FOUND = "never-found"  # upstream has no such tag, and ECR has no copy
    FRESH_AGAIN = "fresh-again"
    SCAN_COMPLETE = "scan-complete"
    LATE_REFERRERS = "late-referrers"  # they came after the image
    UNCHOSEN = "unchosen"  # the rule no longer chooses the tag
    REFERRERS_FAILED = "referrers-failed"  # some of them could not be copied
    COOLDOWN = "cooldown"  # a digest is younger than the rule's min_age
    WAITING_APPROVAL = "waiting-approval"  # a person must admit the digest
    REJECTED = "rejected"  # by a person
    WAITING_SIGNATURE = "waiting-signature"  # the digest is not signed yet, and the rule's grace is not over
    UNSIGNED = "unsigned"  # nobody has signed the digest as the rule demands
    UNTRUSTED = "untrusted"  # what signs the digest proves nothing of what the rule demands
    UNVERIFIED = "unverified"  # upstream could not be asked for the digest's signatures yet
    WAITING_SCAN = "waiting-scan"  # the digest has no result of a scan yet, and the rule's wait is not over
    VULNERABLE = "vulnerable"  # a scan found what the rule blocks
    SCAN_PENDING = "scan-pending"  # the digest has no result of a scan in time
    OLD_ENOUGH = "old-enough"  # its cooldown is over
    APPROVED = "approved"  # by a person
    SCANNED = "scanned"  # clean, after it had waited for that
    SIGNED = "signed"  # as the rule demands, and old enough if it demands that, too
    TAKEN_BACK = "taken-back"  # upstream does not serve the digest any more, and the tag never did


def _about(description: str, *, at_least: int | None = None) -> msgspec.Meta:
    return msgspec.Meta(description=description, ge=at_least)


Unset = msgspec.UnsetType


class OutcomeDetail(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True, forbid_unknown_fields=True):
    """The `detail` of an event. What is unknown, or does not apply to this kind of event, is left out."""

    version: Annotated[Literal["1"], _about("Of this form. Fields may be added to it.")]
    id: Annotated[str, _about("The same for the same event, however often it is sent.")]
    mirror: Annotated[str, _about("REPOSITORY:TAG in this account and Region.")]
    repository: Annotated[str, _about("The ECR repository.")]
    tag: Annotated[str, _about("The tag in ECR.")]
    upstream: Annotated[str, _about("What is followed, as REGISTRY/REPOSITORY:TAG; where it is pinned, with @DIGEST.")]
    reason: Annotated[OutcomeReason, _about("Why it happened.")]
    rule: Annotated[str, _about("The name of the rule that the mirror comes from.")] | Unset = UNSET
    digest: Annotated[Digest, _about("What ECR serves under the tag now.")] | Unset = UNSET
    previous_digest: Annotated[Digest, _about("What ECR served before, if that was something else.")] | Unset = UNSET
    upstream_digest: (
        Annotated[Digest, _about("What upstream was last seen to serve; where the rules pin a digest, that.")] | Unset
    ) = UNSET
    platforms: Annotated[tuple[str, ...], _about("The platforms that the rule chooses.")] | Unset = UNSET
    since: Annotated[datetime, _about("Since when the mirror was, or is, not fresh; or is gone upstream.")] | Unset = (
        UNSET
    )
    lag_seconds: Annotated[float, _about("From `since` until published, or fresh again.", at_least=0)] | Unset = UNSET
    duration_seconds: Annotated[float, _about("How long the refresh ran.", at_least=0)] | Unset = UNSET
    bytes_copied: Annotated[int, _about("What the refresh sent to ECR.", at_least=0)] | Unset = UNSET
    execution: Annotated[str, _about("The ARN of the refresh's execution.")] | Unset = UNSET
    scan_findings: (
        Annotated[dict[str, int], _about("How many findings ECR's scan of `digest` has, by severity.")] | Unset
    ) = UNSET
    referrers: (
        Annotated[int, _about("How many signatures, SBOMs and other referrers of the image ECR has.", at_least=0)]
        | Unset
    ) = UNSET
    referrers_failed: (
        Annotated[int, _about("How many referrers could not be copied, or looked for; they are retried.", at_least=0)]
        | Unset
    ) = UNSET
    referrers_not_applicable: (
        Annotated[
            int,
            _about(
                "How many referrers belong to upstream's index, which ECR does not have for its platforms.", at_least=0
            ),
        ]
        | Unset
    ) = UNSET
    moved_to: (
        Annotated[Digest, _about("What upstream serves in place of the pinned digest, if it still has the tag.")]
        | Unset
    ) = UNSET
    held_digest: (
        Annotated[Digest, _about("The digest of upstream that is held, is admitted after that, or was taken back.")]
        | Unset
    ) = UNSET
    first_seen: Annotated[datetime, _about("When that digest was first seen under the tag.")] | Unset = UNSET
    decided_by: Annotated[str, _about("Who admitted or rejected that digest: the ARN.")] | Unset = UNSET
    decision: Annotated[str, _about("Why, as that person wrote it.")] | Unset = UNSET
    until: Annotated[datetime, _about("When the tag may serve it, if upstream leaves it.")] | Unset = UNSET
    held_detail: Annotated[str, _about("What was found in it, or is missing, such as names of CVEs.")] | Unset = UNSET
    reported: Annotated[bool, _about("The rule only reports: the tag is not held.")] | Unset = UNSET
    events_given_up: (
        Annotated[int, _about("Earlier events of this mirror that were given up: the bus took none for long.")] | Unset
    ) = UNSET


class OutcomeEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as it is stored until it is known to be sent."""

    kind: OutcomeKind
    at: Moment
    detail: OutcomeDetail
    held: bool = False  # back for a while: a refresh that is just ending may have more to say


class Scan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ECR's scan of a digest found: the number of findings by severity."""

    digest: Digest
    counts: dict[str, int]
    at: Moment
