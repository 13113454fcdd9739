"""Copy one image from registry to registry in one process: planned, copied and published as a refresh does.

Each blob goes in one stream, several at once; where a stream breaks at the target, the blob goes in parts.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple, Protocol

from pullahead.clock import Wait
from pullahead.errors import (
    AccessDeniedError,
    ManifestRefusedError,
    NotFoundError,
    PullaheadError,
    RateLimitedError,
    RegistryError,
    Side,
)
from pullahead.messages import ReferrersOutcome
from pullahead.oci import Descriptor, Digest, Manifest, RawManifest, Reference
from pullahead.oci.manifest import find_urls
from pullahead.oci.platforms import select_platforms
from pullahead.oci.registries import CopySource, CopyTarget, ManifestReader, Offered, Target
from pullahead.refresh.blobs_at_once import Clocks, copy_at_once
from pullahead.refresh.keep_previous import keep_previous
from pullahead.refresh.parallel_read import ParallelRead
from pullahead.refresh.plan import blobs_of, foreign_layers_of, publishing_order, read_graph, require_sizes
from pullahead.refresh.plan_referrers import PlannedReferrers, find_referrers, outcome_of, subjects_of
from pullahead.refresh.publish_referrers import put_referrers
from pullahead.refresh.read_blob import BlobSource
from pullahead.refresh.upload_blob import BlobTarget, BlobUpload, refuses_form
from pullahead.refresh.verified_stream import verified_stream
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import NO_REFERRERS, ReferrersPolicy, SizeLimits
from pullahead.standalone.foreign_layers import ForeignLayers

_MAX_STREAMS = 3
_STREAMED_ONCE_FROM_BYTES = 4 * 1024 * 1024  # a smaller blob is streamed again rather than sent in parts


class CopyProgress(Protocol):
    """Receives the progress of a copy, from several threads."""

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        """These blobs will be offered."""
        ...

    def offered(self, blob: Descriptor, what: Offered) -> None:
        """The target has a blob."""
        ...

    def sent(self, blob: Descriptor, count_bytes: int) -> None:
        """So many more bytes of a blob were sent."""
        ...


class CopyOptions(NamedTuple):
    """What to copy, and how many blobs at once."""

    platforms: tuple[str, ...] = ()
    threads: int = 4
    foreign_layers: bool = False  # whether to copy layers that the source names by URL only
    referrers: ReferrersPolicy = NO_REFERRERS
    sizes: SizeLimits | None = None  # None: as large as the target takes it
    keeps_previous: bool = False  # whether what the target's tag serves gets a tag of its own before the tag moves


class CopySummary(NamedTuple):
    """What was copied. `blobs_foreign` counts the layers that were left at their URLs; `referrers` is None where none
    were asked for."""

    digest: Digest
    bytes_copied: int
    blobs_copied: int
    blobs_present: int
    blobs_mounted: int
    seconds: float
    already_there: bool
    blobs_foreign: int = 0
    referrers: ReferrersOutcome | None = None


class CopyStoppedError(PullaheadError):
    """The copy was stopped; nothing was published."""


def copy_image(
    source: Reference,
    target: Reference,
    *,
    upstream: CopySource,
    destination: CopyTarget,
    wait_after_break: Wait,
    progress: CopyProgress,
    clock: Callable[[], float],
    cpu_clock: Callable[[], float],
    options: CopyOptions | None = None,
) -> CopySummary:
    """Make `target` serve what `source` serves; the tag moves last, after every byte was verified.

    Referrers are put before the tag moves; one that fails is reported in the summary and does not stop the copy.
    `clock` is monotonic, `cpu_clock` counts the CPU time of the process, both in seconds.

    Raises: what the ports raise, UnsupportedMediaTypeError, DigestMismatchError, ImageTooLargeError, ConfigError for
    unknown platforms.
    """
    begun = clock()
    options = options or CopyOptions()
    manifests = RetryingManifests(upstream, wait_after_break)
    whole = manifests.get_manifest(source)
    root, is_made_here = _select(source, whole, manifests, options.platforms)
    is_served = _serves(destination, target, root.descriptor.digest)
    if is_served and not options.foreign_layers and not options.referrers.copies_any:
        return CopySummary(root.descriptor.digest, 0, 0, 0, 0, clock() - begun, already_there=True)
    graph = _Graph(root, *read_graph(source, root.descriptor, manifests, {root.descriptor.digest: root}), is_made_here)
    if options.sizes is not None:
        require_sizes(source, graph.manifests, options.sizes)
    foreign = foreign_layers_of(graph.manifests)
    blobs = _blobs_to_offer(graph, foreign if options.foreign_layers else (), is_served=is_served)
    planned = _find_referrers(source.at(whole.descriptor.digest), graph, upstream, options.referrers)
    destination.ensure_repository(target.repository.path)
    progress.planned(blobs)
    reader = ForeignLayers(upstream, find_urls(graph.raw.values())) if options.foreign_layers else upstream
    blob_source = BlobSource(reader, source.repository, ParallelRead.measured_by(clock, cpu_clock))
    copies = _BlobCopies(blob_source, target, destination, wait_after_break, progress, Clocks(clock, cpu_clock))
    copies.run(blobs, options.threads)
    is_there = is_served and copies.counts[Offered.PRESENT] == len(blobs)
    if not is_served:
        _publish(destination, target, graph, untagged=bool(planned is not None and planned.referrers))
    outcome = None if planned is None else _copy_referrers(planned, target, copies, options.threads)
    if not is_served:
        if options.keeps_previous and target.tag is not None:
            keep_previous(MirrorKey(target.repository.path, target.tag), root.descriptor.digest, destination)
        destination.put_manifest(target.repository.path, graph.root, target.tag)
    return CopySummary(
        root.descriptor.digest,
        copies.bytes_sent,
        copies.counts[Offered.COPIED],
        copies.counts[Offered.PRESENT],
        copies.counts[Offered.MOUNTED],
        clock() - begun,
        already_there=is_there,
        blobs_foreign=0 if options.foreign_layers else len(foreign),
        referrers=outcome,
    )


def _find_referrers(
    whole: Reference, graph: "_Graph", upstream: CopySource, policy: ReferrersPolicy
) -> PlannedReferrers | None:
    if not policy.copies_any:
        return None
    made_here = (graph.root.descriptor.digest,) if graph.is_made_here else ()
    return find_referrers(whole, subjects_of(graph.root.descriptor, graph.manifests, made_here), upstream, policy)


def _copy_referrers(
    planned: PlannedReferrers, target: Reference, copies: "_BlobCopies", threads: int
) -> ReferrersOutcome:
    repository, destination = target.repository.path, copies.destination
    untagged = [each for each in planned.referrers if each.tag is None]
    present = destination.present_manifests(repository, [each.root.descriptor.digest for each in untagged])
    missing = [each for each in planned.referrers if each.root.descriptor.digest not in present]
    blobs = {blob.digest: blob for each in missing for blob in each.blobs}
    failed = copies.run_each(list(blobs.values()), threads)
    put = put_referrers(repository, planned.referrers, destination, failed, copies.wait)
    return outcome_of(planned, put.copied, put.bytes, put.troubles)


class _Graph(NamedTuple):
    """All manifests of what is copied, and their bytes."""

    root: RawManifest
    raw: Mapping[Digest, RawManifest]
    manifests: Mapping[Digest, Manifest]
    is_made_here: bool = False  # the root is an index of some platforms, which the source does not have


def _select(
    source: Reference, whole: RawManifest, upstream: ManifestReader, platforms: tuple[str, ...]
) -> tuple[RawManifest, bool]:
    """Return the root to copy, and whether it was made of the source's."""
    selected = select_platforms(whole, platforms, str(source))
    if isinstance(selected, Descriptor):
        return upstream.get_manifest(source.at(selected.digest)), False
    return selected, selected.descriptor.digest != whole.descriptor.digest


def _serves(destination: Target, target: Reference, digest: Digest) -> bool:
    if target.tag is None:
        return False
    try:
        published = destination.published_digests(target.repository.path, [target.tag])
    except NotFoundError:
        return False
    except AccessDeniedError as error:
        if error.status != 403 or error.by_way_of:
            raise
        return False  # whoever may not read there may be allowed to write all the same
    return published.get(target.tag) == digest


def _blobs_to_offer(graph: _Graph, foreign: Sequence[Descriptor], *, is_served: bool) -> list[Descriptor]:
    """List the blobs to offer, the largest first; of an image that the target serves, the foreign layers alone."""
    own = () if is_served else blobs_of(graph.manifests)
    return sorted((*own, *foreign), key=lambda blob: -blob.size)


def _publish(destination: CopyTarget, target: Reference, graph: _Graph, *, untagged: bool) -> None:
    """Put the children; and the root without its tag, where something refers to it."""
    order = publishing_order(graph.root.descriptor, graph.manifests)
    for node in order if untagged else order[:-1]:
        destination.put_manifest(target.repository.path, graph.raw[node.digest], None)


class _BlobCopies:
    """Copies the blobs of an image on a few threads. The first error stops them all."""

    def __init__(
        self,
        source: BlobSource,
        target: Reference,
        destination: CopyTarget,
        wait_after_break: Wait,
        progress: CopyProgress,
        clocks: Clocks,
    ) -> None:
        self._source, self.destination, self._clocks = source, destination, clocks
        self._target, self._repository = target.repository, target.repository.path
        same_registry = source.repository.registry == target.repository.registry
        self._mount_from = source.repository.path if same_registry else None
        self.wait, self._progress = wait_after_break, progress
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._first_error: BaseException | None = None
        self._refuses_parts = False
        self.counts = dict.fromkeys(Offered, 0)
        self.bytes_sent = 0

    def run(self, blobs: Sequence[Descriptor], threads: int) -> None:
        try:
            copy_at_once(blobs, self._copy_or_stop, threads, self._clocks)
        finally:
            self._stopped.set()  # no effect where all is done
        if self._first_error is not None:
            raise self._first_error

    def run_each(self, blobs: Sequence[Descriptor], threads: int) -> Mapping[Digest, str]:
        """Copy blobs of which each may fail; return those that did, each with class and message of the error."""
        if not blobs:
            return {}
        self._stopped.clear()
        self._progress.planned(blobs)
        with ThreadPoolExecutor(min(threads, len(blobs))) as pool:
            errors = list(pool.map(self._try, blobs))
        return {blob.digest: error for blob, error in zip(blobs, errors, strict=True) if error}

    def _try(self, blob: Descriptor) -> str:
        try:
            self._copy(blob)
        except RegistryError as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _copy_or_stop(self, blob: Descriptor) -> None:
        """Copy a blob, unless another one has failed; if this one fails, stop the others."""
        if self._stopped.is_set():
            return
        try:
            self._copy(blob)
        except BaseException as error:  # noqa: BLE001 - it is raised by `run`
            with self._lock:
                self._first_error = self._first_error or error
            self._stopped.set()

    def _copy(self, blob: Descriptor) -> None:
        what = self._offer(blob)
        with self._lock:
            self.counts[what] += 1
        self._progress.offered(blob, what)

    def _offer(self, blob: Descriptor) -> Offered:
        """Send a blob in one stream; in parts where that breaks or is refused; in streams again where parts are."""
        for number in range(_MAX_STREAMS):
            try:
                return self.destination.stream_blob(self._repository, blob, lambda: self._open(blob), self._mount_from)
            except RegistryError as error:
                if error.side is not Side.TARGET or not (error.retryable or refuses_form(error)):
                    raise
                if not error.retryable:
                    break
                self.wait(1)
            if blob.size > _STREAMED_ONCE_FROM_BYTES and not self._refuses_parts:
                try:
                    return self._copy_by_parts(blob)
                except RegistryError as error:
                    if not refuses_form(error) or number + 1 == _MAX_STREAMS:
                        raise
                    self._refuses_parts = True
        if blob.size == 0:
            raise self._empty_blob_refused(blob)
        return self._copy_by_parts(blob)

    def _open(self, blob: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        def check() -> None:
            if self._stopped.is_set():
                raise _stopped(blob)

        return verified_stream(blob, self._source, self.wait, check=check, sent=partial(self._count, blob))

    def _copy_by_parts(self, blob: Descriptor) -> Offered:
        upload = BlobUpload(
            blob,
            self._source,
            BlobTarget(self.destination, self._repository),
            save=lambda _: None,
            must_pause=self._stopped.is_set,
            wait=self.wait,
            is_over=self._stopped.is_set,
        )
        uploaded = upload.run()
        self._count(blob, uploaded.bytes_sent)
        if uploaded.paused is not None:
            raise _stopped(blob)
        return Offered.COPIED

    def _count(self, blob: Descriptor, count_bytes: int) -> None:
        with self._lock:
            self.bytes_sent += count_bytes
        self._progress.sent(blob, count_bytes)

    def _empty_blob_refused(self, blob: Descriptor) -> ManifestRefusedError:
        # ECR API reference, CompleteLayerUpload: EmptyUploadException. Its /v2 says that the upload is invalid.
        return ManifestRefusedError(
            "an empty blob is refused, as ECR does",
            operation="put blob",
            side=Side.TARGET,
            reference=f"{self._target}@{blob.digest}",
        )


def _stopped(blob: Descriptor) -> CopyStoppedError:
    return CopyStoppedError(f"the copy of {blob.digest} was stopped")


_MAX_TRIES = 3  # each with the retries of the client itself
_MAX_RETRY_AFTER_SECONDS = 10.0


class RetryingManifests:
    """Implements `pullahead.oci.registries.ManifestReader`: reads again where the registry fails for a while.

    The service does that by its state machine and its queue.
    """

    def __init__(self, upstream: ManifestReader, wait: Wait) -> None:
        self._upstream, self._wait = upstream, wait

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest, retrying where the registry answers with an error that may pass."""
        for number in range(1, _MAX_TRIES):
            try:
                return self._upstream.get_manifest(reference)
            except RegistryError as error:
                if not _is_worth_a_retry(error):
                    raise
            self._wait(number)
        return self._upstream.get_manifest(reference)


def _is_worth_a_retry(error: RegistryError) -> bool:
    if isinstance(error, RateLimitedError) and (error.retry_after_seconds or 0.0) > _MAX_RETRY_AFTER_SECONDS:
        return False  # too long for a command
    return error.retryable and error.status is not None  # without an answer, the client has retried already
