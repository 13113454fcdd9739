"""A fake target that takes whole blobs in one stream too. Implements `pullahead.oci.registries.StreamingTarget`."""

from pullahead.errors import DigestMismatchError, NotFoundError, Side
from pullahead.oci import Descriptor, Digest, digest_of
from pullahead.oci.registries import Offered, OpenPieces
from tests.fakes.script import Script
from tests.fakes.target import FakeTarget


class StreamingFakeTarget(FakeTarget):
    """What other repositories hold for mounting is set by `mountable`."""

    def __init__(self, script: Script | None = None, *, part_size: int = 10) -> None:
        super().__init__(script, part_size=part_size)
        self.mountable: dict[tuple[str, Digest], bytes] = {}
        self.streamed: list[Digest] = []

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        with self.script.call("stream_blob"):
            if repository not in self._repositories:
                raise NotFoundError("no such repository", operation="stream", side=Side.TARGET, reference=repository)
            blobs = self._repositories[repository].blobs
            if blob.digest in blobs:
                return Offered.PRESENT
            if mount_from is not None and (mount_from, blob.digest) in self.mountable:
                blobs[blob.digest] = self.mountable[mount_from, blob.digest]
                return Offered.MOUNTED
            with open_pieces() as pieces:
                content = b"".join(pieces)
            if len(content) != blob.size or digest_of(content) != blob.digest:
                raise DigestMismatchError("false bytes", operation="stream", side=Side.TARGET, reference=repository)
            blobs[blob.digest] = content
            self.streamed.append(blob.digest)
            return Offered.COPIED
