"""Docker Hub: one repository and tag for each push. It can neither sign nor set a header.

Docker documentation, "Webhooks" (docs.docker.com/docker-hub/repos/manage/webhooks), "Example webhook payload".
"""

import msgspec

from pullahead.oci.reference import DOCKER_HUB
from pullahead.webhooks.http import WebhookRequest
from pullahead.webhooks.payload import WebhookTags, decode, upstream


class _PushData(msgspec.Struct, frozen=True):
    tag: str


class _Repository(msgspec.Struct, frozen=True):
    repo_name: str


class _Payload(msgspec.Struct, frozen=True):
    push_data: _PushData
    repository: _Repository


def read(request: WebhookRequest) -> WebhookTags:
    """Read a push. Raises RefusedWebhookError."""
    payload = decode(request, _Payload)
    return WebhookTags((upstream(DOCKER_HUB, payload.repository.repo_name, payload.push_data.tag),))
