"""Clients that are guarded, what lies within, and a public registry that wants to be led there."""

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from local.images import make_image
from local.registry.answers import Answer
from pullahead.errors import AccessDeniedError
from pullahead.oci import Reference, Repository
from pullahead.registry.address_guard import SYSTEM_NETWORK, Network
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.request import Timeouts
from pullahead.rules.model import UpstreamSettings
from tests.fakes.internet import HttpRequest, Internet
from tests.unit.registry.harness import FakeTime

IMAGE = make_image([1000], seed=5)
PUBLIC, LISTED = "registry.example", "listed.example"


def guarded(
    *upstreams: UpstreamSettings,
    network: Network = SYSTEM_NETWORK,
    ca: Path | None = None,
    runtime_api: str = "",
    trusts_the_first: bool = False,
) -> UpstreamRegistry:
    """Make a client with the settings of these hosts and the defaults of all others."""
    known = {settings.host: settings for settings in upstreams}
    return UpstreamRegistry(
        lambda host: known.get(host, UpstreamSettings(host)),
        ca=None if ca is None else str(ca),
        runtime_api=runtime_api,
        trusts_the_first=trusts_the_first,
        network=network,
        timeouts=Timeouts(connect=2, read=5),
        sleep=FakeTime().sleep,
    )


def head(upstream: UpstreamRegistry, host: str) -> None:
    """Resolve a tag, which must go well."""
    assert upstream.head_manifest(reference_at(host)) == IMAGE.root.descriptor


def reference_at(host: str) -> Reference:
    return Reference(Repository(host, "team/app"), "1.0")


def refused(upstream: UpstreamRegistry, host: str) -> str:
    """Try to resolve a tag, which the guard must refuse, in one line."""
    with pytest.raises(AccessDeniedError, match="which is refused") as caught:
        upstream.head_manifest(reference_at(host))
    assert not caught.value.retryable
    assert "\n" not in str(caught.value)
    return str(caught.value)


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


class Public:
    """A public registry that can redirect its readers."""

    def __init__(self) -> None:
        self.headers = {"Location": "/v2/team/app/manifests/nothing"}
        self.status = 307

    def redirect(self, location: str) -> None:
        self.status, self.headers = 307, {"Location": location}

    def challenge(self, realm: str) -> None:
        self.status, self.headers = 401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}

    def __call__(self, _: HttpRequest) -> Answer:
        return Answer(self.status, self.headers)


def resolving_literals(internet: Internet) -> Network:
    """Know what addresses mean that stand for themselves, as every resolver does."""

    def resolve(host: str, port: int) -> Sequence[str]:
        if host in internet.addresses:
            return internet.network.resolve(host, port)
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    return Network(resolve, internet.network.connect)
