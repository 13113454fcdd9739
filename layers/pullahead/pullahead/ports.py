"""What the core asks of the world: one-verb protocols that adapters satisfy and fakes imitate. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from pullahead.freshness.alerts import Alert
from pullahead.freshness.records import Record
from pullahead.messages import Queued, RefreshRequest
from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository
from pullahead.rules.model import RepositorySettings, Rules

Clock = Callable[[], datetime]
"""The time now, aware, in UTC."""

Wait = Callable[[int], None]
"""Waits before a broken transfer goes on; the argument counts the breaks in a row."""


# --- upstream ---------------------------------------------------------------------------------------------------


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


# --- target -----------------------------------------------------------------------------------------------------


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


# --- what the service remembers and says ------------------------------------------------------------------------


class Heartbeat(NamedTuple):
    """The last time that due mirrors were sent for checking, and by which rules."""

    at: datetime
    rules_digest: str


class Records(Protocol):
    """Remembers mirrors between checks."""

    def load(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Read the records of mirrors, strongly consistent; unknown ones are left out. Raises: StorageError."""
        ...

    def save(self, record: Record, expected_version: int) -> Record:
        """Write a record if its stored version is still `expected_version` (0: not stored yet); returns it with the
        new version. Raises: ConflictError, StorageError."""
        ...

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat. Raises: StorageError."""
        ...

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat. Raises: StorageError."""
        ...


class ScansRecords(Protocol):
    """Reads all that is remembered, for people to look at."""

    def scan(self) -> Iterator[Record]:
        """Go through every record, in no order, perhaps a second old. Raises, while iterating: StorageError."""
        ...


class Plans(Protocol):
    """Keeps what is too large for the state machine's payload, by key, for a few days."""

    def read(self, key: str) -> bytes:
        """Read an object. Raises: StorageError, also where there is none."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Write an object. Raises: StorageError."""
        ...


class Started(StrEnum):
    """What became of asking for a refresh."""

    STARTED = "STARTED"
    RUNNING = "RUNNING"  # the same refresh is under way
    SUCCEEDED = "SUCCEEDED"  # the same refresh has ended well
    ENDED = "ENDED"  # the same refresh was begun and has failed or was stopped


class StartsRefreshes(Protocol):
    """Starts the state machine, at most once for a name."""

    def start(self, request: RefreshRequest) -> Started:
        """Start a refresh under its own name. Raises: StorageError."""
        ...


class QueuesChecks(Protocol):
    """Sends checks and listings to the one queue."""

    def send(self, requests: Sequence[Queued]) -> None:
        """Queue requests, all or error. Raises: StorageError."""
        ...


class PublishesAlerts(Protocol):
    """Tells people."""

    def publish(self, alert: Alert) -> None:
        """Send one alert. Raises: StorageError."""
        ...


class LoadsRules(Protocol):
    """Finds the rules in force."""

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem."""
        ...
