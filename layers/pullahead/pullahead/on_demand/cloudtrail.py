"""Pulls from ECR, as CloudTrail tells them to EventBridge → what was pulled, or why it does not matter. Total; pure.

A pull is a BatchGetImage (AWS CloudTrail User Guide, "CloudTrail record contents"; Amazon ECR User Guide, "Logging
Amazon ECR actions with AWS CloudTrail"). A repository that is not there shows as an error. A tag that is not there
does not show at all: it is a failure within a successful answer, and answers of reading calls are not logged.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from pullahead.oci.reference import is_tag
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.values import is_repository_name

MAX_EVENT_BYTES = 256 * 1024
"""Amazon EventBridge User Guide, "Quotas": no event is larger."""

_NO_REPOSITORY = "RepositoryNotFoundException"
_LINKED_ROLE = "AWSServiceRoleFor"  # IAM User Guide, "Using service-linked roles": what AWS's own services act as
_OF_ECR = ("pullthroughcache.", "replication.")


class Pull(NamedTuple):
    """What somebody pulled. `missing`: there is not even a repository; else none knows whether the tags were there."""

    repository: str
    tags: tuple[str, ...]
    missing: bool
    at: datetime
    by: str

    @property
    def keys(self) -> tuple[MirrorKey, ...]:
        """Identify the mirrors that these tags would be."""
        return tuple(MirrorKey(self.repository, tag) for tag in self.tags)


class IgnoredPull(NamedTuple):
    """An event that is none of our business, and why."""

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
        """The role that was assumed, or whoever else it was."""
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
    """Read one event, whatever it is. `own_roles` are the ARNs of roles whose pulls are nobody's wish."""
    if len(text) > MAX_EVENT_BYTES:
        return IgnoredPull("it is larger than any event")
    try:
        event = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        return IgnoredPull(f"it is no pull: {error}")
    return _reason_against(event, own_roles) or _pulled(event.detail)


def _reason_against(event: _Event, own_roles: Collection[str]) -> IgnoredPull | None:
    detail, identity = event.detail, event.detail.user_identity
    if (detail.event_source, detail.event_name) != ("ecr.amazonaws.com", "BatchGetImage"):
        return IgnoredPull("it is another call than BatchGetImage")
    if identity.role in own_roles:
        return IgnoredPull("it is our own")
    if _LINKED_ROLE in identity.role or (identity.invoked_by or "").startswith(_OF_ECR):
        return IgnoredPull("a service of AWS looked at it, as scanners and caches do")
    if detail.error_code not in (None, _NO_REPOSITORY):
        return IgnoredPull("the pull was refused")  # who may not pull may not let us fetch either
    if detail.request_parameters.registry_id not in (None, event.account):
        return IgnoredPull("it is another account's registry")
    if not is_repository_name(detail.request_parameters.repository_name):
        return IgnoredPull("ECR allows no such repository")
    return None


def _pulled(detail: _Detail) -> Pull | IgnoredPull:
    named = (image.tag for image in detail.request_parameters.image_ids)
    tags = tuple(dict.fromkeys(tag for tag in named if isinstance(tag, str) and is_tag(tag)))
    if not tags:
        # A mirror is a tag. Manifests below an index, too, are pulled by their digests.
        return IgnoredPull("it names no tag, and what is pulled by digest is not followed")
    return Pull(
        detail.request_parameters.repository_name,
        tags,
        detail.error_code == _NO_REPOSITORY,
        detail.event_time,
        detail.user_identity.role,
    )
