"""What the core asks of a registry that it writes: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.

What the core asks of a registry that it reads: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import NamedTuple, Protocol

from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository


class RepositorySettings(NamedTuple):
    """How a target repository is made, where it is not there. Policies are JSON texts."""

    tags: tuple[tuple[str, str], ...] = ()
    kms_key: str | None = None  # None: AES-256; "" : the AWS managed key
    scan_on_push: bool = False
    immutable_tags: bool = False
    mutable_tag_filters: tuple[str, ...] = ()  # wildcards that stay mutable where tags are immutable
    lifecycle_policy: str | None = None
    repository_policy: str | None = None


class Upload(NamedTuple):
    """A blob upload that the target has begun. `part_size` in bytes is what every part but the last has."""

    id: str
    part_size: int


class FindsPublished(Protocol):
    """Tells which manifest the target serves for tags."""

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """Map each tag that the target has to its digest; tags and repositories that are missing are left out.

        Raises: AccessDeniedError, RateLimitedError, RegistryUnavailableError, RegistryTimeoutError.
        """
        ...


class EnsuresRepositories(Protocol):
    """Makes repositories."""

    def ensure_repository(self, repository: str, settings: RepositorySettings | None = None) -> None:
        """Create the repository unless it exists, with these settings, else with those that the target has for such.

        Raises: as `published_digests`, ManifestRefusedError, and ConfigError where it was made without its policies.
        """
        ...


class FindsBlobs(Protocol):
    """Tells which blobs a target repository has."""

    def present_blobs(self, repository: str, digests: Collection[Digest]) -> frozenset[Digest]:
        """Name those of `digests` that need not be copied. Raises: as `published_digests`, and NotFoundError."""
        ...


class FindsMounts(Protocol):
    """Tells which repositories of a target have blobs that could be mounted from there."""

    def find_mounts(self, digests: Collection[Digest], repositories: Sequence[str]) -> Mapping[Digest, str]:
        """Map digests to one of `repositories` that has them; the likeliest come first, and not all may be asked.

        Where the target does not mount, the answer is empty. Raises: as `FindsPublished.published_digests`.
        """
        ...


class UploadsBlobs(Protocol):
    """Takes blobs in consecutive parts, resumable from another process."""

    def begin_upload(self, repository: str) -> Upload:
        """Begin an upload. Raises: as `published_digests`, and NotFoundError for a missing repository."""
        ...

    def received_bytes(self, repository: str, upload: Upload, size: int) -> int:
        """Ask how many consecutive bytes of a blob of `size` bytes an upload has. Sends no content.

        Raises: as `begin_upload`, and UploadLostError.
        """
        ...

    def upload_part(self, repository: str, upload: Upload, first_byte: int, part: bytes) -> int:
        """Send one part; returns how many consecutive bytes the upload has now.

        A part that is not the next one is not stored; the answer then tells where to go on.

        Raises: as `begin_upload`, and UploadLostError.
        """
        ...

    def complete_upload(self, repository: str, upload: Upload, blob: Descriptor) -> None:
        """Close an upload; the target proves the digest. A blob that is there already is a success.

        Raises: as `begin_upload`, UploadLostError, and DigestMismatchError where the target computed another digest.
        """
        ...


class Offered(StrEnum):
    """What became of a blob that was offered to a target."""

    COPIED = "COPIED"
    PRESENT = "PRESENT"  # the target's repository had it already
    MOUNTED = "MOUNTED"  # the target took it from another of its repositories


OpenPieces = Callable[[], AbstractContextManager[Iterator[bytes]]]
"""Opens a blob's bytes from its beginning; called only where the target wants them."""


class StreamsBlobs(Protocol):
    """Takes a whole blob in one streamed request: the quickest road, which cannot be resumed."""

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        """Offer a blob, and send its bytes where the target does not have it (or mount it from `mount_from`).

        Whatever iterating the pieces raises goes through to the caller, after the request was broken off: the target
        then has nothing. `pieces` proves size and digest before it yields the last one.

        Raises: as `published_digests`, NotFoundError for a missing repository, UploadLostError, DigestMismatchError.
        """
        ...


class PutsManifests(Protocol):
    """Publishes manifests."""

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None) -> None:
        """Store a manifest's exact bytes, under a tag where one is given. The same again is a success.

        Raises: as `published_digests`, NotFoundError for a missing repository, MissingContentError,
        TagImmutableError, DigestMismatchError, ManifestRefusedError.
        """
        ...


class Target(FindsPublished, EnsuresRepositories, FindsBlobs, UploadsBlobs, PutsManifests, Protocol):
    """A registry that we write."""


class HeadsManifests(Protocol):
    """Asks a registry what a tag or a digest is, cheaply."""

    def head_manifest(self, reference: Reference) -> Descriptor:
        """Resolve a reference with one HEAD (a GET only where the registry refuses HEAD or names no digest).

        Raises: NotFoundError, AccessDeniedError, RateLimitedError, RegistryUnavailableError, RegistryTimeoutError,
        DigestMismatchError, UnsupportedMediaTypeError, ResponseTooLargeError.
        """
        ...


class GetsManifests(Protocol):
    """Reads manifests as raw bytes."""

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest and prove its bytes against the digest asked for (or answered, for a tag).

        Raises: as `HeadsManifests.head_manifest`.
        """
        ...


class ListsTags(Protocol):
    """Lists the tags of repositories."""

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """List every tag of a repository once, in the registry's order. Raises: as `HeadsManifests.head_manifest`."""
        ...


class ListsRepositories(Protocol):
    """Lists the repositories of a registry."""

    def list_repositories(self, registry: str, prefix: str) -> tuple[str, ...]:
        """List the paths of all repositories below `prefix` (without its last slash), in the registry's order.

        Raises: as `HeadsManifests.head_manifest`, and ListingRefusedError where the registry does not list them.
        """
        ...


class OpensBlobs(Protocol):
    """Reads blobs as streams."""

    def open_blob(
        self, repository: Repository, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open a blob from an offset to another, or to its end; the iterator yields pieces of at most 1 MiB.

        The stream is not hashed here: a reader that began in the middle can't be. It never yields more bytes than
        were asked for.

        Raises, when opening and while iterating: as `head_manifest`, and RangeIgnoredError where a part of the blob was
        asked for and the registry answers with another. A body that ends early is a RegistryUnavailableError, one that
        goes on after the promised size a DigestMismatchError.
        """
        ...


class OpensUrls(Protocol):
    """Reads foreign layers: blobs that a manifest names by URL."""

    def open_url(
        self, repository: Repository, url: str, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open a blob as `open_blob` does, at a URL that a manifest of the repository names. No credential goes there.

        Raises: as `OpensBlobs.open_blob`.
        """
        ...


class Upstream(HeadsManifests, GetsManifests, OpensBlobs, Protocol):
    """A registry that we read."""
