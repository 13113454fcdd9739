"""A registry with scripted responses, request by request."""

import contextlib
import http.server
import re
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

from local.serving import ServerThread
from pullahead.oci import Descriptor, Repository, digest_of
from pullahead.registry.credentials import Credential
from pullahead.registry.push import OciTarget
from pullahead.registry.request import Timeouts
from tests.unit.registry.harness import FakeTime

REPOSITORY = "team/app"
SECRET = "s3cr3t"
TIMEOUTS = Timeouts(connect=2, read=2)
CREDENTIAL = Credential("user", SECRET)
CONTENT = b"the bytes of a layer"
BLOB = Descriptor("application/octet-stream", digest_of(CONTENT), len(CONTENT))
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"


class Reply(NamedTuple):
    """An answer. `reads` False: it is sent before the body is read; `hangs_up`: the connection ends after it.

    `after_seconds` is how long the answer takes once the body is read; `meanwhile` is what happens in this time.
    """

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    reads: bool = True
    hangs_up: bool = False
    after_seconds: float = 0.0
    meanwhile: Callable[[], object] = lambda: None


HANG_UP = Reply(0, hangs_up=True)
"""No answer at all."""


@dataclass
class ReceivedRequest:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")


@dataclass
class _Line:
    method: str
    path_regex: str
    replies: list[Reply]


class ScriptedRegistry:
    """Answers by its script; what the script does not know fails the test."""

    def __init__(self) -> None:
        self.asked: list[ReceivedRequest] = []
        self.connections = 0
        self.hung_up = threading.Event()
        self._script: list[_Line] = []
        self._unforeseen: list[str] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = ServerThread(self._server)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._thread.stop()
        self._server.server_close()
        if kind is None:
            assert self._unforeseen == []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def same_under_another_name(self) -> str:
        return f"localhost:{self._server.server_address[1]}"

    def on(self, method: str, path_regex: str, *replies: Reply) -> None:
        """Answer requests of a method whose path and query hold a match, once with each reply."""
        self._script.append(_Line(method, path_regex, list(replies)))

    def count(self, method: str, path_regex: str = "") -> int:
        return sum(asked.method == method and re.search(path_regex, asked.path) is not None for asked in self.asked)

    def reply(self, asked: ReceivedRequest) -> Reply:
        with self._lock:
            self.asked.append(asked)
            for line in self._script:
                if line.replies and line.method == asked.method and re.search(line.path_regex, asked.path):
                    return line.replies.pop(0)
            self._unforeseen.append(f"{asked.method} {asked.path}")
        return Reply(418, hangs_up=True)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, registry: ScriptedRegistry) -> None:
        self.registry = registry
        super().__init__(("127.0.0.1", 0), _Handler)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.registry.hung_up.set()

    def handle_error(self, *_: object) -> None:
        """Print nothing: a client that goes away is its own business."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    connection: socket.socket

    def setup(self) -> None:
        super().setup()
        self.server.registry.connections += 1

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _respond(self) -> None:
        asked = ReceivedRequest(self.command, self.path, dict(self.headers))
        reply = self.server.registry.reply(asked)
        if reply.reads:
            asked.body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if reply.after_seconds:
            threading.Event().wait(reply.after_seconds)
        reply.meanwhile()
        if reply.status:
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else reply.body)
        if reply.hangs_up:
            self.close_connection = True
            if not reply.reads:  # some of it, so that the answer arrives; the rest meets a connection that is gone
                self.connection.shutdown(socket.SHUT_WR)
                self.rfile.read(1024 * 1024)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _respond  # noqa: N815


@dataclass
class Pieces:
    """A blob's bytes, and how often they were asked for."""

    content: bytes = CONTENT
    piece_bytes: int = 7
    opened: int = 0
    sent: int = field(default=0)

    @contextlib.contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        self.opened += 1
        yield self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        for start in range(0, len(self.content), self.piece_bytes):
            yield self.content[start : start + self.piece_bytes]
            self.sent += 1


def target_of(
    registry: ScriptedRegistry | str,
    credential: Credential | None = None,
    *,
    time: FakeTime | None = None,
    timeouts: Timeouts = TIMEOUTS,
    plain_http: bool = True,
    insecure: Collection[str] = (),
    ca: str | None = None,
    asked: list[Repository] | None = None,
) -> OciTarget:
    """Make a target whose waits take no time."""
    time = time or FakeTime()

    def credentials(repository: Repository) -> Credential | None:
        if asked is not None:
            asked.append(repository)
        return credential

    return OciTarget(
        registry if isinstance(registry, str) else registry.host,
        plain_http=plain_http,
        insecure=insecure,
        credentials=credentials,
        ca=ca,
        timeouts=timeouts,
        clock=time,
        sleep=time.sleep,
        jitter=lambda: 1.0,
    )


def oci_error(status: int, code: str, message: str = "", **headers: str) -> Reply:
    """Refuse as the specification has it."""
    body = f'{{"errors": [{{"code": "{code}", "message": "{message}"}}]}}'.encode()
    return Reply(status, headers, body)
