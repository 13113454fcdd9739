"""Settings of a host apply to this host only, not to others that it redirects to."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.registry import FakeRegistry
from local.registry.answers import Answer
from pullahead.errors import ConfigError, RegistryUnavailableError
from pullahead.registry.address_guard import Network
from pullahead.rules.model import UpstreamSettings
from tests.certificates import by_a_plain_authority, self_signed
from tests.fakes.internet import Internet
from tests.unit.registry.guarding import (
    IMAGE,
    LISTED,
    PUBLIC,
    Public,
    guarded,
    head,
    port_of,
    reference_at,
    refused,
    resolving_literals,
)

RULE = "private_addresses: true"


@pytest.fixture
def inside() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.push(IMAGE, "team/app", "1.0")
        yield registry


def test_host_that_a_rule_allows_is_asked(inside: FakeRegistry) -> None:
    head(guarded(UpstreamSettings(inside.host, plain_http=True)), inside.host)


def test_private_host_needs_a_rule(internet: Internet, ca: Path) -> None:
    internet.addresses[LISTED] = ["10.0.0.5"]
    settings = UpstreamSettings(LISTED, private_addresses=True)
    assert f"`{RULE}` for {LISTED}" in refused(guarded(network=internet.network, ca=ca), LISTED)
    head(guarded(settings, network=internet.network, ca=ca), LISTED)
    assert internet.connected == [("10.0.0.5", 443)]


def test_certificates_of_one_host_do_not_count_for_another(internet: Internet) -> None:
    settings = UpstreamSettings(LISTED, ca=internet.certified.certificate)
    head(guarded(settings, network=internet.network), LISTED)
    with pytest.raises(RegistryUnavailableError, match="not trusted"):
        guarded(settings, network=internet.network).head_manifest(reference_at(PUBLIC))


def test_private_authority_is_trusted() -> None:
    manifest = IMAGE.root
    headers = {"Content-Type": manifest.descriptor.media_type, "Docker-Content-Digest": IMAGE.digest}
    internet = Internet({LISTED: lambda _: Answer(200, headers, manifest.content)})
    internet.certified, authority = by_a_plain_authority([LISTED])
    settings = UpstreamSettings(LISTED, ca=f"# Autorité\n{authority}")
    with internet.up():
        head(guarded(settings, network=internet.network), LISTED)


def test_certificate_of_another_name_is_refused() -> None:
    internet = Internet({LISTED: lambda _: Answer(404)})
    internet.certified = self_signed(["other.example"])
    settings = UpstreamSettings(LISTED, ca=internet.certified.certificate)
    with internet.up(), pytest.raises(RegistryUnavailableError, match="not trusted"):
        guarded(settings, network=internet.network).head_manifest(reference_at(LISTED))
    assert internet.asked == []


@pytest.mark.parametrize("ca", ["", "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n", "é"])
def test_malformed_certificate_is_an_error(internet: Internet, ca: str) -> None:
    upstream = guarded(UpstreamSettings(LISTED, ca=ca), network=internet.network)
    with pytest.raises(ConfigError, match=f"certificates to trust for {LISTED} cannot be read"):
        upstream.head_manifest(reference_at(LISTED))
    assert internet.connected == []


def test_rule_for_one_port_does_not_allow_another(inside: FakeRegistry, within: socket.socket) -> None:
    inside.fail(None, "/", 307, headers={"Location": f"http://127.0.0.1:{port_of(within)}/"})
    refused(guarded(UpstreamSettings(inside.host, plain_http=True)), inside.host)


def test_rule_does_not_allow_what_its_host_redirects_to(inside: FakeRegistry, within: socket.socket) -> None:
    inside.fail(None, "/", 307, headers={"Location": f"https://127.0.0.1:{port_of(within)}/"})
    settings = UpstreamSettings(inside.host, plain_http=True, private_addresses=True)
    assert f"`{RULE}` for 127.0.0.1:{port_of(within)}" in refused(guarded(settings), inside.host)


def test_private_host_may_redirect_to_another_that_is_allowed(inside: FakeRegistry) -> None:
    with FakeRegistry() as storage:
        inside.redirect_manifests_to = storage
        storage.push(IMAGE, "team/app", "1.0")
        allowed = [UpstreamSettings(registry.host, plain_http=True) for registry in (inside, storage)]
        head(guarded(*allowed), inside.host)


@pytest.mark.parametrize("plain_http", [False, True])
def test_public_host_may_not_redirect_to_an_allowed_private_host(
    within: socket.socket, internet: Internet, ca: Path, public: Public, plain_http: bool
) -> None:
    named = f"127.0.0.1:{port_of(within)}"
    public.redirect(f"https://{named}/")
    settings = UpstreamSettings(named, plain_http=plain_http, private_addresses=True)
    refused(guarded(settings, network=resolving_literals(internet), ca=ca), PUBLIC)


def test_public_host_may_not_name_an_allowed_private_token_service(
    within: socket.socket, internet: Internet, ca: Path, public: Public
) -> None:
    named = f"127.0.0.1:{port_of(within)}"
    public.challenge(f"https://{named}/token")
    settings = UpstreamSettings(named, private_addresses=True)
    refused(guarded(settings, network=resolving_literals(internet), ca=ca), PUBLIC)


def test_public_host_does_not_get_a_kept_connection_to_a_private_one(
    internet: Internet, ca: Path, public: Public
) -> None:
    internet.addresses[LISTED] = ["10.0.0.5"]
    public.redirect(f"https://{LISTED}/v2/team/app/manifests/1.0")
    upstream = guarded(UpstreamSettings(LISTED, private_addresses=True), network=internet.network, ca=ca)
    head(upstream, LISTED)
    refused(upstream, PUBLIC)
    assert internet.requests[1:] == [f"HEAD {PUBLIC}/v2/team/app/manifests/1.0"]


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fd00:ec2::254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:10.0.0.1"]
)
def test_rule_does_not_allow_addresses_of_no_registry(address: str) -> None:
    network = Network(lambda *_: [address], lambda *_: pytest.fail("it was connected to"))
    settings = UpstreamSettings(PUBLIC, plain_http=True, private_addresses=True)
    assert "No rule can allow that" in refused(guarded(settings, network=network), PUBLIC)


@pytest.mark.parametrize(
    "runtime_api", ["127.0.0.1:{port}", "127.0.0.2:{port}", "localhost.example:1", "127.0.0.1:1", "[::1]:{port}"]
)
def test_runtime_api_is_refused_despite_a_rule(inside: FakeRegistry, runtime_api: str) -> None:
    port = inside.host.partition(":")[2]
    upstream = guarded(UpstreamSettings(inside.host, plain_http=True), runtime_api=runtime_api.format(port=port))
    if "{port}" in runtime_api:
        assert "the Lambda runtime API" in refused(upstream, inside.host)
        assert inside.connections == 0
    else:
        head(upstream, inside.host)


def test_person_may_name_a_private_host(internet: Internet, ca: Path) -> None:
    internet.addresses[LISTED] = ["10.0.0.5"]
    head(guarded(network=internet.network, ca=ca, trusts_the_first=True), LISTED)


def test_host_that_a_person_names_may_not_redirect_within(
    within: socket.socket, internet: Internet, ca: Path, public: Public
) -> None:
    internet.addresses[PUBLIC] = ["10.0.0.5"]
    public.redirect(f"https://127.0.0.1:{port_of(within)}/")
    refused(guarded(network=resolving_literals(internet), ca=ca, trusts_the_first=True), PUBLIC)
    assert internet.requests == [f"HEAD {PUBLIC}/v2/team/app/manifests/1.0"]
