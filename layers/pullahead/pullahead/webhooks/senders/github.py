"""GitHub: `package` and `registry_package`, for the container registry ghcr.io, or `containers.HOST` of a server.

GitHub Docs, "Webhook events and payloads", package and registry_package; "Validating webhook deliveries" for the
signature over the raw body. Owners' names may have capitals; in references they are lower case.
"""

from typing import Final

import msgspec

from pullahead.webhooks.http import WebhookRequest
from pullahead.webhooks.payload import WebhookTags, decode, upstream

SIGNATURE: Final = "x-hub-signature-256"
_EVENT: Final = "x-github-event"
_EVENTS: Final = ("package", "registry_package")
_KINDS: Final = ("container", "docker")
_HOST: Final = "ghcr.io"


class _Tag(msgspec.Struct, frozen=True):
    name: str = ""


class _Metadata(msgspec.Struct, frozen=True):
    tag: _Tag = _Tag()


class _Version(msgspec.Struct, frozen=True):
    package_url: str | None = None
    container_metadata: _Metadata | None = None


class _Package(msgspec.Struct, frozen=True):
    name: str
    namespace: str = ""
    package_type: str = ""
    package_version: _Version | None = None


class _Payload(msgspec.Struct, frozen=True):
    package: _Package | None = None
    registry_package: _Package | None = None


def read(request: WebhookRequest) -> WebhookTags:
    """Read an event of any kind. Raises RefusedWebhookError."""
    event = request.header(_EVENT)
    if event == "ping":
        return WebhookTags(ignored="pong")
    if event not in _EVENTS:
        return WebhookTags(ignored="not a package or registry_package event")
    payload = decode(request, _Payload)
    package = payload.package or payload.registry_package
    if package is None or package.package_type.lower() not in _KINDS:
        return WebhookTags(ignored="not a container package")
    version = package.package_version
    tag = version.container_metadata.tag.name if version is not None and version.container_metadata is not None else ""
    if not tag:
        return WebhookTags(ignored="the version has no tag")
    return WebhookTags((upstream(_host(version), f"{package.namespace}/{package.name}".lower(), tag),))


def _host(version: _Version | None) -> str:
    """Find the registry in the address of a package; a self-hosted server has its own."""
    address = version.package_url if version is not None else None
    host, slash, _ = (address or "").removeprefix("https://").partition("/")
    return host if slash and "." in host else _HOST
