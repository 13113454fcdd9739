"""What the core asks of a registry that it reads: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from pullahead.oci import Descriptor, RawManifest, Reference, Repository


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
