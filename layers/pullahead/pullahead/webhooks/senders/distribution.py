"""CNCF Distribution and registries based on it: GitLab's, and Azure's, which sends its events one by one.

distribution documentation, "Work with notifications"; GitLab Docs, "GitLab container registry administration",
"Configure container registry notifications"; Microsoft Learn, "Azure Container Registry webhook reference".

Distribution repeats a refused request for ever and sends nothing else meanwhile; so a tag without a rule is no error,
nor is an event that is not understood.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from pullahead.oci import Reference
from pullahead.webhooks.http import RefusedWebhookError, WebhookRequest
from pullahead.webhooks.payload import WebhookTags, decode, decode_each, host_of, hosts, tags_named, upstream

_MOVES: Final = ("push", "delete")
_NOTHING: Final = "no event moves a tag"


class _Target(msgspec.Struct, frozen=True):
    repository: str = ""
    tag: str = ""
    url: str = ""


class _Request(msgspec.Struct, frozen=True):
    host: str = ""


class _Event(msgspec.Struct, frozen=True):
    action: str = ""
    target: _Target = _Target()
    request: _Request = _Request()


class _Envelope(msgspec.Struct, frozen=True):
    events: list[Any]


def read(request: WebhookRequest) -> WebhookTags:
    """Read an envelope of events. Raises RefusedWebhookError."""
    return tags_named(_references(decode_each(decode(request, _Envelope).events, _Event)), _NOTHING)


def read_one(request: WebhookRequest) -> WebhookTags:
    """Read one event of Azure. Raises RefusedWebhookError."""
    return tags_named(_references([decode(request, _Event)]), _NOTHING)


def _references(events: Iterable[_Event]) -> Iterator[Reference]:
    for event in events:
        if event.action in _MOVES and event.target.tag:
            # The host that the client used, and the one that the registry has configured: rules may name either.
            for host in hosts(event.request.host, host_of(event.target.url)):
                with suppress(RefusedWebhookError):
                    yield upstream(host, event.target.repository, event.target.tag)
