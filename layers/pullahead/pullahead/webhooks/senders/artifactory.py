"""JFrog Artifactory: tags that were pushed, deleted or promoted, with the key of the repository that holds them.

JFrog documentation, "Webhooks", domain docker; "Use secret for payload signing" decides whether X-JFrog-Event-Auth
holds the secret or the HMAC-SHA256 of the body. A payload has neither a time nor a number, so a second push of the
same digest cannot be distinguished from a replay.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from pullahead.oci import Reference
from pullahead.webhooks.http import WebhookRequest
from pullahead.webhooks.payload import WebhookTags, decode, host_of, hosts, tags_named, upstream

AUTHORIZATION: Final = "x-jfrog-event-auth"
_MOVES: Final = ("pushed", "deleted", "promoted")
_CACHE: Final = "-cache"  # of a remote repository; it is pulled by the name without


class _Data(msgspec.Struct, frozen=True):
    repo_key: str = ""
    image_name: str = ""
    tag: str = ""


class _Payload(msgspec.Struct, frozen=True):
    domain: str
    event_type: str
    data: _Data = _Data()
    jpd_origin: str = ""


def read(request: WebhookRequest) -> WebhookTags:
    """Read an event of any domain. Raises RefusedWebhookError."""
    payload = decode(request, _Payload)
    if payload.domain != "docker" or payload.event_type not in _MOVES:
        return WebhookTags(ignored="not a push, deletion or promotion of a Docker tag")
    return tags_named(_references(payload), "the event has no tag")


def _references(payload: _Payload) -> Iterator[Reference]:
    """Make the references by which Docker finds the tag: with the key as a path, and as a subdomain."""
    data, origin = payload.data, host_of(payload.jpd_origin)
    for key in dict.fromkeys((data.repo_key, data.repo_key.removesuffix(_CACHE))):
        for host in hosts(origin):
            yield upstream(host, f"{key}/{data.image_name}", data.tag)
        for host in hosts(f"{key}.{origin}"):
            yield upstream(host, data.image_name, data.tag)
