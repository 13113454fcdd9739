"""Copy one image from registry to registry in one process: the same planning, blob roads and publishing as a refresh.

Blobs go in one stream each, several at once; where a stream breaks at the target, the blob goes on by parts if it can.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from pullahead.copying.plan import blobs_of, publishing_order
from pullahead.copying.platforms import select_platforms
from pullahead.errors import NotFoundError, PullaheadError, RegistryError, Side
from pullahead.oci import Descriptor, Digest, RawManifest, Reference
from pullahead.ports import Offered, StreamsBlobs, Target, Upstream, Wait
from pullahead.usecases.copy_blob import BlobCopy, BlobSource, BlobTarget
from pullahead.usecases.pieces import proved_pieces
from pullahead.usecases.plan import read_graph
from pullahead.usecases.read_ahead import AHEAD_FROM_BYTES, read_ahead

_MAX_STREAMS = 3


class StreamingTarget(Target, StreamsBlobs, Protocol):
    """A target that takes whole blobs in one request."""


class CopyProgress(Protocol):
    """Is told what happens, from several threads."""

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        """These blobs will be offered."""
        ...

    def offered(self, blob: Descriptor, what: Offered) -> None:
        """A blob is at the target."""
        ...

    def sent(self, blob: Descriptor, count_bytes: int) -> None:
        """So many bytes more of a blob were sent."""
        ...


class CopyOptions(NamedTuple):
    """What to copy and how many blobs at once."""

    platforms: tuple[str, ...] = ()
    threads: int = 4


class CopySummary(NamedTuple):
    """What a copy came to."""

    digest: Digest
    bytes_copied: int
    blobs_copied: int
    blobs_present: int
    blobs_mounted: int
    seconds: float
    already_there: bool


class CopyStoppedError(PullaheadError):
    """The copy was stopped; nothing was published."""


def copy_image(
    source: Reference,
    target: Reference,
    *,
    upstream: Upstream,
    destination: StreamingTarget,
    wait_after_break: Wait,
    progress: CopyProgress,
    clock: Callable[[], float],
    options: CopyOptions | None = None,
) -> CopySummary:
    """Make `target` serve what `source` serves; the tag moves last, after every byte was proved.

    Raises: what the ports raise, UnsupportedMediaTypeError, DigestMismatchError, ConfigError for unknown platforms.
    """
    begun = clock()
    options = options or CopyOptions()
    manifest = _select(source, upstream, options.platforms)
    root = manifest.descriptor
    if _serves(destination, target, root.digest):
        return CopySummary(root.digest, 0, 0, 0, 0, clock() - begun, already_there=True)
    raw, graph = read_graph(source, root, upstream, {root.digest: manifest})
    destination.ensure_repository(target.repository.path)
    blobs = sorted(blobs_of(graph), key=lambda blob: -blob.size)
    progress.planned(blobs)
    copies = _Copies(source, target, upstream, destination, wait_after_break, progress)
    copies.run(blobs, options.threads)
    for node in publishing_order(root, graph)[:-1]:
        destination.put_manifest(target.repository.path, raw[node.digest], None)
    destination.put_manifest(target.repository.path, manifest, target.tag)
    return CopySummary(
        root.digest,
        copies.bytes_sent,
        copies.counts[Offered.COPIED],
        copies.counts[Offered.PRESENT],
        copies.counts[Offered.MOUNTED],
        clock() - begun,
        already_there=False,
    )


def _serves(destination: Target, target: Reference, digest: Digest) -> bool:
    if target.tag is None:
        return False
    try:
        published = destination.published_digests(target.repository.path, [target.tag])
    except NotFoundError:
        return False
    return published.get(target.tag) == digest


def _select(source: Reference, upstream: Upstream, platforms: tuple[str, ...]) -> RawManifest:
    selected = select_platforms(upstream.get_manifest(source), platforms, str(source))
    if isinstance(selected, Descriptor):
        return upstream.get_manifest(source.at(selected.digest))
    return selected


class _Copies:
    """The blobs of one copy on a few threads. The first error ends them all."""

    def __init__(
        self,
        source: Reference,
        target: Reference,
        upstream: Upstream,
        destination: StreamingTarget,
        wait_after_break: Wait,
        progress: CopyProgress,
    ) -> None:
        self._source = BlobSource(upstream, source.repository)
        self._destination, self._repository = destination, target.repository.path
        same_registry = source.repository.registry == target.repository.registry
        self._mount_from = source.repository.path if same_registry else None
        self._wait, self._progress = wait_after_break, progress
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.counts = dict.fromkeys(Offered, 0)
        self.bytes_sent = 0

    def run(self, blobs: Sequence[Descriptor], threads: int) -> None:
        if not blobs:
            return
        with ThreadPoolExecutor(min(threads, len(blobs))) as pool:
            futures = [pool.submit(self._copy, blob) for blob in blobs]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stopped.set()  # no effect where all is done
                for future in futures:
                    future.cancel()
        errors = [error for future in done if not future.cancelled() and (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, CopyStoppedError)):
            raise error

    def _copy(self, blob: Descriptor) -> None:
        what = self._offer(blob)
        with self._lock:
            self.counts[what] += 1
        self._progress.offered(blob, what)

    def _offer(self, blob: Descriptor) -> Offered:
        for _ in range(_MAX_STREAMS):
            try:
                return self._destination.stream_blob(
                    self._repository, blob, lambda: self._pieces(blob), self._mount_from
                )
            except RegistryError as error:
                if error.side is not Side.TARGET or not error.retryable:
                    raise
                self._wait(1)
                if blob.size > AHEAD_FROM_BYTES:
                    break
        return self._copy_by_parts(blob)

    def _copy_by_parts(self, blob: Descriptor) -> Offered:
        copy = BlobCopy(
            blob,
            self._source,
            BlobTarget(self._destination, self._repository),
            keep=lambda _: None,
            must_pause=self._stopped.is_set,
            wait=self._wait,
        )
        copied = copy.run()
        self._count(blob, copied.bytes_sent)
        if copied.paused is not None:
            raise CopyStoppedError(f"copy of {blob.digest} was stopped")
        return Offered.COPIED

    @contextmanager
    def _pieces(self, blob: Descriptor) -> Iterator[Iterator[bytes]]:
        pieces = proved_pieces(blob, self._source, self._wait)
        if blob.size < AHEAD_FROM_BYTES:
            yield self._counted(blob, pieces)
            return
        with read_ahead(pieces) as ahead:
            yield self._counted(blob, ahead)

    def _counted(self, blob: Descriptor, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._stopped.is_set():
                raise CopyStoppedError(f"copy of {blob.digest} was stopped")
            yield piece
            self._count(blob, len(piece))

    def _count(self, blob: Descriptor, count_bytes: int) -> None:
        with self._lock:
            self.bytes_sent += count_bytes
        self._progress.sent(blob, count_bytes)
