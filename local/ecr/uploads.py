"""Upload sessions: parts in strict sequence, one digest at the end. Refuses to know whether parts come by API or /v2.

Rules: ECR API reference, UploadLayerPart and CompleteLayerUpload. ECR computes the digest itself, so do we.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from local.ecr.errors import EcrError, invalid_layer_part, upload_not_found
from local.ecr.identity import MAX_LAYER_BYTES, MAX_PARTS_PER_LAYER, MIN_PART_BYTES
from local.ecr.store import BlobStore

_LOCK_SECONDS = 30.0


class FinishedLayer(NamedTuple):
    """What an upload turned into."""

    digest: str
    size_bytes: int


@dataclass
class Upload:
    """One session. Only whole parts count: the file may hold more, the tail of a part that was cut off."""

    upload_id: str
    repository: str
    path: Path
    hasher: Any = field(default_factory=hashlib.sha256)
    size_bytes: int = 0
    part_ends: list[int] = field(default_factory=list)  # at most MAX_PARTS_PER_LAYER
    closed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def last_byte(self) -> int:
        """Give the offset of the last byte of the last whole part; -1 before the first."""
        return self.size_bytes - 1

    def has_short_part(self) -> bool:
        """Say whether a part other than the last is below the minimum."""
        starts = [0, *self.part_ends]
        return any(end - start < MIN_PART_BYTES for start, end in zip(starts, self.part_ends[:-1], strict=False))


class Uploads:
    """All open sessions of the registry."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._open: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def begin(self, repository: str) -> Upload:
        """Open a session."""
        upload_id, path = self._store.begin_upload()
        upload = Upload(upload_id, repository, path)
        with self._lock:
            self._open[upload_id] = upload
        return upload

    def find(self, repository: str, upload_id: str) -> Upload:
        """Give an open session of this repository.

        Raises:
            EcrError: UploadNotFoundException.
        """
        with self._lock:
            upload = self._open.get(upload_id)
        if upload is None or upload.repository != repository:
            raise upload_not_found(repository, upload_id)
        return upload

    def append(self, upload: Upload, first_byte: int | None, chunks: Iterable[bytes]) -> int:
        """Add one part and give the offset of its last byte; None means wherever the last one ended.

        A part whose bytes stop short (the iterable raises) leaves the session as it was.

        Raises:
            EcrError: InvalidLayerPartException, LimitExceededException, UploadNotFoundException.
        """
        with self._writing(upload):
            if first_byte is not None and first_byte != upload.size_bytes:
                raise _not_consecutive(upload, first_byte)
            if len(upload.part_ends) >= MAX_PARTS_PER_LAYER:
                raise EcrError("LimitExceededException", f"A layer may have at most {MAX_PARTS_PER_LAYER} parts")
            _write_part(upload, chunks)
            return upload.last_byte

    def complete(self, upload: Upload, digests: Iterable[str]) -> FinishedLayer:
        """Close a session whose bytes have the digest that the caller says, and keep the blob.

        Raises:
            EcrError: EmptyUploadException, LayerPartTooSmallException, InvalidLayerException, UploadNotFoundException.
        """
        with self._writing(upload):
            digest = _checked_digest(upload, digests)
            with upload.path.open("r+b") as file:
                file.truncate(upload.size_bytes)  # without the tail of a part that never became whole
            self._store.adopt(upload.path, digest)
            self._close(upload)
            return FinishedLayer(digest, upload.size_bytes)

    def forget(self, repository: str | None = None) -> None:
        """End sessions, of one repository or all, as ECR does without notice; their ids are unknown from now on."""
        with self._lock:
            chosen = [u for u in self._open.values() if repository in (None, u.repository)]
        for upload in chosen:
            with upload.lock:  # waits for a part that is being written
                if not upload.closed:
                    upload.path.unlink()
                    self._close(upload)

    def _close(self, upload: Upload) -> None:
        upload.closed = True
        with self._lock:
            self._open.pop(upload.upload_id, None)

    @contextmanager
    def _writing(self, upload: Upload) -> Iterator[None]:
        if not upload.lock.acquire(timeout=_LOCK_SECONDS):
            raise EcrError("ServerException", f"The upload with id '{upload.upload_id}' is busy with another request")
        try:
            if upload.closed:
                raise upload_not_found(upload.repository, upload.upload_id)
            yield
        finally:
            upload.lock.release()


def _write_part(upload: Upload, chunks: Iterable[bytes]) -> None:
    hasher, size = upload.hasher.copy(), upload.size_bytes
    with upload.path.open("r+b") as file:
        file.seek(size)  # over the tail of a part that never became whole
        for chunk in chunks:
            size += len(chunk)
            if size > MAX_LAYER_BYTES:
                raise EcrError("LimitExceededException", f"A layer may have at most {MAX_LAYER_BYTES} bytes")
            hasher.update(chunk)
            file.write(chunk)
    if size > upload.size_bytes:
        upload.hasher, upload.size_bytes = hasher, size
        upload.part_ends.append(size)


def _checked_digest(upload: Upload, digests: Iterable[str]) -> str:
    where = f"upload with id '{upload.upload_id}' in the repository with name '{upload.repository}'"
    if not upload.part_ends:
        raise EcrError("EmptyUploadException", f"The {where} has no layer parts")
    if upload.has_short_part():
        raise EcrError("LayerPartTooSmallException", "Layer parts must be at least 5 MiB in size")
    digest = f"sha256:{upload.hasher.hexdigest()}"
    if any(asked != digest for asked in digests):
        raise EcrError("InvalidLayerException", f"The digest of the {where} is not the one given; it is {digest}")
    return digest


def _not_consecutive(upload: Upload, first_byte: int) -> EcrError:
    message = f"The part begins at byte {first_byte}, but the next byte of the layer is {upload.size_bytes}"
    return invalid_layer_part(upload.repository, upload.upload_id, upload.last_byte, message)
