"""Quay: the tags that a push moved. It cannot sign, and sends no header of ours.

Red Hat Quay, "Use Red Hat Quay", "Repository Notifications", "Repository Push". Old versions write `updated_tags` as an
object of tags and image ids.
"""

import msgspec

from pullahead.webhooks.http import WebhookRequest
from pullahead.webhooks.payload import NamedTags, decode, tags_named, upstream_at


class _Payload(msgspec.Struct, frozen=True):
    docker_url: str = ""
    updated_tags: list[str] | dict[str, str] = []


def read(call: WebhookRequest) -> NamedTags:
    """Read a notification of any kind. Raises RefusedCallError."""
    payload = decode(call, _Payload)
    references = (upstream_at(payload.docker_url, tag) for tag in payload.updated_tags)
    return tags_named(references, "the notification moves no tag")
