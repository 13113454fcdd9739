"""`python -m bench.sparse_registry PORT REPOSITORY SIZE_MIB SEED CERTIFICATE KEY`: one layer, made as it is read."""

import re
import sys
from typing import ClassVar
from urllib.parse import urlsplit

from bench.cases import MIB
from bench.discarding_registry import DiscardingHandler, TlsServer
from local.images import Blob, LocalImage, make_image, pieces_of

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class SparseHandler(DiscardingHandler):
    """Answers as a registry that has one image."""

    image: ClassVar[LocalImage]
    blobs: ClassVar[dict[str, Blob]]

    @classmethod
    def serve(cls, image: LocalImage, repository: str) -> None:
        """Say what is there."""
        cls.image, cls.blobs = image, {f"/v2/{repository}/blobs/{name}": blob for name, blob in image.blobs.items()}

    def do_GET(self) -> None:  # noqa: N802 (http.server calls it so)
        path = urlsplit(self.path).path
        if path in self.blobs:
            self._send_blob(self.blobs[path])
        elif "/manifests/" in path:
            root = self.image.root
            headers = {"Content-Type": root.descriptor.media_type, "Docker-Content-Digest": root.descriptor.digest}
            self.answer(200, headers, root.content)
        else:
            self.answer(200 if path == "/v2/" else 404)

    def _send_blob(self, blob: Blob) -> None:
        size = len(blob)
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        first, last = (int(asked[1]), min(int(asked[2] or size), size - 1)) if asked else (0, size - 1)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        if self.command == "GET":
            for piece in pieces_of(blob, first, last + 1):
                self.wfile.write(piece)


def main(port: int, repository: str, size_mib: int, seed: int, shown: tuple[str, str]) -> None:
    """Hash the layer (some 0.7 s for each GiB), then answer until the process is ended."""
    SparseHandler.serve(make_image([size_mib * MIB], seed=seed), repository)
    TlsServer(port, SparseHandler, shown).serve_forever()


if __name__ == "__main__":
    _port, _repository, _size_mib, _seed, _certificate, _key = sys.argv[1:]
    main(int(_port), _repository, int(_size_mib), int(_seed), (_certificate, _key))
