"""Redirects and token services that lead inwards: nothing arrives there."""

import socket
from pathlib import Path

import pytest

from local.registry import FakeRegistry
from local.registry.answers import Answer
from pullahead.registry.request import parse_url
from pullahead.rules.model import UpstreamSettings
from tests.fakes.internet import Internet
from tests.unit.registry.guarding import LISTED, PUBLIC, Public, guarded, port_of, refused, resolving_literals

INWARDS = [
    "https://127.0.0.1:{port}/x",
    "https://localhost:{port}/x",
    "https://2130706433:{port}/x",
    "https://0x7f.1:{port}/x",
    "https://[::1]:{port}/x",
    "https://[::ffff:127.0.0.1]:{port}/x",
    "https://0.0.0.0:{port}/x",
    "//127.0.0.1:{port}/x",
    "https://10.0.0.1/x",
    "https://[fd00:ec2::254]/latest/meta-data/iam/security-credentials/",
    "https://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "https://169.254.170.2/v2/credentials/x",
]


@pytest.mark.parametrize("location", INWARDS)
def test_redirect_inwards_is_refused(
    within: socket.socket, internet: Internet, ca: Path, public: Public, location: str
) -> None:
    public.redirect(location.format(port=port_of(within)))
    refused(guarded(network=resolving_literals(internet), ca=ca), PUBLIC)
    assert {address for address, _ in internet.connected} == {"151.101.0.1"}


@pytest.mark.parametrize("realm", [each for each in INWARDS if each.startswith("https:")])
def test_token_service_within_is_refused(
    within: socket.socket, internet: Internet, ca: Path, public: Public, realm: str
) -> None:
    public.challenge(realm.format(port=port_of(within)))
    message = refused(guarded(network=resolving_literals(internet), ca=ca), PUBLIC)
    assert "token service" in message
    assert {address for address, _ in internet.connected} == {"151.101.0.1"}


def test_last_of_many_redirects_inwards_is_refused(
    within: socket.socket, internet: Internet, ca: Path, public: Public
) -> None:
    internet.sites[LISTED] = lambda _: Answer(302, {"Location": f"https://127.0.0.1:{port_of(within)}/"})
    public.redirect(f"https://{LISTED}/")
    refused(guarded(network=resolving_literals(internet), ca=ca), PUBLIC)
    assert internet.requests == [f"HEAD {PUBLIC}/v2/team/app/manifests/1.0", f"HEAD {LISTED}/"]


@pytest.mark.parametrize(
    "host",
    [
        "user@127.0.0.1",
        "registry.example@127.0.0.1",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "%31%32%37.0.0.1",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "registry.example\\@127.0.0.1",
        "registry.example\\.inside",
        ".registry.example",
        "registry..example",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "127.0.0.1:+80",
        "registry.example:80:81",
        "[127.0.0.1]x",
        "",
    ],
)
def test_host_that_is_spelled_oddly_is_invalid(host: str) -> None:
    assert parse_url(f"https://{host}/v2/") is None


def test_redirect_to_plain_http_at_another_host_is_refused(registry: FakeRegistry, within: socket.socket) -> None:
    registry.fail(None, "/", 307, headers={"Location": f"http://127.0.0.1:{port_of(within)}/v2/"})
    message = refused(guarded(UpstreamSettings(registry.host, plain_http=True)), registry.host)
    assert "is asked by plain HTTP" in message
    assert f"`plain_http: true` for 127.0.0.1:{port_of(within)}" in message
