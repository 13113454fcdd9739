"""Sockets that keep a deadline, whose certificates are trusted, and which proxy the environment wants. Asks nothing.

A socket's own timeout bounds one call; whoever sends a byte at a time can then hold a reader for ever. These sockets
are given a moment by which whatever is read from them must have come: a status line, headers, chunk sizes, trailers.

Certificates are read once in a process: reading the system's takes 27 ms. A host's own certificates come from
the rules; they then count alone for it, as with `--ca`, so that no other CA can vouch for a host of that name.
"""

import base64
import contextlib
import errno
import functools
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment

from pullahead.errors import ConfigError

if TYPE_CHECKING:
    _Socket = socket.socket
else:
    _Socket = object

_FOREVER = float("inf")

_MAX_PIECE_SECONDS = 1.0  # then a reader gets what has come, however little


class _Deadline(_Socket):
    """Receives until a deadline; or piecewise, so that what came before an error is never lost.

    While `piecewise`, an error or a wait after the first byte of a piece is taken as "nothing more for now", on which
    io.BufferedReader returns what it has; the error is raised by `raise_failure`.
    """

    _until = _FOREVER
    _idle: float | None = None
    _piecewise = False
    _piece_until = 0.0
    _has_received = False
    received = 0  # bytes, since the piece began
    failure: OSError | None = None  # what ended the last piece

    def settimeout(self, value: float | None) -> None:
        """Set how long one call may take; the deadline holds besides."""
        self._idle = value
        if value != self.gettimeout():  # each time it is set is a call of the system
            super().settimeout(value)

    def limit(self, until: float) -> None:
        """Set the moment, by time.monotonic(), by which everything must have come."""
        self._until, self._piecewise = until, False

    def begin_piece(self, *, has_begun: bool) -> None:
        """Begin to receive a piece of a body: it ends a second after its first byte, with what has come.

        `has_begun` says that its first bytes were received with the last piece.
        """
        self._piecewise, self._has_received, self.received = True, has_begun, 0
        self._piece_until = time.monotonic() + _MAX_PIECE_SECONDS

    def raise_failure(self) -> None:
        """Raise what ended the last piece, if it was an error. Raises OSError."""
        if self.failure is not None:
            raise self.failure

    def recv(self, *arguments: Any, **named: Any) -> bytes:
        """Receive, until the deadline."""
        self._arm()
        return super().recv(*arguments, **named)

    def recv_into(self, *arguments: Any, **named: Any) -> int:
        """Receive into a buffer, until the deadline."""
        if self._piecewise:
            return self._receive_some(*arguments, **named)
        self._arm()
        return super().recv_into(*arguments, **named)

    def _arm(self) -> None:
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline has passed")
        wanted = seconds if self._idle is None else min(self._idle, seconds)
        if wanted != _FOREVER and wanted != self.gettimeout():
            super().settimeout(wanted)

    def _receive_some(self, buffer: Any, nbytes: int = 0) -> int:
        """Fill a buffer as far as the piece goes. Raises BlockingIOError for nothing more.

        Here, and not by whoever reads: TLS hands out a record of 16 KiB at a time, and each call of io takes longer. A
        larger buffer than io's own is part of the body; its own is filled beyond the end of the body, if that were
        waited for.
        """
        with memoryview(buffer) as view:
            size, filled, is_over = nbytes or len(view), 0, False
            is_once = size <= io.DEFAULT_BUFFER_SIZE
            while filled < size and not is_over and self._goes_on():
                try:
                    count = super().recv_into(view[filled:size], size - filled)
                except OSError as error:
                    if not (isinstance(error, TimeoutError) and self._has_received):
                        self.failure = error
                    break
                if not self._has_received:
                    self._has_received, self._piece_until = True, time.monotonic() + _MAX_PIECE_SECONDS
                is_over = is_once or not count
                filled += count
        self.received += filled
        if not filled and not is_over:
            raise BlockingIOError(errno.EAGAIN, "nothing more for now")
        return filled

    def _goes_on(self) -> bool:
        """Tell whether more of a piece may be waited for, and wait for the next bytes no longer than that."""
        if self.failure is not None or (self._has_received and time.monotonic() >= self._piece_until):
            return False
        wanted = _MAX_PIECE_SECONDS if self._has_received else self._idle
        if wanted != self.gettimeout():
            super().settimeout(wanted)
        return True


class DeadlineSocket(_Deadline, socket.socket):
    """A TCP socket with a deadline."""


class DeadlineTlsSocket(_Deadline, ssl.SSLSocket):
    """A TLS socket with a deadline. The handshake is one call, which the timeout bounds as a whole."""


def with_deadline(sock: socket.socket) -> DeadlineSocket:
    """Take over a connected socket."""
    timeout = sock.gettimeout()
    taken = DeadlineSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
    taken.settimeout(timeout)
    return taken


# --- certificates -------------------------------------------------------------------------------------------------


_READING = threading.Lock()  # whoever needs certificates that another thread reads waits for them


def read_trust_ahead(path: str | None) -> None:
    """Begin to read the certificates of a file, or the system's, in a thread; OpenSSL does not need the interpreter.

    What is wrong with them is told to whoever needs them.
    """

    def read() -> None:
        with contextlib.suppress(OSError):
            if path is None:
                system_trust()
            else:
                file_trust(path)

    threading.Thread(target=read, name="certificates", daemon=True).start()


def system_trust() -> ssl.SSLContext:
    """Trust what this machine trusts (SSL_CERT_FILE and SSL_CERT_DIR count); a Python without any, certifi's list."""
    with _READING:
        return _system_trust()


def file_trust(path: str) -> ssl.SSLContext:
    """Trust the certificates of a file, and no others. Raises OSError, which ssl.SSLError is, too."""
    with _READING:
        return _file_trust(path)


@functools.cache
def _system_trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    found = ssl.get_default_verify_paths()
    if not found.cafile and not found.capath:  # as in the Python of python.org on macOS
        import certifi  # noqa: PLC0415 - only where it is needed

        context.load_verify_locations(certifi.where())
    return _with_deadlines(context)


@functools.cache
def _file_trust(path: str) -> ssl.SSLContext:
    return _with_deadlines(ssl.create_default_context(cafile=path))


@functools.lru_cache(maxsize=100)
def own_trust(pem: str) -> ssl.SSLContext:
    """Trust the certificates of a text, and no others. Raises ssl.SSLError and ValueError."""
    # Not `create_default_context`: for empty text it would trust what the machine does.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # What stands between certificates may be in any letters.
    context.load_verify_locations(cadata=pem.encode("ascii", "ignore").decode())
    return _with_deadlines(context)


@functools.cache
def no_verification() -> ssl.SSLContext:
    """Trust whoever answers: for hosts that a person calls insecure."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _with_deadlines(context)


def _with_deadlines(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context make our sockets, and trust what OpenSSL and Go trust.

    Python 3.13 refuses private authorities whose certificates do not identify keys; older ones, a certificate that is
    trusted itself.
    """
    context.verify_flags = context.verify_flags & ~ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.sslsocket_class = DeadlineTlsSocket
    return context


# --- proxies ------------------------------------------------------------------------------------------------------

_PROXY_SCHEMES = {"http": 80, "https": 443}
_NO_PROXY_ENTRY = re.compile(r"\*?\.?(?P<host>\[[^\]]+\]|[^:/]*(?:/[0-9]+)?)(?::(?P<port>[0-9]+))?")


@dataclass(frozen=True)
class Proxy:
    """Where a proxy listens, whether it is spoken to by TLS, and its login."""

    host: str
    port: int
    by_tls: bool
    authorization: str = field(default="", repr=False)

    @property
    def url(self) -> SplitResult:
        """Its address, without its login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return urlsplit(f"{'https' if self.by_tls else 'http'}://{host}:{self.port}")


def find_proxy(scheme: str, host: str, port: int) -> Proxy | None:
    """Find the proxy that HTTPS_PROXY or HTTP_PROXY names for an address, and NO_PROXY does not exempt it from.

    Every connection goes through it as a tunnel (CONNECT). This machine itself is never asked through a proxy. Raises
    ConfigError for one that cannot be used.
    """
    proxies = getproxies_environment()
    address = proxies.get(scheme)
    if not address or _is_loopback(host) or _is_exempt(host.rstrip("."), port, proxies.get("no", "")):
        return None
    name = f"{scheme.upper()}_PROXY"
    try:
        proxy = urlsplit(address if "://" in address else f"http://{address}")
        its_host, its_port = proxy.hostname, proxy.port
    except ValueError:
        raise ConfigError(f"{name} is not a valid address; write http://HOST:PORT") from None
    if proxy.scheme not in _PROXY_SCHEMES:
        raise ConfigError(f"{name} is a {proxy.scheme}:// address; only http:// and https:// proxies are supported")
    if not its_host:
        raise ConfigError(f"{name} names no host; write http://HOST:PORT")
    authorization = ""
    if proxy.username is not None:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        authorization = f"Basic {base64.b64encode(user.encode()).decode()}"
    return Proxy(its_host, its_port or _PROXY_SCHEMES[proxy.scheme], proxy.scheme == "https", authorization)


def _is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Read NO_PROXY as curl, Go and requests do: names with their subdomains, addresses, networks, ports, `*`."""
    for entry in filter(None, re.split(r"[\s,]+", no_proxy.lower())):
        if entry == "*" or _is_within(host, entry):
            return True
        match = _NO_PROXY_ENTRY.fullmatch(entry)
        if match is None or (match["port"] and int(match["port"]) != port):
            continue
        name = match["host"].strip("[]").rstrip(".")
        if name and (host == name or host.endswith(f".{name}") or _is_within(host, name)):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost"
