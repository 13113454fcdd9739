"""Harbor: artifacts that were pushed or deleted, in its own format or as CloudEvents.

Harbor documentation, "Configure Webhook Notifications": "Auth Header" is sent as Authorization.
"""

from typing import Any, Final

import msgspec

from pullahead.oci.reference import is_tag
from pullahead.webhooks.http import WebhookRequest
from pullahead.webhooks.payload import WebhookTags, decode, decode_each, tags_named, upstream_at

_EVENTS: Final = ("PUSH_ARTIFACT", "DELETE_ARTIFACT", "harbor.artifact.pushed", "harbor.artifact.deleted")


class _Resource(msgspec.Struct, frozen=True):
    resource_url: str = ""
    tag: str = ""


class _Data(msgspec.Struct, frozen=True):
    resources: list[Any] = []


class _Payload(msgspec.Struct, frozen=True):
    type: str
    event_data: _Data = _Data()
    data: _Data = _Data()  # of CloudEvents


def read(request: WebhookRequest) -> WebhookTags:
    """Read a notification of any kind. Raises RefusedWebhookError."""
    payload = decode(request, _Payload)
    if payload.type not in _EVENTS:
        return WebhookTags(ignored="not a push or deletion of an artifact")
    resources = decode_each((*payload.event_data.resources, *payload.data.resources), _Resource)
    tagged = (resource for resource in resources if is_tag(resource.tag))
    references = (upstream_at(_repository(each), each.tag) for each in tagged)
    return tags_named(references, "the artifact has no tag")


def _repository(resource: _Resource) -> str:
    return resource.resource_url.removesuffix(f":{resource.tag}")
