"""Copy one blob from upstream to the target in parts, from wherever the target says that it stands.

The target proves the digest when an upload is closed. Where the whole stream was seen here, it is proved here too.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from pullahead.errors import DigestMismatchError, RegistryError, Side, TransferStalledError, UploadLostError
from pullahead.oci import Descriptor, algorithm_of
from pullahead.oci.registries import Target, Upload
from pullahead.refresh.progress import BegunUpload, parts_of
from pullahead.refresh.read_blob import BlobSource, ReadingStoppedError, RetryPolicy, read_blob
from pullahead.refresh.verified_stream import AHEAD_FROM_BYTES, read_ahead

_MAX_BREAKS = 5  # at the target, without a byte of progress in between
_MAX_LOST_UPLOADS = 3
_PIECES_AHEAD = 10  # of at most 1 MiB: about a part is read while another is sent


class BlobTarget(NamedTuple):
    """Where a blob is written."""

    target: Target
    repository: str


class UploadedBlob(NamedTuple):
    """How far a copy came. `paused` is the upload to go on with where time ran out."""

    bytes_sent: int
    paused: BegunUpload | None = None


class BlobUpload:
    """One blob's way.

    `keep` is called once for every upload of several parts that is begun, before its first part; `must_pause` tells
    after each part whether the time is up; `wait` is called with the number of breaks in a row before going on.
    """

    def __init__(
        self,
        blob: Descriptor,
        source: BlobSource,
        target: BlobTarget,
        *,
        keep: Callable[[BegunUpload], None],
        must_pause: Callable[[], bool],
        wait: Callable[[int], None],
    ) -> None:
        self._blob, self._source, self._target = blob, source, target
        self._keep, self._must_pause, self._wait = keep, must_pause, wait
        self._proof = _Proof(algorithm_of(blob.digest))
        self._bytes_sent = 0

    def run(self, begun: BegunUpload | None = None) -> UploadedBlob:
        """Copy the blob, or go on with an upload that was begun before.

        Raises: what the ports raise, DigestMismatchError for false bytes, TransferStalledError where neither side
        fails for good but nothing moves.
        """
        for _ in range(_MAX_LOST_UPLOADS):
            try:
                return self._upload(begun)
            except UploadLostError:
                begun = None
        raise self._stalled(f"the target lost {_MAX_LOST_UPLOADS} uploads in a row")

    def _upload(self, begun: BegunUpload | None) -> UploadedBlob:
        target, repository = self._target
        if begun is None:
            upload = target.begin_upload(repository)
            offset = 0
            begun = BegunUpload(self._blob.digest, upload.id, upload.part_size)
            if self._blob.size > upload.part_size:  # a blob of one part is sent anew rather than remembered
                self._keep(begun)
        else:
            upload = Upload(begun.id, begun.part_size)
            offset = self._received(upload)
        if self._send(upload, offset) < self._blob.size:
            return UploadedBlob(self._bytes_sent, begun)
        target.complete_upload(repository, upload, self._blob)
        return UploadedBlob(self._bytes_sent)

    def _send(self, upload: Upload, offset: int) -> int:
        breaks = 0
        while offset < self._blob.size:
            before, broken = offset, None
            try:
                offset = self._send_from(upload, offset)
            except ReadingStoppedError:
                return self._received(upload)
            except RegistryError as error:
                # Upstream's breaks were mended as far as they can be; a lost upload begins anew.
                if error.side is not Side.TARGET or not error.retryable or isinstance(error, UploadLostError):
                    raise
                broken = error
                offset = self._received(upload)
            breaks = 0 if offset > before else breaks + 1
            if breaks >= _MAX_BREAKS:
                raise broken or self._stalled(f"the target took no part in {breaks} tries")
            if broken is not None or breaks:
                self._wait(breaks)
            if self._must_pause():
                break
        return offset

    def _send_from(self, upload: Upload, offset: int) -> int:
        """Send parts until the blob ends, time runs out, or the target wants to go on elsewhere."""
        self._proof.seek(offset)
        with ExitStack() as stack:
            for part in parts_of(self._open(stack, offset), upload.part_size):
                self._proof.update(part)
                wanted = offset + len(part)
                offset = self._target.target.upload_part(self._target.repository, upload, offset, part)
                self._bytes_sent += len(part)
                if offset != wanted or (offset < self._blob.size and self._must_pause()):
                    return offset
        if offset < self._blob.size:
            raise self._mismatch(f"the stream ended after {offset} of {self._blob.size} bytes")
        if (found := self._proof.digest()) not in (None, self._blob.digest):
            raise self._mismatch(f"the bytes have the digest {found}")
        return offset

    def _received(self, upload: Upload) -> int:
        return self._target.target.received_bytes(self._target.repository, upload, self._blob.size)

    def _open(self, stack: ExitStack, offset: int) -> Iterator[bytes]:
        retry_policy = RetryPolicy(self._wait, self._must_pause)
        pieces = stack.enter_context(read_blob(self._blob, self._source, offset, retry_policy))
        if self._blob.size - offset < AHEAD_FROM_BYTES:
            return pieces
        return stack.enter_context(read_ahead(pieces, _PIECES_AHEAD))

    def _stalled(self, cause: str) -> TransferStalledError:
        return TransferStalledError(
            f"copy of {self._blob.digest} to {self._target.repository} stalled: {cause}; the next check tries again"
        )

    def _mismatch(self, cause: str) -> DigestMismatchError:
        return DigestMismatchError(
            cause, operation="read", side=Side.UPSTREAM, reference=f"{self._source.repository}@{self._blob.digest}"
        )


class _Proof:
    """A digest over consecutive parts; it knows nothing as soon as a part was seen by another process."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._position = 0
        self._complete = True

    def seek(self, offset: int) -> None:
        if offset == 0:
            self._hash, self._position, self._complete = hashlib.new(self._algorithm), 0, True
        elif offset != self._position:
            self._complete = False

    def update(self, part: bytes) -> None:
        if self._complete:
            self._hash.update(part)
            self._position += len(part)

    def digest(self) -> str | None:
        return f"{self._algorithm}:{self._hash.hexdigest()}" if self._complete else None
