"""Kept-alive HTTP/1.1 connections at the lowest cost: one request, its body from pieces, one small answer.

Decides how bytes go over a socket; refuses to know registries, tokens, redirects and retries. What a body's iterator
raises goes through, after the connection is closed: the other end then sees a request that was cut off.

Source: RFC 9112 (HTTP/1.1), sections 6.3 (Content-Length) and 9.3 (persistence).
"""

import http.client
import select
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from pullahead.errors import RegistryTimeoutError, RegistryUnavailableError, ResponseTooLargeError
from pullahead.registry.failures import Inquiry, TransientError
from pullahead.registry.proxies import Proxy, find_proxy
from pullahead.registry.transport import Request, Timeouts, origin_of

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""The most that an answer's body may have: as much as a manifest."""

_KEPT_PER_ORIGIN = 16
_KEPT_SECONDS = 60.0  # servers close idle connections after about as long
_PIECE_BYTES = 64 * 1024

_SOCKET_ERRORS = (OSError, http.client.HTTPException)


class Headers(Mapping[str, str]):
    """Header fields whose names are alike in upper and lower case; fields of one name are joined by commas."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        joined: dict[str, str] = {}
        for name, value in fields:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        self._fields = joined

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Answer(NamedTuple):
    """What came back, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Body(NamedTuple):
    """What to send: pieces that have so many bytes together."""

    pieces: Iterable[bytes | memoryview]
    size: int


class _Kept(NamedTuple):
    connection: http.client.HTTPConnection
    until: float


class Connections:
    """A pool of connections that several threads may use at once; each has one for as long as its request takes."""

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeouts, self._make_tls, self._clock = timeouts, tls, clock
        self._tls: ssl.SSLContext | None = None
        self._kept: defaultdict[str, list[_Kept]] = defaultdict(list)
        self._lock = threading.Lock()

    def send(self, request: Request, body: Body | None = None, *, answer_within: float | None = None) -> Answer:
        """Send a request and read its answer. `answer_within` replaces the read timeout once the body is sent.

        Raises: TransientError for a connection that breaks, RegistryTimeoutError, RegistryUnavailableError,
        ResponseTooLargeError; and what the body's iterator raises.
        """
        origin = origin_of(request.url)
        connection = self._take(origin, request)
        try:
            _send(connection, request, body)
            answer, reusable = self._receive(connection, request, answer_within)
        except _SOCKET_ERRORS as error:
            connection.close()
            raise broken_socket(request.inquiry, error) from None
        except BaseException:
            connection.close()
            raise
        if reusable:
            self._give_back(origin, connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close every connection that nobody uses."""
        with self._lock:
            kept = [each.connection for connections in self._kept.values() for each in connections]
            self._kept.clear()
        for connection in kept:
            connection.close()

    def _take(self, origin: str, request: Request) -> http.client.HTTPConnection:
        while kept := self._pop(origin):
            if self._clock() < kept.until and not _has_ended(kept.connection):
                return kept.connection
            kept.connection.close()
        url = urlsplit(request.url)
        connection = self._connection(url, find_proxy(url))
        try:
            connection.connect()
        except _SOCKET_ERRORS as error:
            connection.close()
            raise broken_socket(request.inquiry, error, connecting=True) from None
        connection.sock.settimeout(self._timeouts.read)
        return connection

    def _pop(self, origin: str) -> _Kept | None:
        with self._lock:
            return self._kept[origin].pop() if self._kept[origin] else None

    def _give_back(self, origin: str, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._kept[origin]) < _KEPT_PER_ORIGIN:
                self._kept[origin].append(_Kept(connection, self._clock() + _KEPT_SECONDS))
                return
        connection.close()

    def _connection(self, url: SplitResult, proxy: Proxy | None) -> http.client.HTTPConnection:
        secure = url.scheme == "https"
        host, port = url.hostname or "", url.port or (443 if secure else 80)
        at_host, at_port = (host, port) if proxy is None else (proxy.host, proxy.port)
        if secure:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                at_host, at_port, timeout=self._timeouts.connect, context=self._tls_context()
            )
        else:
            connection = http.client.HTTPConnection(at_host, at_port, timeout=self._timeouts.connect)
        if proxy is not None:
            connection.set_tunnel(host, port, dict(proxy.headers))
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = self._make_tls()
            return self._tls

    def _receive(
        self, connection: http.client.HTTPConnection, request: Request, within: float | None
    ) -> tuple[Answer, bool]:
        if within is not None:
            connection.sock.settimeout(within)
        with connection.getresponse() as response:
            if connection.sock is not None:  # else the answer ends with its connection
                connection.sock.settimeout(self._timeouts.read)
            body = self._read(response, request.inquiry)
            return Answer(response.status, Headers(response.getheaders()), body), not response.will_close

    def _read(self, response: http.client.HTTPResponse, inquiry: Inquiry) -> bytes:
        deadline = self._clock() + self._timeouts.total
        body = bytearray()
        while piece := response.read(_PIECE_BYTES):
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise inquiry.error(ResponseTooLargeError, f"it sends more than {MAX_ANSWER_BYTES} bytes")
            if self._clock() >= deadline:
                raise inquiry.error(RegistryTimeoutError, f"its answer took more than {self._timeouts.total:g} seconds")
        return bytes(body)


def broken_socket(inquiry: Inquiry, error: Exception, *, connecting: bool = False) -> Exception:
    """Tell what an exception of a socket means, in words that hold nothing of the URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return inquiry.error(RegistryUnavailableError, "its TLS certificate is not to be trusted")
    if isinstance(error, TimeoutError):
        cause = "it takes no connection in time" if connecting else "it neither takes nor sends anything for too long"
        timeout = inquiry.error(RegistryTimeoutError, cause)
        return TransientError(timeout) if connecting else timeout
    if isinstance(error, socket.gaierror):
        return TransientError(inquiry.error(RegistryUnavailableError, "its name cannot be resolved"))
    if isinstance(error, ConnectionRefusedError):
        return TransientError(inquiry.error(RegistryUnavailableError, "it takes no connection"))
    if isinstance(error, OSError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return TransientError(inquiry.error(RegistryUnavailableError, "the connection broke"))
    return inquiry.error(RegistryUnavailableError, f"it does not speak HTTP as it should ({type(error).__name__})")


def _send(connection: http.client.HTTPConnection, request: Request, body: Body | None) -> None:
    url = urlsplit(request.url)
    connection.putrequest(
        request.method, f"{url.path}?{url.query}" if url.query else url.path, skip_host=True, skip_accept_encoding=True
    )
    connection.putheader("Host", url.netloc)
    connection.putheader("User-Agent", "pullahead")
    connection.putheader("Accept-Encoding", "identity")
    for name, value in request.headers.items():
        connection.putheader(name, value)
    if body is None:
        if request.method not in ("GET", "HEAD"):
            connection.putheader("Content-Length", "0")
        connection.endheaders()
        return
    connection.putheader("Content-Length", str(body.size))
    connection.endheaders()
    _send_pieces(connection.sock, body)


def _send_pieces(sock: socket.socket, body: Body) -> None:
    left = body.size
    for piece in body.pieces:
        left -= len(piece)
        if left < 0:
            raise ValueError(f"a body of {body.size} bytes goes on after its end")
        try:
            sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return  # it may have answered before it hung up: the answer, or that there is none, says what is wrong
    if left:
        raise ValueError(f"a body of {body.size} bytes ends {left} bytes too early")


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Tell whether a connection that nobody uses was closed by the other end, or has something unasked for to read."""
    if connection.sock is None:
        return True
    watch = select.poll()
    watch.register(connection.sock, select.POLLIN)
    return bool(watch.poll(0))
