"""`python -m bench.discarding_registry PORT`: a target that throws blobs away, so that any size finds room.

Proves nothing and keeps only manifests: it is there to see what a client needs, not to test one.
"""

import http.server
import itertools
import sys
from typing import ClassVar, Final
from urllib.parse import urlsplit

_PIECE: Final = 1024 * 1024


class _Handler(http.server.BaseHTTPRequestHandler):
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
            self._answer(200)
        elif path in self.uploads:
            self._answer(204, self._upload_headers(path))
        elif path in self.manifests:
            media_type, content = self.manifests[path]
            self._answer(200, {"Content-Type": media_type}, content)
        else:
            self._answer(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self._skip()
        path = f"{urlsplit(self.path).path.rstrip('/')}/{next(self.numbers)}"
        self.uploads[path] = 0
        self._answer(202, self._upload_headers(path))

    def do_PATCH(self) -> None:
        path = urlsplit(self.path).path
        self.uploads[path] = self.uploads.get(path, 0) + self._skip()
        self._answer(202, self._upload_headers(path))

    def do_PUT(self) -> None:
        path = urlsplit(self.path).path
        if "/manifests/" in path:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            self.manifests[path] = (self.headers["Content-Type"], content)
        else:
            self._skip()
            self.uploads.pop(path, None)
        self._answer(201, {"Location": path})

    def _upload_headers(self, path: str) -> dict[str, str]:
        return {"Location": path, "Range": f"0-{max(0, self.uploads[path] - 1)}"}

    def _skip(self) -> int:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            raise ValueError("this registry takes bodies of a known length only")
        left = length = int(self.headers.get("Content-Length", 0))
        buffer = memoryview(bytearray(min(_PIECE, length)))
        while left and (count := self.rfile.readinto(buffer[:left])):
            left -= count
        return length - left

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


if __name__ == "__main__":
    with http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler) as server:
        server.serve_forever()
