"""Decode ECR's events: the check or the finished scan that each means, or why it is ignored. Pure.

An event is only a reason to check: it names a repository and a tag, and nothing else of it is trusted. Shapes: Amazon
ECR user guide, "Amazon ECR events and EventBridge".
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec

from pullahead.errors import InvalidEventError
from pullahead.messages import AwsEvent, CacheFailure, CheckRequest, ScanFinished
from pullahead.oci import Digest, InvalidDigestError, parse_digest
from pullahead.oci.reference import is_tag
from pullahead.rules.repository_names import is_repository_name

_MAX_CODE: Final = 80
_MAX_REASON: Final = 300
_MAX_TAGS: Final = 100
_SEVERITY: Final = re.compile(r"[A-Z]{1,20}")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_QUERY: Final = re.compile(r"\?\S+")  # of a URL: it may be a credential

_Text = Annotated[str, msgspec.Meta(max_length=10_000)]
_D = TypeVar("_D", bound=msgspec.Struct)


class IgnoredReason(StrEnum):
    """Why an event is ignored; also the dimension of a metric, so there are few."""

    FOREIGN = "foreign"  # of another account or Region
    UNKNOWN = "unknown"  # of a kind that Pullahead does not use
    FAILED = "failed"  # what it reports did not happen
    UNTAGGED = "untagged"  # children of an index, signatures and the like, which are not mirrored by themselves
    MISNAMED = "misnamed"  # with names that ECR does not allow


class IgnoredEvent(NamedTuple):
    """An event that is dropped, and why."""

    why: IgnoredReason
    kind: str


class AccountRegion(NamedTuple):
    """The account and the Region of the stack."""

    account: str
    region: str


class _Detail(msgspec.Struct, frozen=True, rename="kebab"):
    repository_name: _Text = ""
    image_digest: _Text = ""


class _Action(_Detail, frozen=True, rename="kebab"):
    action_type: _Text = ""
    result: _Text = ""
    image_tag: _Text = ""


class _Replicated(_Action, frozen=True, rename="kebab"):
    source_account: _Text = ""
    source_region: _Text = ""


class _Cached(_Detail, frozen=True, rename="kebab"):
    sync_status: _Text = ""
    image_tag: _Text = ""
    failure_code: _Text = ""
    failure_reason: _Text = ""


class _ScannedImage(msgspec.Struct, frozen=True, rename="camel"):
    repository_name: _Text = ""
    image_hash: _Text = ""


class _ResourceDetails(msgspec.Struct, frozen=True, rename="camel"):
    aws_ecr_container_image: _ScannedImage = _ScannedImage()


class _Resource(msgspec.Struct, frozen=True):
    details: _ResourceDetails = _ResourceDetails()


class _Finding(msgspec.Struct, frozen=True):
    status: _Text = ""
    resources: tuple[_Resource, ...] = ()


class _Scan(_Detail, frozen=True, rename="kebab"):
    scan_status: _Text = ""
    image_tags: tuple[_Text, ...] = ()
    finding_severity_counts: dict[_Text, int] = {}


EcrMessage = CheckRequest | ScanFinished | IgnoredEvent


def read_ecr_event(event: AwsEvent, home: AccountRegion) -> EcrMessage:
    """Decode an event. Raises InvalidEventError where its shape is not as documented."""
    if (event.account, event.region) != home:
        return IgnoredEvent(IgnoredReason.FOREIGN, _shown(event.detail_type))
    if (event.source, event.detail_type) == ("aws.ecr", "ECR Replication Action"):
        return _replication_action(event, home)
    readers = _READERS.get(event.source, {})
    read = readers.get(event.detail_type)
    return read(event) if read is not None else IgnoredEvent(IgnoredReason.UNKNOWN, _shown(event.detail_type))


def _image_action(event: AwsEvent) -> EcrMessage:
    detail = _read(event, _Action)
    if detail.action_type not in ("PUSH", "DELETE"):
        return IgnoredEvent(IgnoredReason.UNKNOWN, _shown(f"{event.detail_type} {detail.action_type}"))
    if detail.result != "SUCCESS":
        return IgnoredEvent(IgnoredReason.FAILED, event.detail_type)
    reason: Any = detail.action_type.lower()
    return _check(event, detail, detail.image_tag, reason=reason)


def _replication_action(event: AwsEvent, home: AccountRegion) -> EcrMessage:
    """Read a tag that ECR has replicated here, which is a push; its event names the registry of the destination."""
    detail = _read(event, _Replicated)
    if detail.action_type != "REPLICATE":
        return IgnoredEvent(IgnoredReason.UNKNOWN, _shown(f"{event.detail_type} {detail.action_type}"))
    if detail.result != "SUCCESS":
        return IgnoredEvent(IgnoredReason.FAILED, event.detail_type)
    source = AccountRegion(detail.source_account, detail.source_region)
    if source == home:
        return IgnoredEvent(IgnoredReason.FOREIGN, event.detail_type)
    if not _ACCOUNT.fullmatch(source.account) or not _REGION.fullmatch(source.region):
        return IgnoredEvent(IgnoredReason.MISNAMED, event.detail_type)
    return _check(
        event, detail, detail.image_tag, reason="push", replicated_from=f"{source.account} in {source.region}"
    )


def _referrer_action(event: AwsEvent) -> EcrMessage:
    """Treat a referrer with a tag, such as cosign's, as any push; those without are found by the refresh."""
    detail = _read(event, _Action)
    return (
        _image_action(event) if detail.action_type == "PUSH" else IgnoredEvent(IgnoredReason.UNKNOWN, event.detail_type)
    )


def _cache_action(event: AwsEvent) -> EcrMessage:
    detail = _read(event, _Cached)
    if detail.sync_status == "SUCCESS":
        return _check(event, detail, detail.image_tag, reason="cache")
    failure = CacheFailure(_plain(detail.failure_code or detail.sync_status, _MAX_CODE) or "unknown")
    failure = msgspec.structs.replace(failure, reason=_plain(detail.failure_reason, _MAX_REASON))
    # A digest may be there: of what ECR asked for, not of what it serves.
    without_digest = msgspec.structs.replace(detail, image_digest="")
    return _check(event, without_digest, detail.image_tag, reason="cache", cache_failure=failure)


def _image_scan(event: AwsEvent) -> EcrMessage:
    detail = _read(event, _Scan)
    if detail.scan_status != "COMPLETE":
        return IgnoredEvent(IgnoredReason.FAILED, event.detail_type)
    digest = _digest(detail.image_digest)
    if digest is None or not is_repository_name(detail.repository_name):
        return IgnoredEvent(IgnoredReason.MISNAMED, event.detail_type)
    tags = tuple(tag for tag in detail.image_tags if is_tag(tag))[:_MAX_TAGS]
    counts = {name: n for name, n in detail.finding_severity_counts.items() if _SEVERITY.fullmatch(name) and n >= 0}
    return ScanFinished(detail.repository_name, digest, tags, counts, event.time)


def _inspector_scan(event: AwsEvent) -> EcrMessage:
    """Read the end of Amazon Inspector's first scan of an image. The tags are left out: its counts are not recorded."""
    detail = _read(event, _Scan)
    name = detail.repository_name.rpartition(":repository/")[2]  # the name is an ARN
    return _scanned(event, name, detail.image_digest)


def _inspector_finding(event: AwsEvent) -> EcrMessage:
    """Read a finding of Amazon Inspector that is over: another one changes nothing before the publish, which asks."""
    detail = _read(event, _Finding)
    if detail.status != "CLOSED" or not detail.resources:
        return IgnoredEvent(IgnoredReason.UNKNOWN, _shown(f"{event.detail_type} {detail.status}"))
    image = detail.resources[0].details.aws_ecr_container_image
    return _scanned(event, image.repository_name, image.image_hash)


def _scanned(event: AwsEvent, repository: str, image: str) -> EcrMessage:
    digest = _digest(image)
    if digest is None or not is_repository_name(repository):
        return IgnoredEvent(IgnoredReason.MISNAMED, event.detail_type)
    return ScanFinished(repository, digest, (), {}, event.time)


_READERS: Final = {
    "aws.ecr": {
        "ECR Image Action": _image_action,
        "ECR Referrer Action": _referrer_action,
        "ECR Pull Through Cache Action": _cache_action,
        "ECR Image Scan": _image_scan,
    },
    "aws.inspector2": {
        "Inspector2 Scan": _inspector_scan,
        "Inspector2 Finding": _inspector_finding,
    },
}


def _check(event: AwsEvent, detail: _Detail, tag: str, **more: Any) -> CheckRequest | IgnoredEvent:
    if not tag:
        return IgnoredEvent(IgnoredReason.UNTAGGED, event.detail_type)
    digest = _digest(detail.image_digest)
    if not is_repository_name(detail.repository_name) or not is_tag(tag) or (detail.image_digest and digest is None):
        return IgnoredEvent(IgnoredReason.MISNAMED, event.detail_type)
    return CheckRequest(repository=detail.repository_name, tags=(tag,), asked_at=event.time, digest=digest, **more)


def _read(event: AwsEvent, kind: type[_D]) -> _D:
    try:
        return msgspec.convert(event.detail, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidEventError(f"{event.detail_type}: {error}") from error


def _digest(text: str) -> Digest | None:
    try:
        return parse_digest(text)
    except InvalidDigestError:
        return None


def _plain(text: str, most: int) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * most])
    return _QUERY.sub("?…", " ".join(plain.split()))[:most]


def _shown(kind: str) -> str:
    return _plain(kind, _MAX_CODE)
