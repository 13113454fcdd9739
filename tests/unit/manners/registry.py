"""A registry in memory that can be read and written, and that departs from the specification where a test says so.

It takes every manifest, also one whose blobs it lacks: so a test sees what was published, and what is missing below it.
"""

import contextlib
import http.server
import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from local.images import LocalImage
from local.serving import ServerThread
from pullahead.oci import digest_of

Headers = Mapping[str, str | Sequence[str]]
"""Values by name; of several values each is sent in a header of its own."""


class Reply(NamedTuple):
    """An answer. `before` is sent ahead of its status line, byte for byte. Status 0: no answer, the connection ends."""

    status: int
    headers: Headers = MappingProxyType({})
    body: bytes = b""
    before: bytes = b""

    @property
    def is_cut(self) -> bool:
        """Whether more is promised than is sent: then the connection ends with it."""
        promised = self.headers.get("Content-Length", "")
        return isinstance(promised, str) and promised.isdecimal() and int(promised) > len(self.body)


HANG_UP = Reply(0)


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


Answer = Callable[[Asked], Reply | None]
"""Answers a request, or leaves it to whoever would answer it otherwise."""


@dataclass
class _Departure:
    method: str
    pattern: re.Pattern[str]
    answer: Answer
    times: int | None

    def answer_to(self, asked: Asked) -> Reply | None:
        if self.times == 0 or self.method not in ("", asked.method) or not self.pattern.search(asked.target):
            return None
        reply = self.answer(asked)
        if reply is not None and self.times is not None:
            self.times -= 1
        return reply


class ImperfectRegistry:
    """Serves what was pushed to it, in the order in which it came."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}  # by repository and by tag or digest
        self.asked: list[Asked] = []
        self._departures: list[_Departure] = []
        self._uploads: dict[str, bytes] = {}
        self._upload_names = itertools.count()
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = ServerThread(self._server)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._thread.stop()
        self._server.server_close()
        self._server.hang_up()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def other_name(self) -> str:
        """The same registry by another host name."""
        return f"localhost:{self._server.server_address[1]}"

    def on(self, method: str, pattern: str, answer: Reply | Answer, *, times: int | None = None) -> None:
        """Answer requests of a method ("" for any) whose path and query hold a match: always, or so many times."""
        reply = answer if callable(answer) else lambda _: answer
        self._departures.append(_Departure(method, re.compile(pattern), reply, times))

    def hold(self, image: LocalImage, repository: str = "team/app", tag: str = "1.0") -> None:
        """Hold an image."""
        self.blobs.update({digest: image.read_blob(digest) for digest in image.blobs})
        for digest, manifest in image.manifests.items():
            self.manifests[repository, digest] = manifest.descriptor.media_type, manifest.content
        self.manifests[repository, tag] = self.manifests[repository, image.digest]

    def hold_manifest(
        self, content: bytes | Mapping[str, Any], media_type: str, repository: str = "team/app", tag: str = "1.0"
    ) -> str:
        """Hold any bytes as a manifest; returns their digest."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = digest_of(body)
        for name in (tag, digest):
            self.manifests[repository, name] = media_type, body
        return digest

    def hold_blob(self, content: bytes) -> str:
        """Hold a blob; returns its digest."""
        digest = digest_of(content)
        self.blobs[digest] = content
        return digest

    def count(self, method: str, pattern: str = "") -> int:
        return sum(method in ("", each.method) and re.search(pattern, each.target) is not None for each in self.asked)

    def answer(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            departures = (departure.answer_to(asked) for departure in self._departures)
            return next((reply for reply in departures if reply is not None), None) or self.answer_well(asked)

    def answer_well(self, asked: Asked) -> Reply:
        """Answer as the specification says."""
        if asked.path == "/v2/":
            return Reply(200)
        if found := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", asked.path):
            return self._manifest(asked, found[1], found[2])
        if found := re.fullmatch(r"/v2/(.+)/blobs/uploads/(\w*)", asked.path):
            return self._upload(asked, found[1], found[2])
        if found := re.fullmatch(r"/v2/(.+)/blobs/([^/]+)", asked.path):
            return self._blob(asked, found[2])
        if found := re.fullmatch(r"/v2/(.+)/tags/list", asked.path):
            return self._tags(found[1])
        if asked.path == "/v2/_catalog":
            return json_reply({"repositories": list(dict.fromkeys(repository for repository, _ in self.manifests))})
        return error_reply(404, "NOT_FOUND")

    def _manifest(self, asked: Asked, repository: str, name: str) -> Reply:
        if asked.method == "PUT":
            digest = digest_of(asked.body)
            for key in (name, digest):
                self.manifests[repository, key] = asked.headers.get("content-type", ""), asked.body
            return Reply(201, {"Docker-Content-Digest": digest})
        if (repository, name) not in self.manifests:
            return error_reply(404, "MANIFEST_UNKNOWN")
        media_type, content = self.manifests[repository, name]
        return Reply(200, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(content)}, content)

    def _blob(self, asked: Asked, digest: str) -> Reply:
        if digest not in self.blobs:
            return error_reply(404, "BLOB_UNKNOWN")
        content = self.blobs[digest]
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", "")):
            first, last = int(found[1]), int(found[2] or len(content) - 1)
            headers = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
            return Reply(206, headers, content[first : last + 1])
        return Reply(200, {"Docker-Content-Digest": digest}, content)

    def _upload(self, asked: Asked, repository: str, name: str) -> Reply:
        if asked.method == "POST":
            if asked.query.get("mount") in self.blobs:
                return Reply(201, {"Location": f"/v2/{repository}/blobs/{asked.query['mount']}"})
            name = f"u{next(self._upload_names)}"
            self._uploads[name] = b""
        if name not in self._uploads:
            return error_reply(404, "BLOB_UPLOAD_UNKNOWN")
        self._uploads[name] += asked.body
        content = self._uploads[name]
        if asked.method == "PUT":
            digest = digest_of(content)
            if asked.query.get("digest") != digest:
                return error_reply(400, "DIGEST_INVALID")
            self.blobs[digest] = self._uploads.pop(name)
            return Reply(201, {"Location": f"/v2/{repository}/blobs/{digest}"})
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{name}", "Range": f"0-{max(0, len(content) - 1)}"}
        return Reply(204 if asked.method == "GET" else 202, headers)

    def _tags(self, repository: str) -> Reply:
        tags = [name for held, name in self.manifests if held == repository and ":" not in name]
        return json_reply({"name": repository, "tags": tags}) if tags else error_reply(404, "NAME_UNKNOWN")


def json_reply(document: object, headers: Headers | None = None) -> Reply:
    """Answer a JSON document."""
    return Reply(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(document).encode())


def error_reply(status: int, code: str, message: str = "", headers: Headers | None = None) -> Reply:
    """Refuse as the specification says."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, body)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, registry: ImperfectRegistry) -> None:
        self.registry = registry
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep: their threads would wait for ever."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """Print nothing: a client that goes away is its own business."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    connection: socket.socket

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.registry.answer(Asked(self.command, self.path, headers, body))
        if not reply.status:
            self.close_connection = True
            return
        self.wfile.write(reply.before)
        self.send_response(reply.status)
        for name, values in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            for value in (values,) if isinstance(values, str) else values:
                self.send_header(name, value)
        self.end_headers()
        if reply.is_cut:
            self.close_connection = True
        if self.command != "HEAD" and reply.status not in (204, 304):
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _respond  # noqa: N815
