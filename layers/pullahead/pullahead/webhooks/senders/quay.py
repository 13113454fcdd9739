"""Quay: the tags that a push moved. It can neither sign nor set a header.

Red Hat Quay, "Use Red Hat Quay", "Repository Notifications", "Repository Push". Old versions write `updated_tags` as an
object of tags and image ids.
"""

from typing import Any

import msgspec

from pullahead.oci.reference import is_tag
from pullahead.webhooks.http import WebhookRequest
from pullahead.webhooks.payload import WebhookTags, decode, tags_named, upstream_at


class _Payload(msgspec.Struct, frozen=True):
    docker_url: str = ""
    updated_tags: list[Any] | dict[str, Any] = []


def read(request: WebhookRequest) -> WebhookTags:
    """Read a notification of any kind. Raises RefusedWebhookError."""
    payload = decode(request, _Payload)
    tags = (tag for tag in payload.updated_tags if isinstance(tag, str) and is_tag(tag))
    references = (upstream_at(payload.docker_url, tag) for tag in tags)
    return tags_named(references, "the notification has no tag")
