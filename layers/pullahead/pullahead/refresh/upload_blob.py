"""Upload one blob in parts, from wherever the target says that its upload is.

The target verifies the digest when the upload is completed. Where this process has read the whole blob, it verifies the
digest before that. The next part is read while one is sent, so two parts are in memory, whatever the size of the blob.
"""

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pullahead.clock import Wait
from pullahead.errors import RegistryError, Side, TransferStalledError, UploadLostError
from pullahead.oci import Descriptor, algorithm_of
from pullahead.oci.registries import Target, Upload
from pullahead.refresh.progress import BegunUpload
from pullahead.refresh.read_blob import BlobSource, ReadingStoppedError, RetryPolicy, never, read_blob
from pullahead.refresh.verified_stream import mismatch, verify_digest

if TYPE_CHECKING:
    from hashlib import _Hash

_MAX_BREAKS = 5  # at the target, without a byte of progress in between
_MAX_LOST_UPLOADS = 3
_ASKED_EACH_PIECES = 25  # a part at full speed has some 40; where they drip, one comes each second


_REFUSES_SIZE = frozenset({411, 413})
_REFUSES_METHOD = frozenset({400, 403, 404, 405, 415, 501})
_UNSUPPORTED = "UNSUPPORTED"


def refuses_form(error: RegistryError) -> bool:
    """Tell whether a target, or a proxy before it, may refuse the form in which a blob is sent, and not the blob.

    Some accept no request as large as a blob, others no part of one. A registry that refuses the blob, or us, has an
    error code for that.
    """
    is_explained = error.code not in ("", _UNSUPPORTED)
    is_refusal = error.status in _REFUSES_SIZE or (error.status in _REFUSES_METHOD and not is_explained)
    return error.side is Side.TARGET and is_refusal


class BlobTarget(NamedTuple):
    """Where a blob is written."""

    target: Target
    repository: str


class UploadedBlob(NamedTuple):
    """How far an upload came. `paused` is the upload to resume where time ran out."""

    bytes_sent: int
    paused: BegunUpload | None = None


class BlobUpload:
    """The upload of one blob.

    `save` is called for every upload of several parts: before its first part in this process, and when it is paused.
    `must_pause` tells after each part whether the time is up, and `is_over` so within a part that comes slowly: what
    was read of it is then dropped. `wait` is called with the number of breaks in a row before the next try.
    """

    def __init__(
        self,
        blob: Descriptor,
        source: BlobSource,
        target: BlobTarget,
        *,
        save: Callable[[BegunUpload], None],
        must_pause: Callable[[], bool],
        wait: Wait,
        is_over: Callable[[], bool] = never,
    ) -> None:
        self._blob, self._source, self._target = blob, source, target
        self._save, self._must_pause, self._wait, self._is_over = save, must_pause, wait, is_over
        self._hashed: dict[int, _Hash | None] = {}  # the bytes until where the last part begins, and until its end
        self._bytes_sent = 0
        self._offset = 0  # how many bytes the target has, as far as this process knows

    def run(self, begun: BegunUpload | None = None) -> UploadedBlob:
        """Upload the blob, or resume an upload that was begun before.

        Raises: what the ports raise, DigestMismatchError for wrong bytes, TransferStalledError where neither side
        fails permanently but nothing moves.
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
            if self._blob.size > upload.part_size:  # a blob of one part is sent again rather than resumed
                self._save(begun)
        else:
            upload = Upload(begun.id, begun.part_size)
            offset = self._resumed_from(begun)
        sent = self._send(upload, offset)
        if sent < self._blob.size:
            begun = msgspec.structs.replace(begun, offset=sent)
            if self._blob.size > upload.part_size:
                self._save(begun)
            return UploadedBlob(self._bytes_sent, begun)
        target.complete_upload(repository, upload, self._blob)
        return UploadedBlob(self._bytes_sent)

    def _resumed_from(self, begun: BegunUpload) -> int:
        """Return where to resume: where the upload was paused, or where the target says that it is after a kill."""
        if begun.offset is None:
            return self._received(Upload(begun.id, begun.part_size))
        if self._blob.size > begun.part_size:
            self._save(msgspec.structs.replace(begun, offset=None))  # it is no longer true after the next part
        return begun.offset

    def _send(self, upload: Upload, offset: int) -> int:
        """Send parts until the blob ends or time runs out; resume where the target breaks off."""
        breaks = 0
        while offset < self._blob.size:
            before, broken = offset, None
            self._offset = offset
            try:
                offset = self._send_from(upload, offset)
            except ReadingStoppedError:
                return self._offset
            except RegistryError as error:
                # read_blob has resumed as often as it may; after a lost upload the blob is sent from its beginning.
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
        """Send parts until the blob ends, time runs out, or the target wants to continue elsewhere."""
        if offset == 0:
            self._hashed[0] = hashlib.new(algorithm_of(self._blob.digest))
        with ExitStack() as stack:
            parts = self._open_parts(stack, upload, offset)
            for part in parts:
                wanted = offset + len(part.content)
                self._hashed = {offset: self._hashed.get(offset), wanted: part.hashed}
                offset = self._target.target.upload_part(self._target.repository, upload, offset, part.content)
                self._bytes_sent += len(part.content)
                self._offset = offset
                if offset != wanted or (offset < self._blob.size and self._must_pause()):
                    return offset
            if parts.is_cut_short:
                return offset
        if offset < self._blob.size:
            raise mismatch(self._blob, self._source, f"the stream ended after {offset} of {self._blob.size} bytes")
        if (hashed := self._hashed.get(offset)) is not None:  # else another process has read some of the bytes
            verify_digest(self._blob, self._source, f"{hashed.name}:{hashed.hexdigest()}")
        return offset

    def _open_parts(self, stack: ExitStack, upload: Upload, offset: int) -> "_Parts":
        retry_policy = RetryPolicy(self._wait, self._must_pause)
        pieces = stack.enter_context(read_blob(self._blob, self._source, offset, retry_policy))
        hashed = self._hashed.get(offset)
        hashed = None if hashed is None else hashed.copy()
        parts = _Parts(pieces, upload.part_size, self._blob.size - offset, hashed, self._is_over)
        return stack.enter_context(closing(parts))

    def _received(self, upload: Upload) -> int:
        return self._target.target.received_bytes(self._target.repository, upload, self._blob.size)

    def _stalled(self, cause: str) -> TransferStalledError:
        return TransferStalledError(
            f"copy of {self._blob.digest} to {self._target.repository} stalled: {cause}; the next check tries again"
        )


class _Part(NamedTuple):
    """Bytes to send, valid until the next part is taken; and the hash of the blob until their end, where known."""

    content: memoryview
    hashed: "_Hash | None"
    buffer: memoryview


class _Parts:
    """Joins pieces to parts of exactly `part_size` bytes, of which only the last may be smaller, and hashes them.

    Where there are several, a thread fills one buffer while the part in the other one is sent.
    """

    def __init__(
        self,
        pieces: Iterator[bytes],
        part_size: int,
        size: int,
        hashed: "_Hash | None",
        is_over: Callable[[], bool] = never,
    ) -> None:
        self._pieces, self._hashed, self._is_over = pieces, hashed, is_over
        self.is_cut_short = False  # they ended because the time is up
        self._free: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[_Part | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read_ahead, daemon=True) if size > part_size else None
        for _ in range(1 if self._thread is None else 2):
            self._free.put(memoryview(bytearray(min(part_size, size))))
        self._is_closed = False

    def __iter__(self) -> Iterator[_Part]:
        if self._thread is not None:
            self._thread.start()
        for part in self._read() if self._thread is None else self._received():
            yield part
            self._free.put(part.buffer)

    def close(self) -> None:
        """Stop the thread, and wait for it."""
        self._is_closed = True
        self._free.put(None)
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()

    def _read(self) -> Iterator[_Part]:
        buffer, filled = self._free.get(), 0
        for number, piece in enumerate(self._pieces, 1):
            if number % _ASKED_EACH_PIECES == 0 and self._is_over():
                self.is_cut_short = True
                return
            rest = memoryview(piece)
            while rest:
                if buffer is None:
                    buffer, filled = self._free.get(), 0
                if buffer is None or self._is_closed:
                    return
                taken = rest[: len(buffer) - filled]
                buffer[filled : filled + len(taken)] = taken
                if self._hashed is not None:
                    self._hashed.update(taken)
                filled, rest = filled + len(taken), rest[len(taken) :]
                if filled == len(buffer):
                    yield self._part(buffer, filled)
                    buffer = None
        if buffer is not None and filled:
            yield self._part(buffer, filled)

    def _part(self, buffer: memoryview, filled: int) -> _Part:
        return _Part(buffer[:filled], None if self._hashed is None else self._hashed.copy(), buffer)

    def _read_ahead(self) -> None:
        last: BaseException | None = None
        try:
            for part in self._read():
                self._ready.put(part)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that sends
            last = error
        self._ready.put(last)

    def _received(self) -> Iterator[_Part]:
        while (part := self._ready.get()) is not None:
            if isinstance(part, BaseException):
                raise part
            yield part
