"""Decode CloudTrail's events about pulls from ECR. Any event is decoded, to a pull or to the reason to ignore it.

A pull is a BatchGetImage (AWS CloudTrail User Guide, "CloudTrail record contents"; Amazon ECR User Guide, "Logging
Amazon ECR actions with AWS CloudTrail"). A missing repository shows as an error. A missing tag does not show: it is a
failure within a successful response, and CloudTrail does not log the responses of read calls.
"""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from pullahead.oci import Digest, parse_digest
from pullahead.oci.reference import is_tag
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.published_tags import digest_tag
from pullahead.rules.repository_names import is_repository_name

MAX_EVENT_BYTES = 256 * 1024
"""Amazon EventBridge User Guide, "Quotas": no event is larger."""

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_NO_REPOSITORY = "RepositoryNotFoundException"
_LINKED_ROLE = "AWSServiceRoleFor"  # IAM User Guide, "Using service-linked roles": what AWS's own services act as
_OF_ECR = ("pullthroughcache.", "replication.")


class Pull(NamedTuple):
    """A pull. `missing`: the repository does not exist; otherwise it is not known whether tags and digests do."""

    repository: str
    tags: tuple[str, ...]
    missing: bool
    at: datetime
    by: str
    digests: tuple[Digest, ...] = ()

    @property
    def targets(self) -> Mapping[str, Digest | None]:
        """The tags of the mirrors that these would be; with the digest where that was pulled."""
        tags: dict[str, Digest | None] = dict.fromkeys(self.tags)
        return tags | {digest_tag(digest).target: digest for digest in self.digests}

    @property
    def keys(self) -> tuple[MirrorKey, ...]:
        """The keys of the mirrors that these would be."""
        return tuple(MirrorKey(self.repository, tag) for tag in self.targets)


class IgnoredPull(NamedTuple):
    """An event that is ignored, and why."""

    reason: str


class _Lenient(msgspec.Struct, frozen=True):
    pass


class _ImageId(_Lenient, frozen=True):
    tag: Any = msgspec.field(default=None, name="imageTag")
    digest: Any = msgspec.field(default=None, name="imageDigest")


class _Parameters(_Lenient, frozen=True, rename="camel"):
    repository_name: str
    # ECR API reference, BatchGetImage: up to 100 images a call.
    image_ids: Annotated[tuple[_ImageId, ...], msgspec.Meta(max_length=100)]
    registry_id: str | None = None


class _Issuer(_Lenient, frozen=True):
    arn: str | None = None


class _Session(_Lenient, frozen=True, rename="camel"):
    session_issuer: _Issuer | None = None


class _Identity(_Lenient, frozen=True, rename="camel"):
    arn: str | None = None
    invoked_by: str | None = None
    session_context: _Session | None = None

    @property
    def role(self) -> str:
        """The role that was assumed, or else the identity that called."""
        session = self.session_context
        issuer = session.session_issuer if session is not None else None
        return (issuer.arn if issuer is not None else None) or self.arn or self.invoked_by or "somebody"


class _Detail(_Lenient, frozen=True, rename="camel"):
    event_source: str
    event_name: str
    event_time: Annotated[datetime, msgspec.Meta(tz=True)]
    user_identity: _Identity
    request_parameters: _Parameters
    error_code: str | None = None


class _Event(_Lenient, frozen=True):
    account: str
    detail: _Detail


_DECODER = msgspec.json.Decoder(_Event)


def read_pull(text: str | bytes, own_roles: Collection[str] = ()) -> Pull | IgnoredPull:
    """Decode one event. `own_roles`: ARNs of the roles whose pulls are Pullahead's own."""
    if len(text) > MAX_EVENT_BYTES:
        return IgnoredPull("larger than any event")
    try:
        event = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return IgnoredPull(f"not a pull: {error}")
    return _reason_against(event, own_roles) or _pulled(event.detail)


def _reason_against(event: _Event, own_roles: Collection[str]) -> IgnoredPull | None:
    detail, identity = event.detail, event.detail.user_identity
    if (detail.event_source, detail.event_name) != ("ecr.amazonaws.com", "BatchGetImage"):
        return IgnoredPull("not BatchGetImage")
    if identity.role in own_roles:
        return IgnoredPull("Pullahead's own pull")
    if _LINKED_ROLE in identity.role or (identity.invoked_by or "").startswith(_OF_ECR):
        return IgnoredPull("a pull by an AWS service, such as a scanner or the pull through cache")
    if detail.error_code not in (None, _NO_REPOSITORY):
        return IgnoredPull("the pull was refused")  # a client that may not pull must not cause a copy
    if detail.request_parameters.registry_id not in (None, event.account):
        return IgnoredPull("another account's registry")
    if not is_repository_name(detail.request_parameters.repository_name):
        return IgnoredPull("not a valid repository name")
    return None


def _pulled(detail: _Detail) -> Pull | IgnoredPull:
    images = detail.request_parameters.image_ids
    tags = tuple(dict.fromkeys(each.tag for each in images if isinstance(each.tag, str) and is_tag(each.tag)))
    alone = (each.digest for each in images if each.tag is None and isinstance(each.digest, str))
    digests = tuple(dict.fromkeys(parse_digest(each) for each in alone if _SHA256.fullmatch(each)))
    if not tags and not digests:
        return IgnoredPull("it names no tag and no digest")
    return Pull(
        detail.request_parameters.repository_name,
        tags,
        detail.error_code == _NO_REPOSITORY,
        detail.event_time,
        detail.user_identity.role,
        digests,
    )
