"""The two kinds of registry that the core works with: an upstream, which is read, and a target, which is written.

A method raises the errors that its docstring names and no others; implementations translate.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import NamedTuple, Protocol

from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository
from pullahead.oci.referrers import Referrer


class RepositorySettings(NamedTuple):
    """How to create a target repository. Policies are JSON texts."""

    tags: tuple[tuple[str, str], ...] = ()
    kms_key: str | None = None  # None: AES-256; "" : the AWS managed key
    scan_on_push: bool = False
    immutable_tags: bool = False
    mutable_tag_filters: tuple[str, ...] = ()  # wildcards that stay mutable where tags are immutable
    lifecycle_policy: str | None = None
    repository_policy: str | None = None
    expire_untagged_days: int | None = None  # None: the target's default; 0: never. A lifecycle policy takes its place


class Upload(NamedTuple):
    """A blob upload that was begun at the target. Every part but the last has `part_size` bytes."""

    id: str
    part_size: int


PublishedDigests = Callable[[str, Collection[str]], Mapping[str, Digest]]
"""`Target.published_digests`, for callers that need nothing else of a target."""

FindMounts = Callable[[Collection[Digest], Sequence[str]], Mapping[Digest, str]]
"""Map digests to one of the repositories that has them; the likeliest repositories come first, and not all may be
asked. Returns nothing where the target does not mount. Raises: as `Target.published_digests`."""


class Target(Protocol):
    """A registry that is written.

    Uploads are resumable: another process may continue one that this process began.
    """

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """Map each tag that the target has to its digest; missing tags and repositories are left out.

        Raises: AccessDeniedError, RateLimitedError, RegistryUnavailableError, RegistryTimeoutError.
        """
        ...

    def ensure_repository(self, repository: str, settings: RepositorySettings | None = None) -> None:
        """Create the repository unless it exists, with these settings, or else with the target's own defaults.

        Raises: as `published_digests`, ManifestRefusedError, and ConfigError where it was created without its policies.
        """
        ...

    def present_blobs(self, repository: str, digests: Collection[Digest]) -> frozenset[Digest]:
        """Return those of `digests` that need not be copied. Raises: as `published_digests`, and NotFoundError."""
        ...

    def begin_upload(self, repository: str) -> Upload:
        """Begin an upload. Raises: as `published_digests`, and NotFoundError for a missing repository."""
        ...

    def received_bytes(self, repository: str, upload: Upload, size: int) -> int:
        """Ask how many consecutive bytes of a blob of `size` bytes an upload has. Sends no content.

        Raises: as `begin_upload`, and UploadLostError.
        """
        ...

    def upload_part(self, repository: str, upload: Upload, first_byte: int, part: bytes | memoryview) -> int:
        """Send one part; returns how many consecutive bytes the upload has now.

        A part that is not the next one is not stored; the returned count then says where to continue.

        Raises: as `begin_upload`, and UploadLostError.
        """
        ...

    def complete_upload(self, repository: str, upload: Upload, blob: Descriptor) -> None:
        """Complete an upload; the target verifies the digest. A blob that is already there is a success.

        Raises: as `begin_upload`, UploadLostError, and DigestMismatchError where the target computed another digest.
        """
        ...

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None) -> None:
        """Store a manifest's exact bytes, under a tag where one is given. Storing the same again is a success.

        Raises: as `published_digests`, NotFoundError for a missing repository, MissingContentError,
        TagImmutableError, DigestMismatchError, ManifestRefusedError.
        """
        ...


class Offered(StrEnum):
    """What became of a blob that was offered to a target."""

    COPIED = "COPIED"
    PRESENT = "PRESENT"  # the target's repository had it already
    MOUNTED = "MOUNTED"  # the target took it from another of its repositories


OpenPieces = Callable[[], AbstractContextManager[Iterator[bytes]]]
"""Opens a blob's bytes from its beginning; called only where the target wants them."""


class BlobStreams(Protocol):
    """Uploads a whole blob in one streamed request: the fastest way, which cannot be resumed."""

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        """Offer a blob, and send its bytes where the target does not have it (or mount it from `mount_from`).

        What iterating the pieces raises is raised to the caller after the request is aborted: the target then has
        nothing. The pieces verify size and digest before they yield the last one.

        Raises: as `Target.published_digests`, NotFoundError for a missing repository, UploadLostError,
        DigestMismatchError.
        """
        ...


class TaggedManifest(NamedTuple):
    """What a tag names. `version` is what the target calls this state of the tag; empty where it does not say."""

    manifest: RawManifest
    version: str = ""


class ReferrersTarget(Protocol):
    """A target that keeps referrers."""

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """As `Target.published_digests`."""
        ...

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None, *, if_version: str = "") -> None:
        """As `Target.put_manifest`. With `if_version`, a target that knows versions refuses a tag that has changed.

        Raises: as `Target.put_manifest`, and ConflictError.
        """
        ...

    def present_manifests(self, repository: str, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Return those of `digests` that come before the first one that the target lacks.

        Raises: as `published_digests`.
        """
        ...

    def read_manifest(self, repository: str, tag: str) -> TaggedManifest | None:
        """Read what a tag names; None where the target does not have it. Raises: as `published_digests`."""
        ...

    def lists_referrers(self, repository: str, digest: Digest) -> bool:
        """Tell whether the target itself lists the referrers of this manifest, so that no tag has to.

        Raises: as `published_digests`.
        """
        ...


class StreamingTarget(Target, BlobStreams, Protocol):
    """A target that takes whole blobs in one request, too."""


class CopyTarget(ReferrersTarget, StreamingTarget, Protocol):
    """A target of whole images with all that belongs to them."""


class ManifestReader(Protocol):
    """Reads manifests as raw bytes."""

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest and verify its bytes against the digest asked for (or answered, for a tag).

        Raises: as `Upstream.head_manifest`.
        """
        ...


class ReferrersReader(ManifestReader, Protocol):
    """Finds what belongs to a manifest."""

    def list_referrers(self, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
        """List the manifests that refer to the one with a digest in a repository.

        Raises: as `Upstream.head_manifest`.
        """
        ...

    def find_manifest(self, reference: Reference) -> Descriptor | None:
        """Resolve a tag that may well not exist, with one HEAD. Raises: as `Upstream.head_manifest`."""
        ...


class BlobReader(Protocol):
    """Reads blobs as streams."""

    def open_blob(
        self, repository: Repository, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open a blob from one offset to another, or to its end; the iterator yields pieces of at most 1 MiB.

        The stream is not hashed here: a reader that began in the middle can't be. It never yields more bytes than
        were asked for.

        Raises, when opening and while iterating: as `Upstream.head_manifest`, and RangeIgnoredError where a part of the
        blob was asked for and the registry answers with another. A body that ends early is a RegistryUnavailableError,
        one that continues after the promised size a DigestMismatchError.
        """
        ...


class Upstream(ManifestReader, BlobReader, Protocol):
    """A registry that is read."""

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:
        """Resolve a reference with one HEAD (a GET only where the registry refuses HEAD or names no digest).

        `by_event`: something happened, so that it does not wait behind what the schedule asks for.

        Raises: NotFoundError, AccessDeniedError, RateLimitedError, RegistryUnavailableError, RegistryTimeoutError,
        DigestMismatchError, UnsupportedMediaTypeError, ResponseTooLargeError.
        """
        ...

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """List every tag of a repository once, in the registry's order. Raises: as `head_manifest`."""
        ...

    def list_repositories(self, registry: str, prefix: str) -> tuple[str, ...]:
        """List the paths of all repositories below `prefix` (without its last slash), in the registry's order.

        Raises: as `head_manifest`, and ListingRefusedError where the registry does not list them.
        """
        ...

    def open_url(
        self, repository: Repository, url: str, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open a foreign layer as `open_blob` does, at a URL that a manifest of the repository names.

        Sends no credential. Raises: as `open_blob`.
        """
        ...


class CopySource(Upstream, ReferrersReader, Protocol):
    """A registry that whole images are copied from, with all that belongs to them."""
