"""How a connection to a host is made: straight to an address that was judged, or by a proxy; by whose certificates.

Decides nothing about requests. What a host's own certificates are is told by the rules; they then count alone for it,
as with `--ca`, so that nobody else can vouch for a host of that name.
"""

import functools
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from urllib.parse import SplitResult

from pullahead.errors import ConfigError
from pullahead.registry.address_guard import SYSTEM_NETWORK, Guard, Passage, port_of
from pullahead.registry.failures import Inquiry
from pullahead.registry.hosts import registry_at
from pullahead.registry.proxies import Proxy, find_proxy

Certificates = Callable[[str], str | None]
"""Finds the certificates, as PEM, that alone are trusted for a registry; None for what this machine trusts."""


def trusting_context() -> ssl.SSLContext:
    """Trust what this machine trusts (SSL_CERT_FILE and SSL_CERT_DIR count); a Python without any, certifi's list."""
    context = ssl.create_default_context()
    found = ssl.get_default_verify_paths()
    if not found.cafile and not found.capath:  # as in the Python of python.org on macOS
        import certifi  # noqa: PLC0415 - only where it is needed

        context.load_verify_locations(certifi.where())
    return context


def system_trust(_: str) -> str | None:
    """Find no certificates of a registry's own."""
    return None


class Dialer:
    """Makes connections that are not yet connected. May be used by several threads."""

    def __init__(
        self, make_tls: Callable[[], ssl.SSLContext], certificates: Certificates, guard: Guard | None = None
    ) -> None:
        self._make_tls, self._certificates, self._guard = make_tls, certificates, guard
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def dial(self, url: SplitResult, passage: Passage, inquiry: Inquiry) -> http.client.HTTPConnection:
        """Make a connection for an address. Raises AccessDeniedError; ConfigError for what is no certificate."""
        tls = self._tls_context(url) if url.scheme == "https" else None
        proxy = find_proxy(url)
        if proxy is None:
            return _Straight(url, tls, functools.partial(self._open, url, passage, inquiry))
        if self._guard is not None:
            self._guard.check_name(url, passage, inquiry)
        return _through(proxy, url, tls)

    def _open(self, url: SplitResult, passage: Passage, inquiry: Inquiry, timeout: float | None) -> socket.socket:
        if self._guard is not None:
            return self._guard.connect(url, passage, inquiry, timeout)
        return SYSTEM_NETWORK.connect((url.hostname or "", port_of(url)), timeout)

    def _tls_context(self, url: SplitResult) -> ssl.SSLContext:
        pem = self._certificates(registry_at(url))
        with self._lock:
            if pem not in self._contexts:
                self._contexts[pem] = self._make_tls() if pem is None else _own_context(pem, url.netloc)
            return self._contexts[pem]


def _own_context(pem: str, host: str) -> ssl.SSLContext:
    """Trust nothing but some certificates. Raises ConfigError."""
    # Not `create_default_context`: for empty text it would trust what the machine does, and in newer Pythons refuse
    # authorities that somebody made for himself, because their certificates do not identify keys.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        # What stands between certificates may be in any letters.
        context.load_verify_locations(cadata=pem.encode("ascii", "ignore").decode())
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            f"the certificates to trust for {host} cannot be read; `ca` of this host in the rules wants PEM"
        ) from None
    return context


class _Straight(http.client.HTTPConnection):
    """A connection whose socket is opened by a function of the timeout; over TLS where it has a context."""

    def __init__(
        self, url: SplitResult, tls: ssl.SSLContext | None, opened: Callable[[float | None], socket.socket]
    ) -> None:
        super().__init__(url.hostname or "", port_of(url))
        self._tls, self._opened = tls, opened

    def connect(self) -> None:
        """Open the socket. Raises what opening it and TLS raise."""
        sock = self._opened(self.timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = sock if self._tls is None else self._tls.wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise


def _through(proxy: Proxy, url: SplitResult, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    connection: http.client.HTTPConnection
    if tls is not None:
        connection = http.client.HTTPSConnection(proxy.host, proxy.port, context=tls)
    else:
        connection = http.client.HTTPConnection(proxy.host, proxy.port)
    connection.set_tunnel(url.hostname or "", port_of(url), dict(proxy.headers))
    return connection
