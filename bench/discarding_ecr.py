"""`python -m bench.discarding_ecr PORT CERTIFICATE KEY`: as much of AWS as a copy needs, which throws blobs away.

ECR's API and its registry, and S3 for plans, over TLS. Slow neither in what it proves nor in what it keeps, so that the
client is what is measured. What it took by which road can be asked for at /taken.
"""

import base64
import json
import re
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from bench.authority import HOST
from bench.discarding_registry import DiscardingHandler, TlsServer

_PART_BYTES = 20 * 1024 * 1024
_PIECE = 1024 * 1024
_EDGE = 2048  # the numbers of a part stand before or behind its bytes
_NUMBERS = re.compile(rb'"(partFirstByte|partLastByte)" *: *(\d+)|"(uploadId)" *: *"([^"]+)"')
_TYPE = "application/x-amz-json-1.1"


class EcrHandler(DiscardingHandler):
    """Answers as ECR, with one account's repositories, each of which is there."""

    objects: ClassVar[dict[str, bytes]] = {}
    parts: ClassVar[dict[str, int]] = {}
    present: ClassVar[set[tuple[str, str]]] = set()
    taken: ClassVar[dict[str, int]] = {"streamed": 0, "parts": 0}
    counting: ClassVar[threading.Lock] = threading.Lock()

    def do_GET(self) -> None:  # noqa: N802 (http.server calls it so)
        path = urlsplit(self.path).path
        if path == "/taken":
            self.answer(200, {"Content-Type": "application/json"}, json.dumps(self.taken).encode())
        elif path.startswith("/v2/"):
            super().do_GET()
        elif path in self.objects:
            self.answer(200, {"ETag": '"0"'}, self.objects[path])
        else:
            self.answer(404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_PUT(self) -> None:  # noqa: N802 (http.server calls it so)
        path = urlsplit(self.path).path
        if path.startswith("/v2/"):
            super().do_PUT()
            return
        self.objects[path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {"ETag": '"0"'})

    def do_POST(self) -> None:  # noqa: N802 (http.server calls it so)
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if not operation:
            super().do_POST()
        elif operation == "UploadLayerPart":
            self._take_part()
        else:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            self._answer_json(_OPERATIONS[operation](self, asked))

    def took_blob(self, size: int) -> None:
        with self.counting:
            self.taken["streamed"] += size

    def _take_part(self) -> None:
        """Read a part, of which only its numbers are understood: decoding 13 MiB of JSON would take as long again."""
        left = int(self.headers["Content-Length"])
        head = self.rfile.read(min(_EDGE, left))
        left -= len(head)
        tail, buffer = b"", memoryview(bytearray(_PIECE))
        while left and (count := self.rfile.readinto(buffer[:left])):
            tail = (tail + buffer[max(0, count - _EDGE) : count].tobytes())[-_EDGE:]
            left -= count
        found = {name or word: number or text for name, number, word, text in _NUMBERS.findall(head + tail)}
        upload = found[b"uploadId"].decode()
        first, last = int(found[b"partFirstByte"]), int(found[b"partLastByte"])
        if first != self.parts[upload]:
            self._answer_json({"__type": "InvalidLayerPartException", "lastValidByteReceived": first - 1}, 400)
            return
        self.parts[upload] = last + 1
        self._answer_json({"uploadId": upload, "lastByteReceived": last})

    def _answer_json(self, document: Mapping[str, Any], status: int = 200) -> None:
        self.answer(status, {"Content-Type": _TYPE}, json.dumps(document).encode())

    def log_in(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        port = self.connection.getsockname()[1]
        token = base64.b64encode(b"AWS:bench").decode()
        until = (datetime.now(UTC) + timedelta(hours=12)).timestamp()
        granted = {"authorizationToken": token, "expiresAt": until, "proxyEndpoint": f"https://{HOST}:{port}"}
        return {"authorizationData": [granted]}

    def describe_repositories(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"repositories": [{"repositoryName": name} for name in asked.get("repositoryNames", [])]}

    def check_layers(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        held = {digest for repository, digest in self.present if repository == asked["repositoryName"]}
        layers = [
            {"layerDigest": digest, "layerAvailability": "AVAILABLE" if digest in held else "UNAVAILABLE"}
            for digest in asked["layerDigests"]
        ]
        return {"layers": layers, "failures": []}

    def begin_upload(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        upload = f"upload-{next(self.numbers)}"
        self.parts[upload] = 0
        return {"uploadId": upload, "partSize": _PART_BYTES}

    def complete_upload(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        with self.counting:
            self.taken["parts"] += self.parts.pop(asked["uploadId"])
        (digest,) = asked["layerDigests"]
        self.present.add((asked["repositoryName"], digest))
        return {"repositoryName": asked["repositoryName"], "uploadId": asked["uploadId"], "layerDigest": digest}

    def get_account_setting(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"name": asked["name"], "value": "DISABLED"}


_OPERATIONS: Mapping[str, Callable[[EcrHandler, Mapping[str, Any]], Mapping[str, Any]]] = {
    "GetAuthorizationToken": EcrHandler.log_in,
    "DescribeRepositories": EcrHandler.describe_repositories,
    "BatchCheckLayerAvailability": EcrHandler.check_layers,
    "InitiateLayerUpload": EcrHandler.begin_upload,
    "CompleteLayerUpload": EcrHandler.complete_upload,
    "GetAccountSetting": EcrHandler.get_account_setting,
}


if __name__ == "__main__":
    TlsServer(int(sys.argv[1]), EcrHandler, (sys.argv[2], sys.argv[3])).serve_forever()
