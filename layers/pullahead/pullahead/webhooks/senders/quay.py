"""Quay: the tags that a push moved. It can neither sign nor set a header.

Red Hat Quay, "Use Red Hat Quay", "Repository Notifications", "Repository Push". Old versions write `updated_tags` as an
object of tags and image ids.
"""

import msgspec

from pullahead.webhooks.http import WebhookRequest
from pullahead.webhooks.payload import NamedTags, decode, tags_named, upstream_at


class _Payload(msgspec.Struct, frozen=True):
    docker_url: str = ""
    updated_tags: list[str] | dict[str, str] = []


def read(request: WebhookRequest) -> NamedTags:
    """Read a notification of any kind. Raises RefusedWebhookError."""
    payload = decode(request, _Payload)
    references = (upstream_at(payload.docker_url, tag) for tag in payload.updated_tags)
    return tags_named(references, "the notification has no tag")
