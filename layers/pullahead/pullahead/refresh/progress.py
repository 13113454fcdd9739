"""Where a unit of a copy stands, as it is kept between invocations; and how a stream becomes parts. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from pullahead.oci import Descriptor, Digest


class BegunUpload(msgspec.Struct, frozen=True):
    """An upload that another invocation can go on with. How far it got is the target's to say."""

    digest: Digest
    id: str
    part_size: int


class UnitProgress(msgspec.Struct, frozen=True):
    """A unit's blobs and what was begun. Which blobs are done is the target's to say."""

    blobs: tuple[Descriptor, ...]
    uploads: tuple[BegunUpload, ...] = ()
    streamed: tuple[Digest, ...] = ()  # sent in one stream before, or at least begun
    mounts: dict[Digest, str] = msgspec.field(default_factory=dict)  # repositories of the target that have a blob

    def upload_of(self, digest: Digest) -> BegunUpload | None:
        """Find the upload that was begun for a blob."""
        return next((upload for upload in self.uploads if upload.digest == digest), None)

    def with_upload(self, begun: BegunUpload) -> "UnitProgress":
        """Add an upload, in place of an earlier one for the same blob."""
        others = tuple(upload for upload in self.uploads if upload.digest != begun.digest)
        return msgspec.structs.replace(self, uploads=(*others, begun))

    def with_streamed(self, digest: Digest) -> "UnitProgress":
        """Note that a blob was sent in one stream."""
        return msgspec.structs.replace(self, streamed=(*self.streamed, digest))

    def goes_by_parts(self, digest: Digest) -> bool:
        """Tell whether a blob that is still missing has been begun in a way that parts alone go on with."""
        return digest in self.streamed or self.upload_of(digest) is not None


def parts_of(pieces: Iterable[bytes], part_size: int) -> Iterator[bytes]:
    """Join a stream's pieces to parts of exactly `part_size` bytes; only the last may be smaller.

    Holds one part and one piece, whatever the length of the stream.
    """
    part = bytearray()
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            taken = rest[: part_size - len(part)]
            part += taken
            rest = rest[len(taken) :]
            if len(part) == part_size:
                yield bytes(part)
                part.clear()
    if part:
        yield bytes(part)


def skip(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Leave out the first `count` bytes of a stream."""
    for piece in pieces:
        if count >= len(piece):
            count -= len(piece)
            continue
        yield piece[count:]
        count = 0
