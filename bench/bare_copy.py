"""`python -I -S bare_copy.py SOURCE TARGET [plain]`: a copy that does only what every copy must, for comparison.

SOURCE and TARGET are `host:port/repository:tag`. One thread and one connection to each side; blobs one after another:
each is read into one buffer, hashed and sent. No retry, no policy, no HTTP library: a client in Python that does more
takes more CPU. It is a process of its own, started and measured as the tools are, and imports nothing of ours.
"""

import hashlib
import json
import socket
import ssl
import sys
from typing import Any, Final, NamedTuple

_BLOCK_BYTES: Final = 256 * 1024
_HEAD_BYTES: Final = 64 * 1024
_TIMEOUT_SECONDS: Final = 60
_MANIFESTS: Final = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


class BareCopyError(Exception):
    """A registry answered otherwise than a bare copy needs it."""


class TaggedImage(NamedTuple):
    """An image in a registry, by its tag."""

    host: str
    repository: str
    tag: str


class _ResponseHead(NamedTuple):
    """The head of an answer: header names in small letters, and how much of its body the buffer begins with."""

    headers: dict[str, str]
    begun: int

    @property
    def length(self) -> int:
        return int(self.headers["content-length"])


class _Connection:
    """HTTP/1.1 by hand. Reads into the buffer that both sides share."""

    def __init__(self, host: str, context: ssl.SSLContext | None, buffer: memoryview) -> None:
        name, _, port = host.rpartition(":")
        self._host, self._buffer = host, buffer
        self._socket = socket.create_connection((name, int(port)), timeout=_TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname=name)
        self.send = self._socket.sendall

    def ask(self, method: str, path: str, wanted: int, *, headers: str = "", body: bytes = b"") -> _ResponseHead:
        """Send a request of few bytes, and read its answer's head."""
        self.send(self._head(method, path, headers, len(body)) + body)
        return self.answer(wanted, f"{method} {path}")

    def begin_upload(self, path: str, size: int) -> None:
        """Send the head of a PUT whose body is to be sent then."""
        self.send(self._head("PUT", path, "Content-Type: application/octet-stream\r\n", size))

    def _head(self, method: str, path: str, headers: str, length: int) -> bytes:
        headers += f"Content-Length: {length}\r\n" if method != "GET" else ""
        return f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{headers}\r\n".encode()

    def answer(self, wanted: int, asked: str) -> _ResponseHead:
        """Read the head of an answer. Raises BareCopyError for another status than the wanted one."""
        have, end = 0, -1
        while end < 0:
            have += self.receive(have, _HEAD_BYTES)
            end = bytes(self._buffer[:have]).find(b"\r\n\r\n")
        status, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        if status.split(" ", 2)[1] != str(wanted):
            raise BareCopyError(f"{self._host} answered {asked} with {status}")
        begun = have - end - 4
        self._buffer[:begun] = self._buffer[end + 4 : have]
        headers = (line.partition(":") for line in lines)
        return _ResponseHead({name.lower(): value.strip() for name, _, value in headers}, begun)

    def receive(self, start: int, end: int) -> int:
        """Receive something into a part of the buffer. Raises BareCopyError at the connection's end."""
        count = self._socket.recv_into(self._buffer[start:end])
        if not count:
            raise BareCopyError(f"{self._host} ended the connection")
        return count

    def whole(self, answer: _ResponseHead) -> bytes:
        """Read a small body."""
        have = answer.begun
        while have < answer.length:
            have += self.receive(have, answer.length)
        return bytes(self._buffer[:have])


class BareCopy:
    """Copies one image. Raises BareCopyError."""

    def __init__(self, source: TaggedImage, target: TaggedImage, context: ssl.SSLContext | None) -> None:
        self._buffer = memoryview(bytearray(_BLOCK_BYTES))
        self._from, self._to = source.repository, target.repository
        self._source = _Connection(source.host, context, self._buffer)
        self._target = _Connection(target.host, context, self._buffer)
        self._copied: set[str] = set()

    def manifest(self, source: str, target: str) -> None:
        """Copy a manifest and, before it, what it names; `source` and `target`: its tag or digest on each side."""
        got = self._source.ask("GET", f"/v2/{self._from}/manifests/{source}", 200, headers=f"Accept: {_MANIFESTS}\r\n")
        content = self._source.whole(got)
        document: dict[str, Any] = json.loads(content)
        for child in document.get("manifests", ()):
            self.manifest(child["digest"], child["digest"])
        for blob in (document["config"], *document["layers"]) if "layers" in document else ():
            if blob["digest"] not in self._copied:
                self._blob(blob["digest"], blob["size"])
                self._copied.add(blob["digest"])
        media_type = f"Content-Type: {got.headers['content-type']}\r\n"
        path = f"/v2/{self._to}/manifests/{target}"
        self._target.whole(self._target.ask("PUT", path, 201, headers=media_type, body=content))

    def _blob(self, digest: str, size: int) -> None:
        begun = self._target.ask("POST", f"/v2/{self._to}/blobs/uploads/", 202)
        self._target.whole(begun)
        upload = begun.headers["location"]
        if "://" in upload:
            upload = "/" + upload.split("/", 3)[3]
        path = f"{upload}{'&' if '?' in upload else '?'}digest={digest}"
        self._target.begin_upload(path, size)  # before the buffer holds what the source sends
        got = self._source.ask("GET", f"/v2/{self._from}/blobs/{digest}", 200)
        self._pass_on(got.begun, digest, size)
        self._target.whole(self._target.answer(201, f"PUT {path}"))

    def _pass_on(self, have: int, digest: str, size: int) -> None:
        """Read, hash and send a body of which the buffer holds the beginning; a wrong one is never sent to its end."""
        hashed, left, buffer = hashlib.sha256(), size - have, self._buffer
        receive, send, block = self._source.receive, self._target.send, len(self._buffer)
        while True:
            while left and have < block:
                count = receive(have, min(block, have + left))
                have += count
                left -= count
            hashed.update(buffer[:have])
            if not left and f"sha256:{hashed.hexdigest()}" != digest:
                raise BareCopyError(f"the source sent other bytes than {digest}")
            send(buffer[:have])
            if not left:
                return
            have = 0


def parse_image(text: str) -> TaggedImage:
    """Take `host:port/repository:tag` apart."""
    host, _, name = text.partition("/")
    repository, _, tag = name.rpartition(":")
    return TaggedImage(host, repository, tag)


def main(source: str, target: str, plain: str = "") -> None:
    """Copy one image; the certificates are those of SSL_CERT_FILE, as for the tools."""
    context = None if plain else ssl.create_default_context()
    try:
        BareCopy(parse_image(source), parse_image(target), context).manifest(
            parse_image(source).tag, parse_image(target).tag
        )
    except BareCopyError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
