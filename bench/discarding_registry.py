"""`python -m bench.discarding_registry PORT CERTIFICATE KEY`: a target that throws blobs away, over TLS.

Proves nothing and keeps only manifests: it is there to see what a client needs, not to test one. Any size finds room.
"""

import http.server
import itertools
import sys
from typing import ClassVar, Final
from urllib.parse import urlsplit

from bench.authority import HOST, server_context

_PIECE: Final = 1024 * 1024


class TlsServer(http.server.ThreadingHTTPServer):
    """A server of the bench: a thread for each connection, each of which shakes hands in its own thread."""

    daemon_threads = True

    def __init__(self, port: int, handler: type[http.server.BaseHTTPRequestHandler], shown: tuple[str, str]) -> None:
        super().__init__((HOST, port), handler)
        self.socket = server_context(*shown).wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )


class DiscardingHandler(http.server.BaseHTTPRequestHandler):
    """Answers as a registry that has no blob and takes every one."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two sends: with Nagle's algorithm each answer takes 40 ms
    manifests: ClassVar[dict[str, tuple[str, bytes]]] = {}
    uploads: ClassVar[dict[str, int]] = {}
    numbers: ClassVar["itertools.count[int]"] = itertools.count(1)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/v2/":
            self.answer(200)
        elif path in self.uploads:
            self.answer(204, self._upload_headers(path))
        elif path in self.manifests:
            media_type, content = self.manifests[path]
            self.answer(200, {"Content-Type": media_type}, content)
        else:
            self.answer(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.skip()
        path = f"{urlsplit(self.path).path.rstrip('/')}/{next(self.numbers)}"
        self.uploads[path] = 0
        self.answer(202, self._upload_headers(path))

    def do_PATCH(self) -> None:
        path = urlsplit(self.path).path
        self.uploads[path] = self.uploads.get(path, 0) + self.skip()
        self.answer(202, self._upload_headers(path))

    def do_PUT(self) -> None:
        path = urlsplit(self.path).path
        if "/manifests/" in path:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            self.manifests[path] = (self.headers["Content-Type"], content)
        else:
            self.took_blob(self.uploads.pop(path, 0) + self.skip())
        self.answer(201, {"Location": path})

    def took_blob(self, size: int) -> None:
        """Take note of a blob that was sent in whole."""

    def skip(self) -> int:
        """Read a body without keeping it; returns its size."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            raise ValueError("this registry takes bodies of a known length only")
        left = length = int(self.headers.get("Content-Length", 0))
        buffer = memoryview(bytearray(min(_PIECE, length)))
        while left and (count := self.rfile.readinto(buffer[:left])):
            left -= count
        return length - left

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _upload_headers(self, path: str) -> dict[str, str]:
        return {"Location": path, "Range": f"0-{max(0, self.uploads[path] - 1)}"}


if __name__ == "__main__":
    TlsServer(int(sys.argv[1]), DiscardingHandler, (sys.argv[2], sys.argv[3])).serve_forever()
