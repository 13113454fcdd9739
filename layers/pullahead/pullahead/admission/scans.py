"""What AWS's scans say of a digest: the scans of all images below it, judged by a rule. Pure, but for its port.

Missing data is never a pass. A scan counts that is complete, of the very digest that was asked for, and not older than
the image; all of its findings must have been read. Whatever else there is, is no result, and says why.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from msgspec import structs

from pullahead.admission.seen_digests import SeenDigest
from pullahead.messages import ScanEvidence, ScanVerdict
from pullahead.oci import Digest
from pullahead.rules.admission_policy import UNRATED, AdmissionPolicy, ScanPolicy, Severity
from pullahead.text import one_line

MAX_IMAGES: Final = 32
"""Images below one digest whose scans are read: upstream's largest indexes have some twenty platforms."""

MAX_FINDINGS: Final = 5000
"""Of one image that are read: five pages. More are no result, unless one of them blocks."""

_MAX_TEXT, _MAX_NAMED, _MAX_NAME = 400, 10, 64
_FIRST_LOOK, _LAST_LOOK = timedelta(minutes=5), timedelta(days=1)
_DONE: Final = frozenset({"COMPLETE", "ACTIVE"})
"""ACTIVE: Amazon Inspector has scanned the image, and goes on watching it (ECR user guide, "Enhanced scanning")."""
_BY_NAME: Final[Mapping[str, Severity]] = {each.value: each for each in Severity}


class ScanFinding(NamedTuple):
    """One finding. `fixable` is None where the scan does not say whether there is a fix: as none of ECR's does."""

    name: str
    severity: str
    fixable: bool | None = None


class ImageScan(NamedTuple):
    """What ECR answers about the scan of one image. `counts` are the findings of each severity, as ECR counts them.

    `trouble`: why there is no answer that can be used; then nothing else counts. `is_missing`: ECR has no such image.
    """

    digest: Digest
    status: str = ""
    completed_at: datetime | None = None
    pushed_at: datetime | None = None
    findings: tuple[ScanFinding, ...] = ()
    counts: Mapping[str, int] = {}
    is_truncated: bool = False
    trouble: str = ""
    is_missing: bool = False


class ImageScans(Protocol):
    """Reads the scans of images, and starts those that there are none of."""

    def read(self, repository: str, images: Sequence[Digest]) -> Sequence[ImageScan]:
        """Read the scan of each image, in their order; start a scan where an image has none. What may not be read or
        started is a trouble of its image. Raises: RateLimitedError, RegistryTimeoutError, RegistryUnavailableError.
        """
        ...


class NoScans:
    """Implements ImageScans where no scans can be read: nothing passes."""

    def read(self, _repository: str, images: Sequence[Digest]) -> Sequence[ImageScan]:
        """Say of each image that its scan is not read."""
        return [ImageScan(image, trouble="its scan is not read here") for image in images]


def wants_scan(digest: SeenDigest, policy: AdmissionPolicy) -> bool:
    """Tell whether a digest must be copied before its scans can be read: it never was, by an older version, or ECR has
    expired it."""
    return policy.scan is not None and not digest.admitted and (digest.scan is None or digest.scan.missing)


def is_look_due(digest: SeenDigest, policy: AdmissionPolicy, now: datetime) -> bool:
    """Tell whether the scans of a digest are to be read now: after another rule, an event, or a time that doubles."""
    known = digest.scan
    if policy.scan is None or known is None or digest.admitted:
        return False
    if known.policy != policy.scan.fingerprint:
        return True
    if known.verdict is ScanVerdict.CLEAN:
        return False
    return now - known.at >= min(max(known.at - known.since, _FIRST_LOOK), _LAST_LOOK)


def read_scans(
    repository: str, known: ScanEvidence, policy: ScanPolicy, scans: ImageScans, now: datetime
) -> ScanEvidence:
    """Read the scans of a digest's images, and judge them. Raises what the port raises.

    A digest that was found vulnerable by the same rule stays so while a newer scan has no result.
    """
    if not known.images:
        return _judged(known, policy, now, ScanVerdict.NONE, "it has no image that is scanned")
    if len(known.images) > MAX_IMAGES:
        text = f"it has {MAX_IMAGES + 1} images or more, and the scans of {MAX_IMAGES} at most are read"
        return _judged(known, policy, now, ScanVerdict.NONE, text)
    read = scans.read(repository, known.images)
    found = judge_scans(known.images, read, policy)
    is_same_rule = known.policy == policy.fingerprint
    if found.verdict is ScanVerdict.NONE and is_same_rule and known.verdict is ScanVerdict.VULNERABLE:
        return structs.replace(known, at=now)
    is_missing = found.verdict is ScanVerdict.NONE and any(scan.is_missing for scan in read)
    return structs.replace(_judged(known, policy, now, *found), missing=is_missing)


def _judged(known: ScanEvidence, policy: ScanPolicy, now: datetime, verdict: ScanVerdict, text: str) -> ScanEvidence:
    line = one_line(text, _MAX_TEXT)
    images = known.images[: MAX_IMAGES + 1]  # one more tells the next look that there are too many
    return ScanEvidence(images, known.since, now, policy.fingerprint, verdict, line)


class Judgement(NamedTuple):
    """What scans say, and in words."""

    verdict: ScanVerdict
    text: str


def judge_scans(images: Sequence[Digest], scans: Sequence[ImageScan], policy: ScanPolicy) -> Judgement:
    """Judge the scans of all images of a digest: one that is vulnerable is enough, and all must be clean."""
    by_digest = {scan.digest: scan for scan in scans}
    blocking = dict[str, str]()
    troubles = dict[str, Digest]()
    read = 0
    for image in images:
        scan = by_digest.get(image) or ImageScan(image, trouble="ECR answers about another digest")
        trouble = _trouble_of(scan)
        if not trouble:
            found = [each for each in scan.findings if is_blocking(each, policy)]
            blocking |= {one_line(each.name, _MAX_NAME): one_line(each.severity, _MAX_NAME) for each in found}
            read += len(scan.findings)
            trouble = _unread(scan, policy)
        if trouble:
            troubles.setdefault(trouble, image)
    if blocking:
        names = [f"{name} ({severity})" for name, severity in sorted(blocking.items())]
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        return Judgement(ScanVerdict.VULNERABLE, f"{', '.join(names[:_MAX_NAMED])}{more}")
    if troubles:
        trouble, image = next(iter(troubles.items()))
        return Judgement(ScanVerdict.NONE, f"{trouble} (image {image})")
    return Judgement(ScanVerdict.CLEAN, f"{len(images)} images scanned, {read} findings, none that the rule blocks")


def is_blocking(finding: ScanFinding, policy: ScanPolicy) -> bool:
    """Tell whether a finding holds a digest. A severity that AWS does not document does, whatever the rule blocks."""
    if finding.name in policy.exempt or (policy.fixable_only and finding.fixable is False):
        return False
    severity = _BY_NAME.get(finding.severity)
    return severity is None or severity in _blocked(policy)


def _blocked(policy: ScanPolicy) -> frozenset[Severity]:
    block = frozenset(policy.block)
    return block | UNRATED if block & UNRATED else block


def _trouble_of(scan: ImageScan) -> str:
    """Say why a scan is no result; "" if it is one."""
    if scan.trouble:
        return scan.trouble
    if scan.status not in _DONE:
        return f"its scan is {scan.status or 'of no known status'}"
    if scan.completed_at is None:
        return "ECR does not say when its scan was complete"
    if scan.pushed_at is None:
        return "ECR does not say when it was pushed"
    if scan.completed_at < scan.pushed_at:
        return f"its scan of {scan.completed_at:%Y-%m-%d %H:%M:%S} is older than its push"
    return ""


def _unread(scan: ImageScan, policy: ScanPolicy) -> str:
    """Say which findings that might block were not read; "" if all were."""
    if scan.is_truncated:
        return f"its scan has more than {MAX_FINDINGS:,} findings, of which the first were read"
    for severity, count in sorted(scan.counts.items()):
        known = _BY_NAME.get(severity)
        if known is not None and known not in _blocked(policy):
            continue
        got = sum(1 for each in scan.findings if each.severity == severity)
        if got < count:
            return f"its scan counts {count} findings that are {severity}, and lists {got}"
    return ""
