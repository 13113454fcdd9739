"""HTTP by requests: to addresses that the guard has judged, by deadlines, bodies as they are sent. Retries nothing.

requests gets everything from here, nothing from the environment: no .netrc, no cookies, no redirects, no decoding, no
certificates of its own. Its connections (urllib3's) are opened by the address guard, so that the address that was
judged is the one connected to, and come from pools of which each belongs to one origin, one permission of the guard,
one proxy and one set of certificates. Proxies of the environment are used as tunnels.

Sources: RFC 9112 (HTTP/1.1), sections 6.3 (message body length) and 9.3 (persistence); RFC 9110, section 9.3.6.
"""

import copy
import functools
import http.client
import logging
import re
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast
from urllib.parse import SplitResult, urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter
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

BLOCK_BYTES = 256 * 1024
"""How large the pieces are in which bodies are read. Larger ones were measured to be no faster."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""The most that an answer's body may have: as much as a manifest."""

_MAX_POOLS = 100
_CONNECTIONS_PER_POOL = 32  # as many as threads ask one origin at once
_KEPT_SECONDS = 60.0  # servers close idle connections after about as long
_SMALL_BYTES = 64 * 1024
_COMMON_HEADERS = {"User-Agent": "pullahead", "Accept-Encoding": "identity"}
_LENGTH = re.compile(r"[0-9]{1,18}")
_TUNNEL_FAILED = re.compile(r"Tunnel connection failed: ([0-9]{3})")

Certificates = Callable[[str], str | None]
"""Finds the certificates, as PEM, that alone are trusted for a registry; None for those that are trusted anyway."""


def no_certificates(_: str) -> str | None:
    """Find no certificates of a registry's own."""
    return None


def _without_query(record: logging.LogRecord) -> bool:
    """Take queries, which may hold signatures, out of what urllib3 logs."""
    if isinstance(record.args, tuple):
        record.args = tuple(re.sub(r"\?\S*", "?…", each) if isinstance(each, str) else each for each in record.args)
    return True


for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_without_query)


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


@dataclass(frozen=True)
class _Call:
    """What a connection must know of the request that it is lent to."""

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
        advice = login if status[1] == "407" else exempt
        cause = f"the proxy does not connect to {self.url.netloc}"
        failure = inquiry.error(RegistryUnavailableError, cause, status=int(status[1]), advice=advice)
        return TransientError(failure) if status[1] >= "500" else failure


class _Guarded(_Base):
    """A connection that is opened by the guard, keeps deadlines, and goes through the proxy of its pool."""

    call: _Call
    timed: DeadlineSocket | DeadlineTlsSocket
    idle_since = float("-inf")
    tls_failure: BaseException | None = None

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
        self.timed.limit(call.until)

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
        except SOCKET_ERRORS as error:
            raise self.call.tunnel_refused(error) from None

    def getresponse(self) -> Any:
        seconds, outgoing = self.call.answer_seconds, self.call.outgoing
        self.timed.limit(self.call.until if seconds is None else time.monotonic() + seconds)
        response = super().getresponse()
        if outgoing is not None and not outgoing.is_sent and self.sock is not None:
            # An early answer: the rest of the body cannot follow any more, and nothing else may.
            self.sock.close()  # only after the answer was read
            self.sock = None
        return response


class _FinalResponse(http.client.HTTPResponse):
    """A response, after those that are only informational: http.client takes any but 100 for the answer.

    A length that stands twice in one header, or in quotes, is read all the same (RFC 9110, section 8.6).
    """

    def begin(self) -> None:
        super().begin()
        if self.length is None and not self.chunked:
            text = single_value(cast("Mapping[str, str]", self.headers), "Content-Length")
            if _LENGTH.fullmatch(text):
                self.length = int(text)
                self.will_close = self._check_close()  # type: ignore[attr-defined]

    def _read_status(self) -> tuple[str, int, str]:
        while True:  # until the deadline of the socket
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS or not 100 <= status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Connection(_Guarded, HTTPConnection):
    response_class = _FinalResponse


class _TlsConnection(_Guarded, HTTPSConnection):
    response_class = _FinalResponse

    def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> ssl.SSLSocket:  # noqa: ARG002
        return cast("ssl.SSLSocket", sock)  # it was done when the socket was opened


class _Pool(_PoolBase):
    """Kept connections of one route. Requests are given a view of it that knows the call."""

    clock: Callable[[], float]
    call: _Call
    shared: "_Pool"

    def lent_to(self, call: _Call) -> "_Pool":
        """Make a view for one call."""
        view = copy.copy(self)
        view.call, view.shared = call, self
        return view

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = cast("_Guarded", super()._get_conn(timeout))
        if self.clock() - connection.idle_since >= _KEPT_SECONDS:
            connection.close()  # it is connected anew
        connection.call = self.call
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = self.clock()
            conn.__dict__.pop("call", None)  # it leads back to this pool, which urllib3 would then never see unused
        self.shared.keep(conn)

    def keep(self, conn: Any) -> None:
        """Keep a connection, or close it if there are enough."""
        super()._put_conn(conn)

    def speaks_tls(self) -> bool | None:
        """Connect, and return whether the host speaks TLS; None if that is not known. Raises AccessDeniedError."""
        connection = self._get_conn()
        try:
            self._validate_conn(connection)
        except (TransientError, RegistryUnavailableError, RegistryTimeoutError):
            connection.close()
            return False if is_without_tls(connection.tls_failure) else None
        self._put_conn(connection)
        return True

    def _validate_conn(self, conn: Any) -> None:
        # Connected here, and not within the request, where an error would be taken for one of sending.
        if conn.is_closed:
            conn.connect()


class _PlainPool(_Pool, HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Prepared(requests.PreparedRequest):
    call: _Call


class _GuardedAdapter(HTTPAdapter):
    """Takes connections from pools by route."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        super().__init__()

    def init_poolmanager(self, *_: Any, **__: Any) -> None:
        """Keep pools by route, the latest ones; requests' own are by host only."""
        self._pools: OrderedDict[_Route, _Pool] = OrderedDict()
        self._lock = threading.Lock()

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        """Find the pool for a request."""
        return self.pool_for(request.call)

    def pool_for(self, call: _Call) -> _Pool:
        """Find the pool for a call, and lend it."""
        with self._lock:
            pool = self._pools.get(call.route)
            if pool is None:
                pool = self._pools[call.route] = self._new_pool(call)
            self._pools.move_to_end(call.route)
            superfluous = self._pools.popitem(last=False)[1] if len(self._pools) > _MAX_POOLS else None
        if superfluous is not None:
            HTTPConnectionPool.close(superfluous)
        return pool.lent_to(call)

    def request_url(self, request: Any, *_: Any) -> str:
        """Name the path and query of a request: a proxy is a tunnel, and wants no more."""
        url: SplitResult = request.call.url
        return f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        """Wrap a response, without looking for cookies and for an encoding."""
        response = requests.Response()
        response.status_code, response.raw, response.request, response.url = resp.status, resp, req, req.url
        return response

    def cert_verify(self, *_: Any) -> None:
        """Leave the pool's certificates alone: requests would add its own list to them."""

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def length(self) -> int | None:
        """How long the body is said to be; None if it is not said, or cannot be true."""
        text = single_value(self.headers, "Content-Length")
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
            if timed is None or self._raw.chunked:  # http.client takes a chunk that comes bit by bit for a broken one
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
        if not self._is_released and self._raw.length_remaining == 0:
            self.read(1)  # reads nothing; lets http.client know that the body is over
        self._response.close()

    @property
    def _is_released(self) -> bool:
        """Whether the connection may be another request's by now."""
        return self._raw.connection is None


class _PiecesError(Exception):
    """Carries what the iterator of a body raised past urllib3, which would take it for an error of the connection."""


class _Outgoing:
    """A body that is sent piece by piece."""

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
            yield piece
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
        """Return whether the host of a request speaks TLS; None if that is not known. Raises AccessDeniedError."""
        return self._adapter.pool_for(self._call(request)).speaks_tls()

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
