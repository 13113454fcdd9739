"""Names and addresses that lead inwards, however they are spelled: nothing arrives there."""

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from pullahead.errors import AccessDeniedError, RegistryUnavailableError
from pullahead.registry.address_guard import Network
from tests.fakes.internet import Internet
from tests.unit.registry.guarding import (
    LISTED,
    PUBLIC,
    guarded,
    head,
    port_of,
    reference_at,
    refused,
)


@pytest.mark.parametrize(
    "spelled",
    ["127.0.0.1", "localhost", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1"],
)
def test_this_machine_is_refused_in_every_spelling(within: socket.socket, spelled: str) -> None:
    with socket.create_connection((spelled, port_of(within))):
        within.accept()[0].close()  # it is there, and that is how it is called
    assert "a loopback address" in refused(guarded(), f"{spelled}:{port_of(within)}")


@pytest.mark.parametrize(
    "spelled", ["localhost.", "127.0.0.1.", "0.0.0.0", "0", "017700000001", "127.8.9.10", "0x7f.1"]
)
def test_this_machine_is_refused_by_any_name(within: socket.socket, spelled: str) -> None:
    with contextlib.suppress(AccessDeniedError, RegistryUnavailableError):  # some resolvers know no such name
        guarded().head_manifest(reference_at(f"{spelled}:{port_of(within)}"))


@pytest.mark.parametrize("spelled", ["[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "[::127.0.0.1]"])
def test_this_machine_is_refused_by_ipv6(within: socket.socket, spelled: str) -> None:
    refused(guarded(), f"{spelled}:{port_of(within)}")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.0.0.1", "a private address"),
        ("172.16.0.1", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.168.1.1", "a private address"),
        ("127.0.0.53", "a loopback address"),
        ("100.64.0.1", "a shared address"),
        ("100.127.255.254", "a shared address"),
        ("198.18.0.1", "a benchmarking address"),
        ("169.254.169.254", "a link-local address"),
        ("169.254.170.2", "a link-local address"),
        ("169.254.100.1", "a link-local address"),
        ("0.0.0.0", "an unspecified address"),
        ("0.1.2.3", "an unspecified address"),
        ("192.0.0.1", "a reserved address"),
        ("192.0.2.1", "a documentation address"),
        ("198.51.100.1", "a documentation address"),
        ("203.0.113.1", "a documentation address"),
        ("192.88.99.1", "a reserved address"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.250", "a multicast address"),
        ("240.0.0.1", "a reserved address"),
        ("255.255.255.255", "a reserved address"),
        ("::", "an unspecified address"),
        ("::1", "a loopback address"),
        ("::7f00:1", "stands for an IPv4"),
        ("::ffff:10.0.0.1", "stands for an IPv4"),
        ("::ffff:8.8.8.8", "stands for an IPv4"),
        ("64:ff9b::a9fe:a9fe", "a link-local address"),
        ("64:ff9b::7f00:1", "a loopback address"),
        ("64:ff9b:1::1", "a reserved address"),
        ("2002:7f00:1::", "stands for an IPv4"),
        ("2001:0:7f00:1::", "stands for an IPv4"),
        ("2001:2::1", "a reserved address"),
        ("2001:db8::1", "a documentation address"),
        ("3fff::1", "a documentation address"),
        ("fc00::1", "a unique-local address"),
        ("fdff::1", "a unique-local address"),
        ("fd00:ec2::254", "AWS's own metadata"),
        ("fd00:ec2::23", "AWS's own metadata"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("fec0::1", "a reserved address"),
        ("ff02::1", "a multicast address"),
        ("100::1", "a reserved address"),
        ("4000::1", "a reserved address"),
    ],
)
def test_name_that_leads_inwards_is_refused(address: str, kind: str) -> None:
    network = Network(lambda *_: [address], lambda *_: pytest.fail("it was connected to"))
    assert kind in refused(guarded(network=network), PUBLIC)


@pytest.mark.parametrize("addresses", [["151.101.0.1", "10.0.0.1"], ["10.0.0.1", "151.101.0.1"]])
def test_name_with_a_private_address_beside_a_public_one_is_refused(
    internet: Internet, addresses: Sequence[str]
) -> None:
    internet.addresses[LISTED] = addresses
    refused(guarded(network=internet.network), LISTED)
    assert internet.connected == []


def test_name_is_resolved_once(internet: Internet, ca: Path) -> None:
    answers = iter([["151.101.0.9"], ["127.0.0.1"], ["127.0.0.1"]])
    network = Network(lambda *_: next(answers), internet.network.connect)
    head(guarded(network=network, ca=ca), LISTED)
    assert internet.connected == [("151.101.0.9", 443)]
    assert len(list(answers)) == 2  # it was resolved once


def test_connection_to_another_address_than_judged_is_closed(within: socket.socket) -> None:
    opened: list[socket.socket] = []

    def connect(_: tuple[str, int], timeout: float | None) -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", port_of(within)), timeout))
        return opened[0]

    refused(guarded(network=Network(lambda *_: ["151.101.0.1"], connect)), PUBLIC)
    assert opened[0].fileno() == -1
    accepted, _ = within.accept()
    with accepted:
        assert accepted.recv(10) == b""  # nothing was sent


@pytest.mark.parametrize("addresses", [["151.101.0.7"], ["2a04:4e42::81"], ["64:ff9b::9765:7"]])
def test_public_host_is_allowed(internet: Internet, ca: Path, addresses: Sequence[str]) -> None:
    internet.addresses[LISTED] = addresses
    head(guarded(network=internet.network, ca=ca), LISTED)
    assert internet.connected == [(addresses[0], 443)]


def test_second_address_is_tried_after_the_first(internet: Internet, ca: Path) -> None:
    tried: list[str] = []

    def connect(address: tuple[str, int], timeout: float | None) -> socket.socket:
        tried.append(address[0])
        if len(tried) == 1:
            raise ConnectionRefusedError
        return internet.network.connect(address, timeout)

    head(guarded(network=Network(lambda *_: ["151.101.0.1", "151.101.0.2"], connect), ca=ca), LISTED)
    assert tried == ["151.101.0.1", "151.101.0.2"]


def test_four_addresses_are_tried_at_most() -> None:
    tried: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], _: float | None) -> socket.socket:
        tried.append(address)
        raise ConnectionRefusedError

    network = Network(lambda *_: [f"151.101.1.{number}" for number in range(200)], connect)
    with pytest.raises(RegistryUnavailableError, match="connection refused"):
        guarded(network=network).head_manifest(reference_at(PUBLIC))
    assert len(tried) == 3 * 4  # tries, addresses


def test_host_with_many_addresses_is_reached_though_ipv6_leads_nowhere(internet: Internet, ca: Path) -> None:
    """As Docker Hub has eight of each."""
    tried: list[str] = []

    def connect(address: tuple[str, int], timeout: float | None) -> socket.socket:
        tried.append(address[0])
        if ":" in address[0]:
            raise TimeoutError
        return internet.network.connect(address, timeout)

    found = [*(f"2600:1f18::{number}" for number in range(8)), *(f"151.101.0.{number}" for number in range(8))]
    head(guarded(network=Network(lambda *_: found, connect), ca=ca), LISTED)
    assert tried == ["2600:1f18::0", "151.101.0.0"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "169.254.169.254",
        "[::1]",
        "10.0.0.1.",
        "localhost",
        "app.localhost.",
        "a.internal",
    ],
)
def test_proxy_is_not_asked_for_what_lies_within(
    within: socket.socket, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port_of(within)}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    refused(guarded(), host)
