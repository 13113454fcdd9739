"""Where a registry may lead us: https and public addresses only, unless the rules allow a host otherwise, by its name.

Decides by the addresses that are connected to, and is asked before every request: the first one, each redirect, each
token service. A name is resolved once, every address that it has is judged, and the connection is made to one of them,
so that an answer of DNS that changes in between changes nothing.

What the rules allow holds for the host (with its port) that they name, and only where no public host sends us there:
otherwise anybody's redirect could read what lies within. `plain_http` implies `private_addresses`, because without TLS
only the network itself, such as this machine, can vouch for who answers. Nothing allows link-local addresses (which
hand out credentials), multicast, reserved ones, those that hide an IPv4 address, or the Lambda runtime API.

Through a proxy (HTTPS_PROXY) it is the proxy that resolves names, and that has to refuse what it does not want to
reach. Here addresses written as such are refused all the same, in every spelling, and names that mean this machine or
its network.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 6761 and RFC 6762 (localhost, local); RFC 6052
(NAT64); Amazon EC2 user guide, "Instance metadata"; AWS Lambda developer guide, "Runtime API".
"""

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import zip_longest
from typing import NamedTuple, Protocol
from urllib.parse import SplitResult, urlsplit

from pullahead.errors import AccessDeniedError
from pullahead.registry.hosts import registry_at
from pullahead.registry.request import Inquiry, Request, port_of

_MAX_ADDRESSES = 4  # of one name, that are tried in turn
_Address = IPv4Address | IPv6Address


class Network(NamedTuple):
    """The system's own way to resolve a name into addresses, and to connect to one of them within some seconds."""

    resolve: Callable[[str, int], Sequence[str]]
    connect: Callable[[tuple[str, int], float | None], socket.socket]


def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """List the addresses of a name, best first. Raises OSError and UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


SYSTEM_NETWORK = Network(resolve_by_system, socket.create_connection)


class _Kind(NamedTuple):
    name: str
    may_be_allowed: bool = False  # by the rules


_PRIVATE = _Kind("a private address", may_be_allowed=True)
_LOOPBACK = _Kind("a loopback address", may_be_allowed=True)
_SHARED = _Kind("a shared address (carrier-grade NAT)", may_be_allowed=True)
_BENCHMARKING = _Kind("a benchmarking address", may_be_allowed=True)
_UNIQUE_LOCAL = _Kind("a unique-local address", may_be_allowed=True)
_LINK_LOCAL = _Kind("a link-local address")
_UNSPECIFIED = _Kind("an unspecified address")
_MULTICAST = _Kind("a multicast address")
_DOCUMENTATION = _Kind("a documentation address")
_RESERVED = _Kind("a reserved address")
_EMBEDDING = _Kind("an IPv6 address that stands for an IPv4 one")
_AWS_SERVICE = _Kind("an address of AWS's own metadata and credentials")
_RUNTIME_API = _Kind("the Lambda runtime API")
_LOCAL_NAME = _Kind("a name of this machine or its network", may_be_allowed=True)

_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_LOCAL_DOMAINS = ("localhost", "localdomain", "local", "internal", "home.arpa")

_KINDS: Sequence[tuple[IPv4Network | IPv6Network, _Kind]] = [
    (ip_network(network), kind)
    for network, kind in (  # the narrower before the wider
        ("0.0.0.0/8", _UNSPECIFIED),
        ("10.0.0.0/8", _PRIVATE),
        ("100.64.0.0/10", _SHARED),
        ("127.0.0.0/8", _LOOPBACK),
        ("169.254.0.0/16", _LINK_LOCAL),
        ("172.16.0.0/12", _PRIVATE),
        ("192.0.0.0/24", _RESERVED),
        ("192.0.2.0/24", _DOCUMENTATION),
        ("192.88.99.0/24", _RESERVED),
        ("192.168.0.0/16", _PRIVATE),
        ("198.18.0.0/15", _BENCHMARKING),
        ("198.51.100.0/24", _DOCUMENTATION),
        ("203.0.113.0/24", _DOCUMENTATION),
        ("224.0.0.0/4", _MULTICAST),
        ("240.0.0.0/4", _RESERVED),
        ("::/128", _UNSPECIFIED),
        ("::1/128", _LOOPBACK),
        ("::/96", _EMBEDDING),
        ("::ffff:0:0/96", _EMBEDDING),
        ("2001::/32", _EMBEDDING),  # Teredo
        ("2001::/23", _RESERVED),
        ("2001:db8::/32", _DOCUMENTATION),
        ("2002::/16", _EMBEDDING),  # 6to4
        ("3fff::/20", _DOCUMENTATION),
        ("fd00:ec2::/32", _AWS_SERVICE),
        ("fc00::/7", _UNIQUE_LOCAL),
        ("fe80::/10", _LINK_LOCAL),
        ("ff00::/8", _MULTICAST),
    )
]


class Permission(NamedTuple):
    """Where a request may go: also to addresses that are not public, or only to those that are."""

    private_addresses: bool


ANYWHERE = Permission(private_addresses=True)


class HostSettings(Protocol):
    """What the rules, or a person, allow for a host."""

    @property
    def plain_http(self) -> bool:
        """Whether it may be asked without TLS; its address may then be private, too."""
        ...

    @property
    def private_addresses(self) -> bool:
        """Whether its address may be private."""
        ...


class Guard:
    """Judges where requests go. May be used by several threads.

    `runtime_api` is the host and port of the Lambda runtime API. `trusts_the_first` lets the host that is asked in the
    first place be private without being named, because a person has just named it.
    """

    def __init__(
        self,
        settings: Callable[[str], HostSettings],
        *,
        network: Network = SYSTEM_NETWORK,
        runtime_api: str = "",
        trusts_the_first: bool = False,
    ) -> None:
        self._settings, self._network, self._trusts_the_first = settings, network, trusts_the_first
        runtime = urlsplit(f"//{runtime_api}")
        self._runtime_api = (literal_address(runtime.hostname or ""), runtime.port or 80)

    def admit(self, request: Request) -> Permission:
        """Decide what a request may do. Raises AccessDeniedError for plain HTTP where no rule allows it."""
        url = urlsplit(request.url)
        settings = self._settings(registry_at(url))
        sender = urlsplit(request.sent_by)
        is_sent_inward = not request.sent_by or self._is_inward(sender)
        if url.scheme != "https" and not (settings.plain_http and is_sent_inward):
            raise self._refusal(request.inquiry, url, "is asked by plain HTTP", "plain_http")
        is_first = self._trusts_the_first and not request.sent_by
        return Permission(is_first or (self._is_inward(url) and is_sent_inward))

    def connect(
        self, url: SplitResult, permission: Permission, inquiry: Inquiry, seconds_left: Callable[[], float]
    ) -> socket.socket:
        """Connect to an address that was judged, each try within the seconds that are left.

        Raises: AccessDeniedError, OSError, UnicodeError.
        """
        host, port = url.hostname or "", port_of(url)
        addresses = _of_both_families(self._network.resolve(host, port))[:_MAX_ADDRESSES]
        for address in addresses:
            self._check(url, permission, inquiry, address, port)
        sock = self._connect_first(addresses, port, seconds_left)
        try:
            peer = sock.getpeername()
            self._check(url, permission, inquiry, peer[0], port)
        except BaseException:
            sock.close()
            raise
        return sock

    def check_name(self, url: SplitResult, permission: Permission, inquiry: Inquiry) -> None:
        """Judge a host that a proxy resolves. Raises AccessDeniedError."""
        host = (url.hostname or "").rstrip(".")
        address = literal_address(host)
        if address is not None:
            self._check(url, permission, inquiry, str(address), port_of(url))
        elif _is_local(host) and not permission.private_addresses:
            raise self._refusal(inquiry, url, f"is {_LOCAL_NAME.name}", "private_addresses")

    def _connect_first(self, addresses: Sequence[str], port: int, seconds_left: Callable[[], float]) -> socket.socket:
        error = OSError("the host name has no address")
        for address in addresses:
            try:
                return self._network.connect((address, port), seconds_left())
            except OSError as failure:
                error = failure
        raise error

    def _check(self, url: SplitResult, permission: Permission, inquiry: Inquiry, text: str, port: int) -> None:
        address = ip_address(text)
        kind = _RUNTIME_API if self._is_runtime_api(address, port) else kind_of(address)
        if kind is None or (permission.private_addresses and kind.may_be_allowed):
            return
        what = f"leads to {address}, {kind.name}"
        raise self._refusal(inquiry, url, what, "private_addresses" if kind.may_be_allowed else "")

    def _is_runtime_api(self, address: _Address, port: int) -> bool:
        known, known_port = self._runtime_api
        same = address == known or (known is not None and known.is_loopback and address.is_loopback)
        return same and port == known_port

    def _is_inward(self, url: SplitResult) -> bool:
        settings = self._settings(registry_at(url))
        return settings.private_addresses or settings.plain_http

    def _refusal(self, inquiry: Inquiry, url: SplitResult, what: str, key: str) -> AccessDeniedError:
        place = url.netloc.lower()
        advice = "No rule can allow that."
        if key:
            advice = (
                f"If that is meant, allow it: `{key}: true` for {place} (and for what redirects to it) under "
                f"`upstreams` in the rules, or --insecure {place} for a command."
            )
        return inquiry.error(AccessDeniedError, f"{place} {what}, which is refused", advice=advice)


def _of_both_families(addresses: Sequence[str]) -> Sequence[str]:
    """Let IPv6 and IPv4 take turns, the best first: on some networks one leads nowhere (RFC 8305, section 4)."""
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    second = [address for address in addresses if address not in first]
    return [address for turn in zip_longest(first, second) for address in turn if address is not None]


def kind_of_host(host: str) -> _Kind | None:
    """Tell what kind of address a host is known to have by its name alone; None if it may be public."""
    name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    address = literal_address(name)
    if address is not None:
        return kind_of(address)
    return _LOCAL_NAME if _is_local(name) else None


def _is_local(name: str) -> bool:
    return any(name == domain or name.endswith(f".{domain}") for domain in _LOCAL_DOMAINS)


def kind_of(address: _Address) -> _Kind | None:
    """Tell what kind of address one is, or None where it is public."""
    if address.version == 6 and address in _NAT64:
        # A network without IPv4 reaches every public IPv4 address so.
        return kind_of(IPv4Address(int(address) & 0xFFFFFFFF))
    found = next((kind for network, kind in _KINDS if address in network), None)
    if found is None and address.version == 6 and address not in _GLOBAL_UNICAST:
        return _RESERVED
    return found


def open_anywhere(url: SplitResult, timeout: float) -> socket.socket:
    """Connect to an address without judging it. Raises OSError and UnicodeError."""
    return SYSTEM_NETWORK.connect((url.hostname or "", port_of(url)), timeout)


def literal_address(host: str) -> _Address | None:
    """Read an address as the system's resolver does, which takes 0x7f.1 and 2130706433 too; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return _legacy_address(host)


def _legacy_address(host: str) -> IPv4Address | None:
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
