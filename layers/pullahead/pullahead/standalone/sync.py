"""Copy stale mirrors in one process, several at once. One that fails does not stop the others."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

from pullahead.admission.signatures.verdict import SignatureVerdict
from pullahead.clock import Wait
from pullahead.errors import NotVerifiedError, PullaheadError
from pullahead.messages import RefreshRequest
from pullahead.oci import Descriptor, Digest, Reference, Repository
from pullahead.oci.registries import CopySource, CopyTarget, Offered, OpenPieces, RepositorySettings
from pullahead.refresh.verify_signatures import Prove
from pullahead.rules.admission_policy import AdmissionMode
from pullahead.rules.model import Rules
from pullahead.rules.signature_policy import SignaturePolicy
from pullahead.standalone.copy_image import CopyOptions, CopySummary, copy_image

MIRRORS_AT_ONCE = 4
BLOBS_AT_ONCE = 3  # of each mirror


def no_proofs(image: Reference, _policy: SignaturePolicy) -> SignatureVerdict:
    """Verify nothing."""
    raise NotVerifiedError(f"{image} is not copied: nothing here verifies signatures")


class SyncResult(NamedTuple):
    """The outcome of a refresh: a summary or an error."""

    request: RefreshRequest
    summary: CopySummary | None
    error: str = ""
    note: str = ""  # what its rule reports


class NoProgress:
    """Implements `CopyProgress` where only whole copies are reported."""

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        """Do nothing."""

    def offered(self, blob: Descriptor, what: Offered) -> None:
        """Do nothing."""

    def sent(self, blob: Descriptor, count_bytes: int) -> None:
        """Do nothing."""


class SyncMirrors:
    """Copies mirrors. `registry` is the name of the target in messages."""

    def __init__(
        self,
        rules: Rules,
        upstream: CopySource,
        target: CopyTarget,
        registry: str,
        *,
        wait_after_break: Wait,
        clock: Callable[[], float],
        cpu_clock: Callable[[], float],
        prove: Prove = no_proofs,
    ) -> None:
        self._rules, self._upstream, self._registry, self._prove = rules, upstream, registry, prove
        self._target = SharedTarget(target)
        self._wait, self._clock, self._cpu_clock = wait_after_break, clock, cpu_clock

    def __call__(self, requests: Sequence[RefreshRequest]) -> Iterator[SyncResult]:
        """Copy the mirrors, and yield the outcome of each as it ends."""
        with ThreadPoolExecutor(MIRRORS_AT_ONCE) as pool:
            for future in as_completed([pool.submit(self._sync, request) for request in requests]):
                yield future.result()

    def _sync(self, request: RefreshRequest) -> SyncResult:
        try:
            note = self._verify(request)
            creation = self._rules.creation_of(request.repository, request.tag)
            self._target.ensure_repository(request.repository, creation)
            return SyncResult(request, self._copy(request), note=note)
        except PullaheadError as error:
            return SyncResult(request, None, str(error))

    def _verify(self, request: RefreshRequest) -> str:
        """Look at the signatures that the rule demands; return what it reports. Raises NotVerifiedError."""
        mirror = self._rules.find(request.repository, request.tag)
        admit = mirror.admit if mirror is not None and mirror.pin is None else None
        if admit is None or admit.verify is None:
            return ""
        reports = admit.mode is AdmissionMode.REPORT
        try:
            verdict = self._prove(request.source, admit.verify)
        except PullaheadError as error:
            if reports:
                return f"it could not be verified: {error}"
            raise
        if verdict.is_admitted:
            return ""
        why = f"{verdict.outcome}: {verdict.reason}"
        if reports:
            return f"its rule would not copy it if it did not only report: {why}"
        raise NotVerifiedError(f"{request.source} is not copied: {why}")

    def _copy(self, request: RefreshRequest) -> CopySummary:
        return copy_image(
            request.source,
            Reference(Repository(self._registry, request.repository), request.tag),
            upstream=self._upstream,
            destination=self._target,
            wait_after_break=self._wait,
            progress=NoProgress(),
            clock=self._clock,
            cpu_clock=self._cpu_clock,
            options=CopyOptions(
                platforms=request.platforms,
                threads=BLOBS_AT_ONCE,
                referrers=self._rules.referrers_of(request.repository, request.tag),
                sizes=self._rules.sizes_of(request.repository, request.tag),
                keeps_previous=self._rules.keeps_previous(request.repository, request.tag) is not None,
            ),
        )


class SharedTarget:
    """A target of several copies at once: a repository or a blob that two of them need is created or sent by one.

    The other one waits, and does not ask again: some registries write a blob's link anew when it is offered, and refuse
    a manifest that names the blob meanwhile.
    """

    def __init__(self, target: CopyTarget) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._locks: defaultdict[tuple[str, Digest | None], threading.Lock] = defaultdict(threading.Lock)
        self._created: set[str] = set()
        self._there: set[tuple[str, Digest]] = set()
        self.published_digests = target.published_digests
        self.present_blobs = target.present_blobs
        self.begin_upload, self.received_bytes = target.begin_upload, target.received_bytes
        self.upload_part, self.complete_upload = target.upload_part, target.complete_upload
        self.put_manifest, self.present_manifests = target.put_manifest, target.present_manifests
        self.read_manifest, self.lists_referrers = target.read_manifest, target.lists_referrers

    def ensure_repository(self, repository: str, settings: RepositorySettings | None = None) -> None:
        """Create a repository, unless this run has done so already."""
        with self._lock_of(repository, None):
            if repository not in self._created:
                self._target.ensure_repository(repository, settings)
                self._created.add(repository)

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        """Offer a blob, unless this run has done so already."""
        with self._lock_of(repository, blob.digest):
            if (repository, blob.digest) in self._there:
                return Offered.PRESENT
            offered = self._target.stream_blob(repository, blob, open_pieces, mount_from)
            self._there.add((repository, blob.digest))
            return offered

    def _lock_of(self, repository: str, digest: Digest | None) -> threading.Lock:
        with self._lock:
            return self._locks[repository, digest]
