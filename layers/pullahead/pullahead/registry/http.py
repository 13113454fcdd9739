"""HTTP by requests: to addresses that the guard has judged, by deadlines, bodies as they are sent. Retries nothing.

requests gets everything from here, nothing from the environment: no .netrc, no cookies, no redirects, no decoding, no
certificates of its own. Its connections (urllib3's) are opened by the address guard, so that the address that was
judged is the one connected to, and come from pools of which each belongs to one origin, one permission of the guard,
one proxy and one set of certificates. Proxies of the environment are used as tunnels.

Sources: RFC 9112 (HTTP/1.1), sections 5.2 (folded lines), 6.3 (message body length) and 9.3 (persistence); RFC 9110,
section 9.3.6.
"""

import errno
import functools
import http.client
import io
import logging
import re
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast
from urllib.parse import SplitResult, quote, urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pullahead.errors import ConfigError, RegistryTimeoutError, RegistryUnavailableError, ResponseTooLargeError
from pullahead.registry.address_guard import ANYWHERE, Guard, Permission, open_anywhere
from pullahead.registry.content_coding import CodingError, coding_of, decode
from pullahead.registry.errors import SOCKET_ERRORS, TransientError, broken_connection, is_without_tls
from pullahead.registry.hosts import registry_at
from pullahead.registry.request import Body, Inquiry, ReadResponse, Request, Timeouts, origin_of, port_of, single_value
from pullahead.registry.sockets import (
    DeadlineSocket,
    DeadlineTlsSocket,
    Proxy,
    file_trust,
    find_proxy,
    no_verification,
    own_trust,
    system_trust,
    with_deadline,
)

if TYPE_CHECKING:
    _Base = HTTPConnection
    _PoolBase = HTTPConnectionPool
else:
    _Base = _PoolBase = object

_LOG = logging.getLogger(__name__)

BLOCK_BYTES = 256 * 1024
"""How large the pieces are in which bodies are read. Larger ones were measured to be no faster."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""The most that an answer's body may have: as much as a manifest."""

_MAX_POOLS = 100
_CONNECTIONS_PER_POOL = 32  # as many as threads ask one origin at once
_KEPT_SECONDS = 60.0  # servers close idle connections after about as long
_SMALL_BYTES = 64 * 1024
_STALLED_SECONDS = 1.0  # for an answer that has come while nobody read a request
_COMMON_HEADERS = {"User-Agent": "pullahead", "Accept-Encoding": "identity"}
_IN_TARGETS = "/?:@!$&'()*+,;=%"  # characters that are sent as they are, besides letters, digits and `-._~`
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"[ \t]*+(0*[0-9A-Fa-f]{1,15})[ \t]*+(?:;[^\n]*+)?\r?\n")
_MAX_LINE_BYTES = 64 * 1024
_MAX_FIELDS = 100
_FIELD = re.compile(r"([\w!#$%&'*+.^`|~-]++):[ \t]*+([^\r\n]*+)\r?\n", re.ASCII)
_FOLD = re.compile(r"(?<![ \t])[ \t]*+\r?\n[ \t]++")
_BODILESS = frozenset({101, 204, 304})
_HUNG_UP = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE})  # the last is macOS's
_TUNNEL_FAILED = re.compile(r"Tunnel connection failed: ([0-9]{3})")

Certificates = Callable[[str], str | None]
"""Finds the certificates, as PEM, that alone are trusted for a registry; None for those that are trusted anyway."""


def no_certificates(_: str) -> str | None:
    """Find no certificates of a registry's own."""
    return None


class Trust(NamedTuple):
    """Whose certificates count: those of a file, or the system's; a host's own; none for insecure hosts."""

    ca: str | None = None
    certificates: Certificates = no_certificates
    insecure: Collection[str] = ()

    @property
    def common(self) -> ssl.SSLContext:
        """The TLS settings for whatever has none of its own, proxies too. Raises OSError for an unreadable file."""
        return system_trust() if self.ca is None else file_trust(self.ca)

    def context_for(self, url: SplitResult) -> ssl.SSLContext:
        """Find the TLS settings for an address. Raises ConfigError for certificates that cannot be read."""
        registry = registry_at(url)
        if registry in self.insecure:
            return no_verification()
        pem = self.certificates(registry)
        if pem is None:
            return self.common
        try:
            return own_trust(pem)
        except (ssl.SSLError, ValueError):
            cause = (
                f"the certificates to trust for {url.netloc} cannot be read; `ca` of this host in the rules wants PEM"
            )
            raise ConfigError(cause) from None


_SYSTEM_TRUST = Trust()


_WRAPPERS = (requests.RequestException, urllib3.exceptions.HTTPError)
_HTTP_ERRORS = (*_WRAPPERS, *SOCKET_ERRORS)
_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Route(NamedTuple):
    """What connections of one pool have in common: a request gets only one that the guard would let it open."""

    origin: str
    permission: Permission
    proxy: Proxy | None
    tls: ssl.SSLContext | None


class _Call(NamedTuple):
    """What a connection must know of the request that it is lent to."""

    method: str
    url: SplitResult
    route: _Route
    inquiry: Inquiry
    is_led_here: bool  # by another host than the one that was asked first
    connect_seconds: float
    read_seconds: float
    answer_seconds: float | None
    until: float  # by time.monotonic(): the answer's head must have come
    guard: Guard | None
    trust: Trust
    outgoing: "_Outgoing | None" = None

    def open_socket(self) -> DeadlineSocket | DeadlineTlsSocket:
        """Connect to the address, or to the proxy for it. Raises AccessDeniedError, TransientError, RegistryError."""
        proxy = self.route.proxy
        if proxy is None:
            return self._connect(self.url, self.guard, self.inquiry_by_host)
        if self.guard is not None:
            self.guard.check_name(self.url, self.route.permission, self.inquiry)
        inquiry = self.inquiry._replace(by_way_of=self.proxy_name)
        sock = self._connect(proxy.url, None, inquiry)
        if not proxy.by_tls:
            return sock
        try:
            secured = cast("DeadlineTlsSocket", self.trust.common.wrap_socket(sock, server_hostname=proxy.host))
        except SOCKET_ERRORS as error:
            sock.close()
            raise broken_connection(inquiry, error, connecting=True) from None
        secured.limit(self.until)
        return secured

    def _connect(self, url: SplitResult, guard: Guard | None, inquiry: Inquiry) -> DeadlineSocket:
        try:
            if guard is None:
                opened = open_anywhere(url, self.seconds_to_connect())
            else:
                opened = guard.connect(url, self.route.permission, self.inquiry, self.seconds_to_connect)
        except SOCKET_ERRORS as error:
            raise broken_connection(inquiry, error, connecting=True) from None
        sock = with_deadline(opened)
        sock.setsockopt(*_NO_DELAY)
        sock.settimeout(self.seconds_to_connect())
        sock.limit(self.until)
        return sock

    def seconds_to_connect(self) -> float:
        """Tell how long connecting may go on."""
        return max(0.001, min(self.connect_seconds, self.until - time.monotonic()))

    @property
    def inquiry_by_host(self) -> Inquiry:
        """The inquiry, which names the host if that is not the one of the reference."""
        must_name = self.is_led_here and not self.inquiry.by_way_of
        return self.inquiry._replace(by_way_of=self.url.netloc) if must_name else self.inquiry

    @property
    def proxy_name(self) -> str:
        """Name the proxy of this call for errors; "" for none."""
        proxy = self.route.proxy
        return "" if proxy is None else f"proxy {proxy.url.netloc}"

    def tunnel_refused(self, error: BaseException) -> Exception:
        """Make the error for a proxy that makes no tunnel."""
        inquiry = self.inquiry._replace(by_way_of=self.proxy_name)
        status = _TUNNEL_FAILED.match(str(error))
        if status is None:
            return broken_connection(inquiry, error, connecting=True)
        variable = f"{self.url.scheme.upper()}_PROXY"
        login = f"Its user and password belong into {variable}: http://USER:PASSWORD@HOST:PORT."
        exempt = f"Allow it there, or name it in NO_PROXY to connect without {variable}."
        advice = login if status[1] in ("401", "407") else exempt  # tinyproxy answers a wrong password by 401
        cause = f"the proxy does not connect to {self.url.netloc}"
        failure = inquiry.error(RegistryUnavailableError, cause, status=int(status[1]), advice=advice)
        return TransientError(failure) if status[1] >= "500" else failure


class _Guarded(_Base):
    """A connection that is opened by the guard, keeps deadlines, and goes through the proxy of its pool."""

    call: _Call
    timed: DeadlineSocket | DeadlineTlsSocket
    is_nested: bool  # TLS within TLS
    idle_since = float("-inf")
    tls_failure: BaseException | None = None
    has_stalled = False  # sending: nobody reads
    putheader = http.client.HTTPConnection.putheader  # urllib3's looks for values that none of ours has

    def open(self) -> None:
        """Connect, unless it was kept. Raises AccessDeniedError, TransientError, RegistryError."""
        if self.sock is None:
            self.connect()

    @property
    def has_decrypted(self) -> bool:
        """Whether a record of TLS went on after the last answer: that is not seen on the socket."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def _new_conn(self) -> socket.socket:
        return self.call.open_socket()

    def connect(self) -> None:
        call, proxy = self.call, self.call.route.proxy
        if proxy is not None:
            headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            scheme = "https" if proxy.by_tls else "http"
            self.set_tunnel(call.url.hostname or "", port_of(call.url), headers, scheme=scheme)
        try:
            super().connect()
        except SOCKET_ERRORS as error:  # of TLS: whatever else can fail has raised an error of ours
            self.tls_failure = error
            inquiry = call.inquiry_by_host
            if proxy is not None:
                inquiry = inquiry._replace(by_way_of=f"through {call.proxy_name}")
            raise broken_connection(inquiry, error, connecting=True) from None
        # Of TLS within TLS the outer one is what bytes come from.
        self.timed = cast("DeadlineSocket", getattr(self.sock, "socket", self.sock))
        self.is_nested = self.timed is not self.sock
        self.timed.limit(call.until)

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
        except SOCKET_ERRORS as error:
            raise self.call.tunnel_refused(error) from None

    def send_request(self, request: "_Prepared") -> None:
        """Send a request. Its answer may have come before its body was sent, and nobody read on, or the connection end.

        A block may take as long as reading may; all of them together, any time.
        """
        call, self.has_stalled = self.call, False
        self.timed.settimeout(call.read_seconds)
        try:
            self.putrequest(request.method or "", _target(call.url), skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                self.putheader(name, value)
            self.endheaders()
            for block in call.outgoing or ():
                self.send(block)
        except TimeoutError:
            self.has_stalled = True
        except OSError as error:
            if error.errno not in _HUNG_UP:
                raise

    def read_answer(self, pool: "_Pool") -> urllib3.HTTPResponse:
        """Read the head of the answer. One without a body gives the connection back to its pool."""
        call, outgoing, now = self.call, self.call.outgoing, time.monotonic()
        seconds = call.answer_seconds or call.read_seconds
        if self.has_stalled:
            seconds, until = _STALLED_SECONDS, now + _STALLED_SECONDS
        elif call.answer_seconds is not None:
            until = now + seconds
        else:
            until = call.until if outgoing is None else max(call.until, now + seconds)
        self.timed.limit(until)
        self.timed.settimeout(seconds)
        answer = http.client.HTTPConnection.getresponse(self)  # urllib3's own would look for errors of mail in it
        if outgoing is not None and not outgoing.is_sent and self.sock is not None:
            # An early answer: the rest of the body cannot follow any more, and nothing else may.
            self.sock.close()  # only after the answer was read
            self.sock = None
        is_over = answer.length == 0 and not answer.chunked
        if is_over:
            answer.close()
        response = urllib3.HTTPResponse(
            answer,
            cast("urllib3.HTTPHeaderDict", answer.headers),
            answer.status,
            answer.version,
            reason=answer.reason,
            preload_content=False,
            decode_content=False,
            original_response=answer,
            pool=pool,
            connection=None if is_over else self,
            request_method=self.call.method,
        )
        if is_over:
            pool.give_back(self)
        return response


def _target(url: SplitResult) -> str:
    """Name the path and query of a URL as it is sent: to a proxy, too, which is a tunnel."""
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    return quote(target, _IN_TARGETS)


class _FinalResponse(http.client.HTTPResponse):
    """A response, after those that are only informational: http.client takes any but 100 for the answer.

    A length that stands twice in one header, or in quotes, is read all the same (RFC 9110, section 8.6).
    """

    def begin(self) -> None:
        """Read the status line and the header fields, and find out how the body ends.

        As http.client does, which has a parser of mail for the fields: half of what it takes to read an answer.
        """
        version, self.status, reason = self._read_status()
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        if self.version == 11 and not version.startswith("HTTP/1."):
            raise http.client.UnknownProtocol(version)
        self.code, self.reason = self.status, reason.strip()
        fields = _read_fields(self.fp)
        self.headers = self.msg = cast("Any", fields)  # http.client wants no more of them than any mapping does
        codings = _transfer_codings(fields)
        length = single_value(fields, "Content-Length")
        self.chunked, self.chunk_left, self.length = bool(codings), None, None
        has_no_body = self._method == "HEAD" or self.status in _BODILESS  # type: ignore[attr-defined]
        if has_no_body:
            self.chunked, self.length = False, 0
        elif not codings and _LENGTH.fullmatch(length):
            self.length = int(length)
        ends_with_connection = self.length is None and not self.chunked
        # What a server says to follow will follow, be it to an answer that has no body.
        is_followed = self.status == http.HTTPStatus.SWITCHING_PROTOCOLS or (
            self.status == http.HTTPStatus.NO_CONTENT and (codings or length not in ("", "0"))
        )
        self.will_close = bool(ends_with_connection or is_followed or self._check_close())  # type: ignore[attr-defined]

    def _read_next_chunk_size(self) -> int:
        """Read a chunk's size: hexadecimal digits alone, of which int() would take more. Raises ValueError."""
        size = _CHUNK_SIZE.fullmatch(self.fp.readline(_MAX_LINE_BYTES))
        if size is None:
            raise ValueError("this is no chunk's size")
        return int(size[1], 16)

    def _read_status(self) -> tuple[str, int, str]:
        while True:  # until the deadline of the socket
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS or not 100 <= status < 200:
                return version, status, reason
            _read_fields(self.fp)


def _transfer_codings(fields: urllib3.HTTPHeaderDict) -> set[str]:
    """Read how a body is coded for the transfer: chunked or not at all. Raises http.client.HTTPException for others."""
    named = {each.strip().lower() for each in ",".join(fields.getlist("Transfer-Encoding", [])).split(",")}
    codings = named - {"", "identity"}
    if codings - {"chunked"}:
        raise http.client.HTTPException("the transfer coding is unknown")
    return codings


def _read_fields(lines: Any) -> urllib3.HTTPHeaderDict:
    """Read header fields and the empty line after them. Raises http.client.HTTPException for too much."""
    texts: list[str] = []
    while (line := lines.readline(_MAX_LINE_BYTES + 1)) not in (b"\r\n", b"\n", b""):
        if len(line) > _MAX_LINE_BYTES or len(texts) == _MAX_FIELDS:
            raise http.client.HTTPException("the header is too long")
        texts.append(line.decode("latin-1"))
    fields = urllib3.HTTPHeaderDict()
    for text in texts:
        field = _FIELD.fullmatch(text)
        if field is None:  # a folded line, or what is no field: http.client reads as much of it as can be read
            whole = _FOLD.sub(" ", "".join(texts))
            return urllib3.HTTPHeaderDict(http.client.parse_headers(io.BytesIO(whole.encode("latin-1"))).items())
        fields.add(field[1], field[2])
    return fields


class _Connection(_Guarded, HTTPConnection):
    response_class = _FinalResponse


class _TlsConnection(_Guarded, HTTPSConnection):
    response_class = _FinalResponse

    def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> ssl.SSLSocket:  # noqa: ARG002
        return cast("ssl.SSLSocket", sock)  # it was done when the socket was opened


class _Pool(_PoolBase):
    """Kept connections of one route."""

    clock: Callable[[], float]

    def take(self, call: _Call) -> _Guarded:
        """Take a connection for a call: a kept one, or one that is to be connected."""
        connection = cast("_Guarded", self._get_conn())  # urllib3 closes one on which something more has come
        if self.clock() - connection.idle_since >= _KEPT_SECONDS or connection.has_decrypted:
            connection.close()
        connection.call = call
        return connection

    def give_back(self, connection: _Guarded) -> None:
        """Keep a connection, or close it if there are enough."""
        connection.idle_since = self.clock()
        connection.__dict__.pop("call", None)  # it knows the request and its body
        super()._put_conn(connection)

    def discard(self, connection: _Guarded) -> None:
        """Close a connection, and leave its place to another one."""
        connection.close()
        super()._put_conn(None)

    def _put_conn(self, conn: Any) -> None:  # by urllib3, when an answer was read to its end or closed
        self.give_back(conn)

    def speaks_tls(self, call: _Call) -> bool | None:
        """Connect, and return whether the host speaks TLS; None if that is not known. Raises AccessDeniedError."""
        connection = self.take(call)
        try:
            connection.open()
        except (TransientError, RegistryUnavailableError, RegistryTimeoutError):
            self.discard(connection)
            return False if is_without_tls(connection.tls_failure) else None
        self.give_back(connection)
        return True


class _PlainPool(_Pool, HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Prepared(requests.PreparedRequest):
    call: _Call


class _GuardedAdapter(BaseAdapter):
    """Takes connections from pools by route, the latest of which are kept; requests' own are by host only.

    requests' own adapter and urllib3's `urlopen` know redirects, retries, proxies and certificates of their own, which
    are not wanted here, and take as long as TLS does for a request without a body.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._pools: OrderedDict[_Route, _Pool] = OrderedDict()
        self._lock = threading.Lock()

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Send a request once, and read the head of its answer."""
        prepared = cast("_Prepared", request)
        pool = self.pool_for(prepared.call)
        connection = pool.take(prepared.call)
        was_kept = connection.sock is not None
        try:
            connection.open()
            connection.send_request(prepared)
            answer = connection.read_answer(pool)
        except BaseException as error:
            pool.discard(connection)
            if was_kept and isinstance(error, http.client.BadStatusLine):  # what is left of an earlier answer
                raise http.client.RemoteDisconnected("the connection was kept") from None
            raise
        if _LOG.isEnabledFor(logging.DEBUG):  # without the query, which may be a signature
            _LOG.debug("%s %s: %s", request.method, re.sub(r"\?.*", "?…", request.url or ""), answer.status)
        response = requests.Response()
        response.status_code, response.raw = answer.status, answer
        return response

    def pool_for(self, call: _Call) -> _Pool:
        """Find the pool for a call."""
        with self._lock:
            pool = self._pools.get(call.route)
            if pool is None:
                pool = self._pools[call.route] = self._new_pool(call)
            self._pools.move_to_end(call.route)
            superfluous = self._pools.popitem(last=False)[1] if len(self._pools) > _MAX_POOLS else None
        if superfluous is not None:
            HTTPConnectionPool.close(superfluous)
        return pool

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            HTTPConnectionPool.close(pool)

    def _new_pool(self, call: _Call) -> _Pool:
        host, port = call.url.hostname or "", port_of(call.url)
        sizes: dict[str, Any] = {"maxsize": _CONNECTIONS_PER_POOL, "blocksize": BLOCK_BYTES}
        pool: _Pool
        if call.route.tls is None:
            pool = _PlainPool(host, port, **sizes)
        else:
            pool = _TlsPool(host, port, ssl_context=call.route.tls, **sizes)
        pool.clock = self._clock
        return pool


class _Headers(Mapping[str, str]):
    """The headers of a response by names in any letters; those of one name joined by commas.

    urllib3's own find each value anew, which takes as long as all else that is done with the answer to a HEAD.
    """

    def __init__(self, headers: urllib3.HTTPHeaderDict) -> None:
        self._values = {name.lower(): value for name, value in headers.itermerged()}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """Find a value."""
        return self._values.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Response:
    """What a registry answered. To be closed; its connection is kept if the body was read to its end."""

    def __init__(self, request: Request, response: requests.Response) -> None:
        self.url, self.status_code = request.url, response.status_code
        self.headers: Mapping[str, str] = _Headers(response.raw.headers)
        self._inquiry, self._response, self._raw = request.inquiry, response, response.raw
        self._ahead: int | None = None  # bytes that were received and not yet read; None: not known yet
        self._timed: DeadlineSocket | DeadlineTlsSocket | None = getattr(self._raw.connection, "timed", None)
        # http.client takes a chunk that comes bit by bit for a broken one, and so does TLS a record within another TLS.
        self._comes_by_calls = self._raw.chunked or getattr(self._raw.connection, "is_nested", True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def length(self) -> int | None:
        """How long the body is said to be; None if it is not said, cannot be true, or chunks tell it."""
        text = "" if self._raw.chunked else single_value(self.headers, "Content-Length")
        return int(text) if _LENGTH.fullmatch(text) else None

    @property
    def coding(self) -> str:
        """How the body is said to be encoded, although identity was asked for; "" if it is not."""
        return coding_of(self.headers.get("Content-Encoding", ""))

    def limit(self, seconds: float) -> None:
        """Let what is read of the body come within so many seconds."""
        if self._timed is not None and not self._is_released:
            self._timed.limit(time.monotonic() + seconds)

    def read(self, size: int) -> bytes:
        """Read `size` bytes as sent, fewer only at the end: b"" if nothing is left.

        Raises: TransientError, RegistryError.
        """
        if self._is_released:
            return b""
        try:
            return self._raw.read(size, decode_content=False) or b""
        except _HTTP_ERRORS as error:
            raise broken_connection(self._inquiry, _cause_of(error)) from None

    def read_piece(self, seconds: float) -> bytes:
        """Read a block as sent, or less if no more comes within a second: b"" at the end. Wait at most `seconds`.

        What came before an error is returned; the error is raised by the next call. Raises as `read`.
        """
        if self._is_released:
            return b""
        timed = self._timed
        try:
            if timed is None or self._comes_by_calls:
                self.limit(seconds)
                return self._raw.read1(BLOCK_BYTES, decode_content=False) or b""
            timed.begin_piece(has_begun=bool(self._ahead))
            # An unknown part of the first piece may have come with the head: it is taken as it is.
            read = self._raw.read1 if self._ahead is None else self._raw.read
            piece: bytes = read(BLOCK_BYTES, decode_content=False) or b""
            self._ahead = 0 if self._ahead is None else self._ahead + timed.received - len(piece)
            if not piece:
                timed.raise_failure()
        except _HTTP_ERRORS as error:
            failure = (timed.failure if timed is not None else None) or _cause_of(error)
            raise broken_connection(self._inquiry, failure) from None
        return piece

    def close(self) -> None:
        """Give the connection back, or end it if something was left unread."""
        if self._is_released:
            return
        if self._raw.length_remaining == 0:
            self.read(1)  # reads nothing; lets http.client know that the body is over
        self._response.close()

    @property
    def _is_released(self) -> bool:
        """Whether the connection may be another request's by now."""
        return self._raw.connection is None


class _PiecesError(Exception):
    """Carries what the iterator of a body raised past urllib3, which would take it for an error of the connection."""


def _blocks(piece: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """Divide a piece into what is sent by one call, which one timeout bounds."""
    view = memoryview(piece)
    for begin in range(0, len(view), BLOCK_BYTES):
        yield view[begin : begin + BLOCK_BYTES]


class _Outgoing:
    """A body that is sent block by block."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.is_sent = False
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes | memoryview]:
        left = self._body.size
        for piece in self._pieces():
            left -= len(piece)
            if left < 0:
                raise ValueError(f"a body of {self._body.size} bytes goes on after its end")
            yield from _blocks(piece)
        if left:
            raise ValueError(f"a body of {self._body.size} bytes ends {left} bytes too early")
        self.is_sent = True

    def _pieces(self) -> Iterator[bytes | memoryview]:
        try:
            yield from self._body.pieces
        except Exception as error:  # noqa: BLE001 - it is raised again by whoever sends
            self.failure = error
            raise _PiecesError from None


class _Session(requests.Session):
    """A session that follows no redirect, keeps no cookie, and asks the environment nothing."""

    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        self.trust_env = False
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def send(self, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        """Send a request as it is, and nothing else.

        requests' own `send` keeps cookies, and reads the body of a redirect whole, even when it shall not follow it.
        """
        return self.get_adapter(request.url or "").send(request, **named)


class HttpClient:
    """Sends requests. May be used by several threads at once.

    Without a guard connections lead anywhere: for registries that an operator chose and that redirect nowhere.
    `clock` tells for how long a connection was idle.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        trust: Trust = _SYSTEM_TRUST,
        guard: Guard | None = None,
        adapter: BaseAdapter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeouts, self._trust, self._guard = timeouts, trust, guard
        self._adapter = _GuardedAdapter(clock)
        self._session = _Session(adapter or self._adapter)
        self._proxy_for = functools.lru_cache(maxsize=_MAX_POOLS)(find_proxy)

    def open(
        self,
        request: Request,
        body: Body | None = None,
        *,
        within: float | None = None,
        answer_within: float | None = None,
    ) -> Response:
        """Send a request and return the answer with its body unread.

        The head of the answer must have come `within` so many seconds, or `answer_within` after the body was sent. What
        the body's iterator raises goes through, after the connection is closed. Raises: TransientError for a connection
        that breaks, RegistryTimeoutError, RegistryUnavailableError, AccessDeniedError by the guard, ConfigError.
        """
        outgoing = None if body is None else _Outgoing(body)
        call = self._call(request, within, answer_within, outgoing)
        try:
            response = self._session.send(
                _prepare(request, outgoing, 0 if body is None else body.size, call),
                stream=True,
                timeout=(call.connect_seconds, answer_within or call.read_seconds),
            )
        except _PiecesError:
            raise cast("Exception", outgoing and outgoing.failure) from None
        except _HTTP_ERRORS as error:
            raise broken_connection(request.inquiry, _cause_of(error)) from None
        return Response(request, response)

    def send(self, request: Request, body: Body | None = None, *, answer_within: float | None = None) -> ReadResponse:
        """Send a request and read its small answer to the end.

        Raises: as `open`, and ResponseTooLargeError.
        """
        with self.open(request, body, answer_within=answer_within) as response:
            response.limit(self._timeouts.total)
            return ReadResponse(
                response.status_code, response.headers, read_all(response, request.inquiry, MAX_ANSWER_BYTES)
            )

    def speaks_tls(self, request: Request) -> bool | None:
        """Connect, and return whether the host of a request speaks TLS, where that is asked for.

        None if it does not answer. Raises AccessDeniedError.
        """
        call = self._call(request)
        return self._adapter.pool_for(call).speaks_tls(call)

    def close(self) -> None:
        """Close every idle connection."""
        self._adapter.close()

    def _call(
        self,
        request: Request,
        within: float | None = None,
        answer_within: float | None = None,
        outgoing: _Outgoing | None = None,
    ) -> _Call:
        url = urlsplit(request.url)
        permission = ANYWHERE if self._guard is None else self._guard.admit(request)
        tls = self._trust.context_for(url) if url.scheme == "https" else None
        seconds = self._timeouts.total if within is None else within
        return _Call(
            request.method,
            url,
            _Route(
                origin_of(request.url), permission, self._proxy_for(url.scheme, url.hostname or "", port_of(url)), tls
            ),
            request.inquiry,
            is_led_here=bool(request.sent_by),
            connect_seconds=min(self._timeouts.connect, seconds),
            read_seconds=min(self._timeouts.read, seconds),
            answer_seconds=answer_within,
            until=time.monotonic() + seconds,
            guard=self._guard,
            trust=self._trust,
            outgoing=outgoing,
        )


def read_all(response: Response, inquiry: Inquiry, limit: int) -> bytes:
    """Read a body to its end, decoded if it came encoded. Raises TransientError, RegistryError."""
    body = bytearray()
    while len(body) <= limit and (piece := response.read(_SMALL_BYTES)):
        body += piece
    content = bytes(body)
    if response.coding and len(body) <= limit:
        try:
            content = decode(content, response.coding, limit)
        except CodingError as error:
            raise inquiry.error(RegistryUnavailableError, str(error)) from None
    if len(content) > limit:
        raise inquiry.error(ResponseTooLargeError, f"the response has more than {limit} bytes")
    return content


def _prepare(request: Request, outgoing: _Outgoing | None, size: int, call: _Call) -> _Prepared:
    # Field by field: requests would spell the URL, which may be signed, in its own way.
    prepared = _Prepared()
    prepared.method, prepared.url, prepared.call = request.method, request.url, call
    headers = {"Host": call.url.netloc, **_COMMON_HEADERS, **request.headers}
    if outgoing is not None or request.method not in ("GET", "HEAD"):
        headers["Content-Length"] = str(size)
    prepared.headers = cast("Any", headers)  # a dict does, and costs a tenth of requests' own
    prepared.body = cast("Any", outgoing)
    return prepared


def _cause_of(error: BaseException) -> BaseException:
    """Find the exception of the socket or of http.client below those of requests and urllib3."""
    while isinstance(error, _WRAPPERS):
        reason = getattr(error, "reason", None)
        inner = [each for each in (reason, *reversed(error.args), error.__cause__) if isinstance(each, BaseException)]
        if not inner:
            break
        error = inner[0]
    return error
