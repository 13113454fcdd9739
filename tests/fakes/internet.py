"""An internet on one machine: hosts with names, public addresses and TLS, which are all one server on 127.0.0.1.

A site is a function from what is asked to an answer. What names mean and where connections lead is handed to clients
as a `Network`, so that they resolve, judge and connect as they would out there.
"""

import contextlib
import http.server
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from local.images import pieces_of
from local.registry.answers import Answer
from pullahead.registry.address_guard import Network
from tests.certificates import Certified, self_signed
from tests.serving import serving


class HttpRequest(NamedTuple):
    """One request, as a site sees it."""

    host: str
    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]  # names in lower case
    authorization: str | None

    def __str__(self) -> str:
        return f"{self.method} {self.host}{self.path}"


Site = Callable[[HttpRequest], Answer]


class Internet:
    """Hosts, the requests that they received, and the addresses that were dialed."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self.sites = dict(sites)
        self.addresses: dict[str, Sequence[str]] = {
            host: [f"151.101.0.{number}"] for number, host in enumerate(self.sites, 1)
        }
        self.asked: list[HttpRequest] = []
        self.connected: list[tuple[str, int]] = []
        self.certified: Certified = self_signed(list(self.sites))
        self.failures: list[BaseException] = []
        self._port = 0

    @property
    def port(self) -> int:
        """The local port on which all hosts listen."""
        return self._port

    @property
    def network(self) -> Network:
        """Resolve and connect to these hosts only."""
        return Network(self._resolve, self._connect)

    @property
    def requests(self) -> list[str]:
        """The method, host and path of each request so far."""
        return [str(each) for each in self.asked]

    def hosts_sent_credentials(self) -> set[str]:
        """Name the hosts that received an Authorization header."""
        return {each.host for each in self.asked if each.authorization is not None}

    @contextlib.contextmanager
    def up(self) -> Iterator[Path]:
        """Start all hosts, and return the file of the certificate that they all use."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.certified.write(Path(folder))
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(path)
            server = _Server(self, tls)
            self._port = server.server_address[1]
            with serving(server):
                yield path
        if self.failures:
            raise RuntimeError("a site itself failed") from self.failures[0]

    def answer(self, asked: HttpRequest) -> Answer:
        """Let a site answer."""
        self.asked.append(asked)
        return self.sites[asked.host](asked)

    def _resolve(self, host: str, _port: int) -> Sequence[str]:
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such host in this internet")
        return self.addresses[host]

    def _connect(self, address: tuple[str, int], timeout: float | None) -> socket.socket:
        self.connected.append(address)
        near = socket.create_connection(("127.0.0.1", self._port), timeout)
        distant = _Distant(fileno=near.detach())
        distant.settimeout(timeout)
        distant.peer = address
        return distant


class _Distant(socket.socket):
    """A socket that says that its other end is out there."""

    peer: tuple[str, int]

    def getpeername(self) -> tuple[str, int]:
        return self.peer


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, internet: Internet, tls: ssl.SSLContext) -> None:
        self.internet, self._tls = internet, tls
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, *_: object) -> None:
        """Keep what a site did wrong; that a client goes away is its own business."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.internet.failures.append(error)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Print nothing: the internet keeps what was asked."""

    def do_GET(self) -> None:
        self._respond()

    def do_HEAD(self) -> None:
        self._respond()

    def _respond(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): ", ".join(self.headers.get_all(name, ())) for name in self.headers}
        who = headers.pop("authorization", None)
        asked = HttpRequest(headers["host"], self.command, url.path, parse_qs(url.query), headers, who)
        answer = self.server.internet.answer(asked)
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(answer.content_length), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            for piece in pieces_of(answer.body, answer.first_byte, answer.first_byte + answer.content_length):
                self.wfile.write(piece)
