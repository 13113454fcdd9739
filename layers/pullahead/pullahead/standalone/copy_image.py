"""Copy one image from registry to registry in one process: the same planning, blob roads and publishing as a refresh.

Blobs go in one stream each, several at once; where a stream breaks at the target, the blob goes on by parts if it can.

Manifests of a registry that is in trouble: asked for once more after a while, as blobs are read on.

In the service a state machine and a queue do that. Decides how often; how long is waited is the caller's.

Foreign layers: read from the registry if it has them, else from the first of their URLs that works.

Decides only where a layer is read; whoever reads it proves the bytes.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, Protocol

from pullahead.clock import Wait
from pullahead.errors import (
    ManifestRefusedError,
    NotFoundError,
    PullaheadError,
    RangeIgnoredError,
    RateLimitedError,
    RegistryError,
    Side,
)
from pullahead.oci import Descriptor, Digest, Manifest, RawManifest, Reference, Repository
from pullahead.oci.manifest import find_urls
from pullahead.oci.platforms import select_platforms
from pullahead.oci.registries import BlobReader, ManifestReader, Offered, StreamingTarget, Target, Upstream
from pullahead.refresh.plan import blobs_of, foreign_layers_of, publishing_order, read_graph
from pullahead.refresh.read_blob import BlobSource, parallel_read
from pullahead.refresh.upload_blob import BlobTarget, BlobUpload
from pullahead.refresh.verified_stream import AHEAD_FROM_BYTES, sent_pieces

_MAX_ROUNDS = 3  # of the tries that the port itself makes
_MAX_ASKED_SECONDS = 10.0


class PatientManifests:
    """Satisfies `ManifestReader` by another that may fail for a while."""

    def __init__(self, upstream: ManifestReader, wait: Wait) -> None:
        self._upstream, self._wait = upstream, wait

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest, once more where the registry answers that it is in trouble."""
        for number in range(1, _MAX_ROUNDS):
            try:
                return self._upstream.get_manifest(reference)
            except RegistryError as error:
                if not _may_pass(error):
                    raise
            self._wait(number)
        return self._upstream.get_manifest(reference)


def _may_pass(error: RegistryError) -> bool:
    if isinstance(error, RateLimitedError) and (error.retry_after_seconds or 0.0) > _MAX_ASKED_SECONDS:
        return False  # longer than anybody looks on: whoever asked is told
    return error.retryable and error.status is not None  # a registry that does not answer at all has had its tries


_Open = Callable[[int, int | None], AbstractContextManager[Iterator[bytes]]]


class ForeignLayers:
    """Satisfies `BlobReader` for layers of which the URLs are known."""

    def __init__(self, upstream: Upstream, urls: Mapping[Digest, tuple[str, ...]]) -> None:
        self._upstream, self._urls = upstream, urls
        self._worked: dict[Digest, int] = {}  # places by number: a stream that broke goes on where it was begun

    @contextmanager
    def open_blob(
        self, repository: Repository, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        """Open a layer at the registry, or else at one URL after the other.

        Raises: as `BlobReader.open_blob`, by the last place that was tried.
        """
        with ExitStack() as stack:
            yield self._enter_first(stack, self._places(repository, blob), blob, first_byte, end)

    def _enter_first(
        self, stack: ExitStack, places: list[_Open], blob: Descriptor, first_byte: int, end: int | None
    ) -> Iterator[bytes]:
        number = self._worked.get(blob.digest, 0)
        while True:
            try:
                pieces = stack.enter_context(places[number](first_byte, end))
            except RegistryError as error:
                if number + 1 == len(places) or not _may_be_elsewhere(error, number):
                    raise
                number += 1
            else:
                self._worked[blob.digest] = number
                return pieces

    def _places(self, repository: Repository, blob: Descriptor) -> list[_Open]:
        def at_url(url: str) -> _Open:
            return lambda first_byte, end: self._upstream.open_url(repository, url, blob, first_byte, end)

        def at_registry(first_byte: int, end: int | None) -> AbstractContextManager[Iterator[bytes]]:
            return self._upstream.open_blob(repository, blob, first_byte, end)

        return [at_registry, *map(at_url, self._urls.get(blob.digest, ()))]


def _may_be_elsewhere(error: RegistryError, number: int) -> bool:
    if number == 0:
        return isinstance(error, NotFoundError)  # a registry that fails in another way may yet have it
    return not isinstance(error, RangeIgnoredError)  # which is to be read from its beginning there


_MAX_STREAMS = 3


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
    foreign_layers: bool = False  # whether layers are copied that the source names by URL only


class CopySummary(NamedTuple):
    """What a copy came to. `blobs_foreign` counts the layers that were left at their URLs."""

    digest: Digest
    bytes_copied: int
    blobs_copied: int
    blobs_present: int
    blobs_mounted: int
    seconds: float
    already_there: bool
    blobs_foreign: int = 0


class CopyStoppedError(PullaheadError):
    """The copy was stopped; nothing was published."""


class _Graph(NamedTuple):
    """All manifests of what is copied, and their bytes."""

    root: RawManifest
    raw: Mapping[Digest, RawManifest]
    manifests: Mapping[Digest, Manifest]


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
    manifests = PatientManifests(upstream, wait_after_break)
    root = _select(source, manifests, options.platforms)
    is_served = _serves(destination, target, root.descriptor.digest)
    if is_served and not options.foreign_layers:
        return CopySummary(root.descriptor.digest, 0, 0, 0, 0, clock() - begun, already_there=True)
    graph = _Graph(root, *read_graph(source, root.descriptor, manifests, {root.descriptor.digest: root}))
    foreign = foreign_layers_of(graph.manifests)
    blobs = _wanted(graph, foreign if options.foreign_layers else (), is_served=is_served)
    destination.ensure_repository(target.repository.path)
    progress.planned(blobs)
    readable = ForeignLayers(upstream, find_urls(graph.raw.values())) if options.foreign_layers else upstream
    copies = _Copies(source, target, readable, destination, wait_after_break, progress, clock)
    copies.run(blobs, options.threads)
    if not is_served:
        _publish(destination, target, graph)
    return CopySummary(
        root.descriptor.digest,
        copies.bytes_sent,
        copies.counts[Offered.COPIED],
        copies.counts[Offered.PRESENT],
        copies.counts[Offered.MOUNTED],
        clock() - begun,
        already_there=is_served and copies.counts[Offered.PRESENT] == len(blobs),
        blobs_foreign=0 if options.foreign_layers else len(foreign),
    )


def _wanted(graph: _Graph, foreign: Sequence[Descriptor], *, is_served: bool) -> list[Descriptor]:
    """List what is offered, the largest first: of what the target serves, the foreign layers may be all it lacks."""
    own = () if is_served else blobs_of(graph.manifests)
    return sorted((*own, *foreign), key=lambda blob: -blob.size)


def _publish(destination: Target, target: Reference, graph: _Graph) -> None:
    for node in publishing_order(graph.root.descriptor, graph.manifests)[:-1]:
        destination.put_manifest(target.repository.path, graph.raw[node.digest], None)
    destination.put_manifest(target.repository.path, graph.root, target.tag)


def _serves(destination: Target, target: Reference, digest: Digest) -> bool:
    if target.tag is None:
        return False
    try:
        published = destination.published_digests(target.repository.path, [target.tag])
    except NotFoundError:
        return False
    return published.get(target.tag) == digest


def _select(source: Reference, upstream: ManifestReader, platforms: tuple[str, ...]) -> RawManifest:
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
        upstream: BlobReader,
        destination: StreamingTarget,
        wait_after_break: Wait,
        progress: CopyProgress,
        clock: Callable[[], float],
    ) -> None:
        self._source = BlobSource(upstream, source.repository, parallel_read(clock))
        self._destination, self._target, self._repository = destination, target.repository, target.repository.path
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
        if blob.size == 0:
            raise self._refuses_nothing(blob)
        return self._copy_by_parts(blob)

    def _refuses_nothing(self, blob: Descriptor) -> ManifestRefusedError:
        # ECR API reference, CompleteLayerUpload: EmptyUploadException. Its /v2 says that the upload is invalid.
        return ManifestRefusedError(
            "it takes no blob without bytes, as ECR does not",
            operation="put blob",
            side=Side.TARGET,
            reference=f"{self._target}@{blob.digest}",
        )

    def _copy_by_parts(self, blob: Descriptor) -> Offered:
        copy = BlobUpload(
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

    def _pieces(self, blob: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        def check() -> None:
            if self._stopped.is_set():
                raise CopyStoppedError(f"copy of {blob.digest} was stopped")

        return sent_pieces(blob, self._source, self._wait, before=check, sent=partial(self._count, blob))

    def _count(self, blob: Descriptor, count_bytes: int) -> None:
        with self._lock:
            self.bytes_sent += count_bytes
        self._progress.sent(blob, count_bytes)
