"""An upstream registry in memory, which lies, cuts and forgets on demand. Satisfies `pullahead.ports.Upstream`."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from local.images import LocalImage
from pullahead.errors import DigestMismatchError, NotFoundError, RangeIgnoredError, RegistryUnavailableError, Side
from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository, parse_reference
from tests.fakes.script import Script


class FakeUpstream:
    """What it serves is set by `serve`, `lie` and the like; what it was asked is in `script`."""

    def __init__(self, script: Script | None = None, *, piece_bytes: int = 4) -> None:
        self.script = script or Script()
        self.piece_bytes = piece_bytes
        self.ignores_range = False
        self.bytes_sent = 0
        self._manifests: dict[tuple[Repository, str], RawManifest] = {}
        self._blobs: dict[Digest, bytes] = {}
        self._cuts: deque[int] = deque()

    def serve(self, image: LocalImage, reference: str) -> None:
        """Hold an image under a tag."""
        name = parse_reference(reference)
        for digest, manifest in image.manifests.items():
            self._manifests[name.repository, digest] = manifest
        self._manifests[name.repository, name.locator] = image.root
        self._blobs.update({digest: image.read_blob(digest) for digest in image.blobs})

    def serve_blob(self, digest: Digest, content: bytes) -> None:
        """Hold bytes under a digest, true or not."""
        self._blobs[digest] = content

    def serve_manifest(self, reference: str, manifest: RawManifest) -> None:
        """Hold one manifest, whatever it is."""
        name = parse_reference(reference)
        self._manifests[name.repository, name.locator] = manifest
        self._manifests[name.repository, manifest.descriptor.digest] = manifest

    def remove(self, reference: str) -> None:
        """Take a tag or a manifest away."""
        name = parse_reference(reference)
        del self._manifests[name.repository, name.locator]

    def cut(self, *after_bytes: int) -> None:
        """Break the next streams, one each, after so many bytes."""
        self._cuts.extend(after_bytes)

    @property
    def heads(self) -> int:
        """Count the HEADs of manifests."""
        return self.script.count("head_manifest")

    @property
    def gets(self) -> int:
        """Count the GETs, of manifests and blobs."""
        return self.script.count("get_manifest", "open_blob")

    def head_manifest(self, reference: Reference) -> Descriptor:
        with self.script.call("head_manifest"):
            return self._manifest("head", reference).descriptor

    def get_manifest(self, reference: Reference) -> RawManifest:
        with self.script.call("get_manifest"):
            return self._manifest("get", reference)

    @contextmanager
    def open_blob(self, repository: Repository, blob: Descriptor, first_byte: int = 0) -> Iterator[Iterator[bytes]]:
        where = f"{repository}@{blob.digest}"
        with self.script.call("open_blob"):
            if blob.digest not in self._blobs:
                raise NotFoundError("it has no such thing", operation="read", side=Side.UPSTREAM, reference=where)
            if first_byte and self.ignores_range:
                raise RangeIgnoredError("from the start", operation="read", side=Side.UPSTREAM, reference=where)
        yield self._stream(where, blob, first_byte)

    def _stream(self, where: str, blob: Descriptor, first_byte: int) -> Iterator[bytes]:
        content = self._blobs[blob.digest]
        end = min(len(content), blob.size)
        cut_at = min(end, first_byte + self._cuts.popleft()) if self._cuts else None
        last = end if cut_at is None else cut_at
        for start in range(first_byte, last, self.piece_bytes):
            piece = content[start : min(start + self.piece_bytes, last)]
            self.bytes_sent += len(piece)
            yield piece
        if cut_at is not None or len(content) < blob.size:
            raise RegistryUnavailableError("broken off", operation="read", side=Side.UPSTREAM, reference=where)
        if len(content) > blob.size:
            raise DigestMismatchError("too long", operation="read", side=Side.UPSTREAM, reference=where)

    def _manifest(self, operation: str, reference: Reference) -> RawManifest:
        found = self._manifests.get((reference.repository, reference.locator))
        if found is None:
            raise NotFoundError(
                "it has no such thing", operation=operation, side=Side.UPSTREAM, reference=str(reference), status=404
            )
        return found
