"""Kept-alive HTTP/1.1 connections at the lowest cost: one request, its body from pieces, one small answer.

Decides how bytes go over a socket; refuses to know registries, tokens, redirects and retries. What a body's iterator
raises goes through, after the connection is closed: the other end then sees a request that was cut off.

Source: RFC 9112 (HTTP/1.1), sections 6.3 (Content-Length) and 9.3 (persistence).
"""

import contextlib
import http.client
import select
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from pullahead.errors import RegistryTimeoutError, ResponseTooLargeError
from pullahead.registry.address_guard import Guard, Passage
from pullahead.registry.dialing import Certificates, Dialer, system_trust, trusting_context
from pullahead.registry.failures import SOCKET_ERRORS, Inquiry, broken_connection
from pullahead.registry.responses import Response
from pullahead.registry.transport import Request, Timeouts, origin_of

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""The most that an answer's body may have: as much as a manifest."""

_KEPT_PER_ORIGIN = 16
_KEPT_SECONDS = 60.0  # servers close idle connections after about as long
_PIECE_BYTES = 64 * 1024
_COMMON_HEADERS = {"User-Agent": "pullahead", "Accept-Encoding": "identity"}


class Answer(NamedTuple):
    """What came back, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Body(NamedTuple):
    """What to send: pieces that have so many bytes together."""

    pieces: Iterable[bytes | memoryview]
    size: int


Dial = Callable[[SplitResult, Passage, Inquiry], http.client.HTTPConnection]
"""Makes a connection, not yet connected, for an address, as far as its passage goes."""

_ANYWHERE = Passage(inward=True)


class _Place(NamedTuple):
    """What a kept connection is good for: nobody gets one that the guard would not have let him make."""

    origin: str
    passage: Passage


class _Kept(NamedTuple):
    connection: http.client.HTTPConnection
    until: float


class Connections:
    """A pool of connections that several threads may use at once; each has one for as long as its request takes.

    Without a guard they lead wherever they are told: for registries that an operator chose and that redirect nowhere.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        tls: Callable[[], ssl.SSLContext] = trusting_context,
        certificates: Certificates = system_trust,
        guard: Guard | None = None,
        dial: Dial | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeouts, self._clock, self._guard = timeouts, clock, guard
        self._dial = dial if dial is not None else Dialer(tls, certificates, guard).dial
        self._kept: defaultdict[_Place, list[_Kept]] = defaultdict(list)
        self._lock = threading.Lock()

    def open(
        self,
        request: Request,
        body: Body | None = None,
        *,
        within: float | None = None,
        answer_within: float | None = None,
    ) -> Response:
        """Send a request and return the answer with its body unread.

        `within` bounds the timeouts of connecting and of reading; `answer_within` is how long the answer to a body may
        take. Raises: TransientError for a connection that breaks, RegistryTimeoutError, RegistryUnavailableError,
        AccessDeniedError by the guard; and what the body's iterator raises.
        """
        passage = _ANYWHERE if self._guard is None else self._guard.admit(request)
        place = _Place(origin_of(request.url), passage)
        connect, read = self._timeouts.connect, self._timeouts.read
        if within is not None:
            connect, read = min(connect, within), min(read, within)
        connection = self._take(place, request, connect)
        try:
            with _translated(request.inquiry):
                connection.sock.settimeout(read)
                _send_head(connection, request, body)
            if body is not None:
                _send_pieces(connection.sock, request.inquiry, body)
            with _translated(request.inquiry):
                if answer_within is not None:
                    connection.sock.settimeout(answer_within)
                response = connection.getresponse()
                if connection.sock is not None:  # else the answer ends with its connection
                    connection.sock.settimeout(read)
        except BaseException:
            connection.close()
            raise
        return Response(request.url, response, partial(self._finish, place, connection))

    def send(self, request: Request, body: Body | None = None, *, answer_within: float | None = None) -> Answer:
        """Send a request and read its small answer to the end.

        Raises: as `open`, and ResponseTooLargeError.
        """
        with self.open(request, body, answer_within=answer_within) as response:
            with _translated(request.inquiry):
                content = self._read(response, request.inquiry)
            return Answer(response.status_code, response.headers, content)

    def close(self) -> None:
        """Close every connection that nobody uses."""
        with self._lock:
            kept = [each.connection for connections in self._kept.values() for each in connections]
            self._kept.clear()
        for connection in kept:
            connection.close()

    def _finish(self, place: _Place, connection: http.client.HTTPConnection, reusable: bool) -> None:
        if reusable:
            self._give_back(place, connection)
        else:
            connection.close()

    def _take(self, place: _Place, request: Request, timeout: float) -> http.client.HTTPConnection:
        while kept := self._pop(place):
            if self._clock() < kept.until and not _has_ended(kept.connection):
                return kept.connection
            kept.connection.close()
        connection = self._dial(urlsplit(request.url), place.passage, request.inquiry)
        connection.timeout = timeout
        try:
            with _translated(request.inquiry, connecting=True):
                connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def _pop(self, place: _Place) -> _Kept | None:
        with self._lock:
            return self._kept[place].pop() if self._kept[place] else None

    def _give_back(self, place: _Place, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._kept[place]) < _KEPT_PER_ORIGIN:
                self._kept[place].append(_Kept(connection, self._clock() + _KEPT_SECONDS))
                return
        connection.close()

    def _read(self, response: Response, inquiry: Inquiry) -> bytes:
        deadline = self._clock() + self._timeouts.total
        body = bytearray()
        while piece := response.read1(_PIECE_BYTES):
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise inquiry.error(ResponseTooLargeError, f"it sends more than {MAX_ANSWER_BYTES} bytes")
            if self._clock() >= deadline:
                raise inquiry.error(RegistryTimeoutError, f"its answer took more than {self._timeouts.total:g} seconds")
        return bytes(body)


@contextlib.contextmanager
def _translated(inquiry: Inquiry, *, connecting: bool = False) -> Iterator[None]:
    try:
        yield
    except SOCKET_ERRORS as error:
        raise broken_connection(inquiry, error, connecting=connecting) from None


def _send_head(connection: http.client.HTTPConnection, request: Request, body: Body | None) -> None:
    url = urlsplit(request.url)
    target = f"{url.path}?{url.query}" if url.query else url.path
    connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", url.netloc)
    for name, value in (*_COMMON_HEADERS.items(), *request.headers.items()):
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(body.size))
    elif request.method not in ("GET", "HEAD"):
        connection.putheader("Content-Length", "0")
    connection.endheaders()


def _send_pieces(sock: socket.socket, inquiry: Inquiry, body: Body) -> None:
    left = body.size
    for piece in body.pieces:
        left -= len(piece)
        if left < 0:
            raise ValueError(f"a body of {body.size} bytes goes on after its end")
        try:
            sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return  # it may have answered before it hung up: the answer, or that there is none, says what is wrong
        except OSError as error:
            raise broken_connection(inquiry, error) from None
    if left:
        raise ValueError(f"a body of {body.size} bytes ends {left} bytes too early")


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Tell whether a connection that nobody uses was closed by the other end, or has something unasked for to read."""
    if connection.sock is None:
        return True
    watch = select.poll()
    watch.register(connection.sock, select.POLLIN)
    return bool(watch.poll(0))
