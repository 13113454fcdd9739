"""The socket side of the fake registry: reads requests, sends answers, cuts and slows them. Decides nothing."""

import contextlib
import http.server
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from local.images import pieces_of
from local.registry.answers import Answer
from local.registry.journal import RecordedRequest

_SLOW_PIECES_PER_SECOND = 50


class Answers(Protocol):
    """What the listener asks before it sends anything."""

    down: bool
    limit_bytes_per_second: int | None

    def begin(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> RecordedRequest:
        """Note a request that has come."""
        ...

    def answer(self, request: RecordedRequest, authorization: str | None) -> Answer:
        """Decide what a request gets."""
        ...

    def take_cut(self, request: RecordedRequest) -> int | None:
        """Take the number of body bytes after which the connection is to end."""
        ...


class Listener(http.server.ThreadingHTTPServer):
    """Listens on 127.0.0.1, one thread for each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answers: Answers, port: int) -> None:
        self.answers = answers
        self.failures: list[BaseException] = []
        self.connections_taken = 0
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def verify_request(self, *_: Any) -> bool:
        """Turn a connection away while the registry is down."""
        return not self.answers.down

    def handle_error(self, *_: Any) -> None:
        """Keep what went wrong here; a client that goes away in the middle is its own business."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.failures.append(error)

    def close(self) -> None:
        """End every connection and give the port back. Raises what went wrong in a handler."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        if self.failures:
            raise RuntimeError("the fake registry itself failed") from self.failures[0]

    @contextlib.contextmanager
    def held(self, connection: socket.socket) -> Iterator[None]:
        """Know a connection for as long as it is served."""
        with self._lock:
            self._connections.add(connection)
            self.connections_taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two sends: with Nagle's algorithm each answer takes 40 ms
    server: Listener
    connection: socket.socket

    def handle(self) -> None:
        with self.server.held(self.connection):
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Print nothing: the journal has it."""

    def do_HEAD(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def _respond(self) -> None:
        answers = self.server.answers
        if answers.down:
            self.close_connection = True
            return
        url = urlsplit(self.path)
        request = answers.begin(self.command, url.path, url.query, self._headers())
        answer = answers.answer(request, self.headers.get("Authorization"))
        request.status = answer.status
        self._send_head(answer)
        if self.command == "GET":
            self._send_body(request, answer, answers.take_cut(request))

    def _headers(self) -> dict[str, str]:
        # Go clients send one Accept line for each media type.
        return {name: ", ".join(self.headers.get_all(name, ())) for name in self.headers}

    def _send_head(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(answer.content_length))
        self.end_headers()

    def _send_body(self, request: RecordedRequest, answer: Answer, cut: int | None) -> None:
        end = answer.first_byte + answer.content_length
        if cut is not None:
            end = min(end, answer.first_byte + cut)
        started = time.monotonic()
        for piece in pieces_of(answer.body, answer.first_byte, end):
            for slice_ in self._slices(piece):
                request.bytes_sent += len(slice_)
                self.wfile.write(slice_)
                self._keep_to_limit(request.bytes_sent, started)
        if cut is not None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _slices(self, piece: bytes) -> Iterator[bytes]:
        limit = self.server.answers.limit_bytes_per_second
        step = max(1, limit // _SLOW_PIECES_PER_SECOND) if limit is not None else len(piece)
        for start in range(0, len(piece), step):
            yield piece[start : start + step]

    def _keep_to_limit(self, bytes_sent: int, started: float) -> None:
        limit = self.server.answers.limit_bytes_per_second
        if limit is not None:
            time.sleep(max(0.0, bytes_sent / limit - (time.monotonic() - started)))
