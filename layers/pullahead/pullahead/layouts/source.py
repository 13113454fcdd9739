"""Read the images of an OCI layout. Implements `pullahead.oci.registries.CopySource`.

Every byte is proved: manifests here, blobs by whoever reads them, as with registries.

Source: OCI image specification 1.1, image-layout.md and image-index.md.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    ListingRefusedError,
    NotFoundError,
    RegistryError,
    ResponseTooLargeError,
    Side,
    UnsupportedMediaTypeError,
)
from pullahead.layouts.files import Archive, Folder, LayoutFiles, OpenFile
from pullahead.layouts.names import LayoutRepository, Transport
from pullahead.oci import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
    InvalidDigestError,
    RawManifest,
    Reference,
    Repository,
    algorithm_of,
    digest_of,
    media_types,
    parse_digest,
)
from pullahead.oci.reference import is_tag
from pullahead.oci.referrers import Referrer, fallback_tag
from pullahead.registry.listings import referrers_in
from pullahead.registry.manifests import media_type_of
from pullahead.registry.request import Inquiry

VERSION_FILE, INDEX_FILE = "oci-layout", "index.json"
REF_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"  # the whole reference, where REF_NAME is the tag alone
_VERSIONS = "1."
MAX_INDEX_BYTES = 32 * 1024 * 1024
"""Of index.json, which has an entry of some 250 bytes for each tag."""
_PIECE_BYTES = 1024 * 1024
_MAX_SHOWN = 10
_ARCHIVE_ADVICE = (
    "`docker save` writes one since Docker 25; other archives name no digests. Convert it: skopeo copy "
    "docker-archive:FILE oci:DIR."
)


def open_layout(repository: LayoutRepository) -> "OciLayoutSource":
    """Open the layout that a reference names. Raises ConfigError, RegistryError."""
    path, inquiry = Path(repository.path), Inquiry("opening the layout", str(repository))
    if repository.transport is Transport.FOLDER:
        return OciLayoutSource(Folder(path), repository)
    with os_errors(inquiry):
        archive = Archive(path)
    if not archive.has(VERSION_FILE) or not archive.has(INDEX_FILE):
        raise inquiry.error(UnsupportedMediaTypeError, "the archive has no OCI layout", advice=_ARCHIVE_ADVICE)
    return OciLayoutSource(archive, repository)


class _Version(msgspec.Struct, rename="camel"):
    image_layout_version: str


class LayoutEntry(msgspec.Struct, frozen=True, rename="camel"):
    """An entry of index.json."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, Any] | None = None  # of which only the names are looked at

    @property
    def name(self) -> str | None:
        """The name of the image, often a tag alone; None if it has none."""
        name = (self.annotations or {}).get(REF_NAME)
        return name if isinstance(name, str) else None

    def is_named(self, name: str) -> bool:
        """Tell whether the entry has a name, be it a tag or a whole reference."""
        annotations = self.annotations or {}
        return name in (annotations.get(REF_NAME), annotations.get(_CONTAINERD_NAME))


class _Index(msgspec.Struct):
    manifests: list[LayoutEntry] | None = None


class OciLayoutSource:
    """One layout, whose repository all references name. May be used by several threads at once."""

    def __init__(self, files: LayoutFiles, repository: Repository, side: Side = Side.UPSTREAM) -> None:
        self._files, self._repository, self._side = files, repository, side

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:  # noqa: ARG002 - a file has no rate
        """Resolve a reference."""
        return self.get_manifest(reference).descriptor

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest, by name, by digest, or without either the only one; and prove its bytes."""
        inquiry = Inquiry("reading the manifest", str(reference), side=self._side)
        entry = self._find(reference, inquiry) if reference.digest is None else None
        digest = entry.digest if entry is not None else Digest(reference.locator)
        content = self._read(blob_name(inquiry, digest), MAX_MANIFEST_BYTES, inquiry)
        computed = digest_of(content, algorithm_of(digest))
        if computed != digest:
            raise inquiry.error(DigestMismatchError, f"the file of {digest} has the digest {computed}")
        if entry is not None and entry.size != len(content):
            cause = f"{digest} has {len(content)} bytes, and {INDEX_FILE} says {entry.size}"
            raise inquiry.error(DigestMismatchError, cause)
        media_type = media_type_of(inquiry, "" if entry is None else entry.media_type, content)
        return RawManifest(Descriptor(media_type, digest, len(content)), content)

    def open_blob(
        self, repository: Repository, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open a blob from an offset to another, or to its end."""
        inquiry = Inquiry("reading the blob", f"{repository}@{blob.digest}")
        return self._open_blob(inquiry, blob, first_byte, blob.size if end is None else end)

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """List the names of images that are tags, each once, in the layout's order."""
        names = (entry.name for entry in self.entries(Inquiry("listing", str(repository))))
        return tuple(dict.fromkeys(name for name in names if name is not None and is_tag(name)))

    def list_referrers(self, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
        """List what refers to a manifest: a layout has no API for that, but may have the fallback tag."""
        tagged = Reference(subject.repository, fallback_tag(digest))
        if self.find_manifest(tagged) is None:
            return ()
        return tuple(referrers_in(Inquiry("listing referrers", str(tagged)), self.get_manifest(tagged).content))

    def find_manifest(self, reference: Reference) -> Descriptor | None:
        """Resolve a name that may well not exist."""
        try:
            return self.head_manifest(reference)
        except NotFoundError:
            return None

    def list_repositories(self, registry: str, prefix: str) -> tuple[str, ...]:
        """A layout has no repositories: raises ListingRefusedError."""
        inquiry = Inquiry("listing repositories", f"{registry}/{prefix}")
        raise inquiry.error(ListingRefusedError, "a layout has none")

    def open_url(
        self,
        repository: Repository,
        url: str,  # noqa: ARG002
        blob: Descriptor,
        first_byte: int = 0,  # noqa: ARG002
        end: int | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Nothing is downloaded for a layout: raises AccessDeniedError."""
        inquiry = Inquiry("reading the blob", f"{repository}@{blob.digest}")
        raise inquiry.error(AccessDeniedError, "foreign layers of a layout are not downloaded")

    def entries(self, inquiry: Inquiry) -> list[LayoutEntry]:
        """Read index.json, after the version of the layout."""
        self._check_version(inquiry)
        return parse_index(inquiry, self._read(INDEX_FILE, MAX_INDEX_BYTES, inquiry))

    def _check_version(self, inquiry: Inquiry) -> None:
        try:
            content = self._read(VERSION_FILE, MAX_MANIFEST_BYTES, inquiry)
        except NotFoundError:
            raise inquiry.error(NotFoundError, f"it is no OCI layout: it has no file {VERSION_FILE}") from None
        check_version(inquiry, content)

    def _find(self, reference: Reference, inquiry: Inquiry) -> LayoutEntry:
        entries = self.entries(inquiry)
        if reference.tag is not None:
            entries = [entry for entry in entries if entry.is_named(reference.tag)]
        if len({entry.digest for entry in entries}) == 1:
            return entries[0]
        names = sorted({entry.name for entry in self.entries(inquiry) if entry.name is not None})
        more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
        shown = f"{', '.join(names[:_MAX_SHOWN])}{more}" if names else "no named image"
        if not entries:
            raise inquiry.error(NotFoundError, f"the layout has no such image; it has {shown}")
        what = "several images" if reference.tag is None else "several images of this name"
        advice = f"Name one: {self._repository}:NAME, or {self._repository}@DIGEST."
        raise inquiry.error(NotFoundError, f"the layout has {what}; it has {shown}", advice=advice)

    def _read(self, name: str, limit: int, inquiry: Inquiry) -> bytes:
        opened = self._open(name, inquiry)
        with opened.content, os_errors(inquiry):
            if opened.size > limit:
                raise inquiry.error(ResponseTooLargeError, f"{name} has {opened.size} bytes; the limit is {limit}")
            return opened.content.read(opened.size)

    def _open(self, name: str, inquiry: Inquiry) -> OpenFile:
        try:
            return self._files.open(name)
        except FileNotFoundError:
            raise inquiry.error(NotFoundError, f"there is no file {name}") from None
        except OSError as error:
            raise os_error(inquiry, error) from error

    @contextmanager
    def _open_blob(self, inquiry: Inquiry, blob: Descriptor, first: int, end: int) -> Iterator[Iterator[bytes]]:
        opened = self._open(blob_name(inquiry, blob.digest), inquiry)
        with opened.content:
            if opened.size != blob.size:
                cause = f"its file has {opened.size} bytes, not the promised {blob.size}"
                raise inquiry.error(DigestMismatchError, cause)
            with os_errors(inquiry):
                opened.content.seek(first, 1)
            yield _pieces(inquiry, opened, end - first)


def _pieces(inquiry: Inquiry, opened: OpenFile, count: int) -> Iterator[bytes]:
    while count > 0:
        with os_errors(inquiry):
            piece = opened.content.read(min(count, _PIECE_BYTES))
        if not piece:
            raise inquiry.error(DigestMismatchError, "its file became shorter while it was read")
        count -= len(piece)
        yield piece


def blob_name(inquiry: Inquiry, digest: Digest) -> str:
    """Name the file of a blob."""
    try:
        algorithm, _, encoded = parse_digest(digest).partition(":")
    except InvalidDigestError as error:
        raise inquiry.error(
            UnsupportedMediaTypeError, f"{INDEX_FILE} names content that cannot be verified: {error}"
        ) from None
    return f"blobs/{algorithm}/{encoded}"


def parse_index(inquiry: Inquiry, content: bytes) -> list[LayoutEntry]:
    """Parse index.json. Raises UnsupportedMediaTypeError."""
    media_type_of(inquiry, media_types.OCI_INDEX, content)  # which refuses what readers take for different things
    try:
        return msgspec.json.decode(content, type=_Index).manifests or []
    except (msgspec.DecodeError, RecursionError) as error:
        raise inquiry.error(UnsupportedMediaTypeError, f"{INDEX_FILE} is invalid: {error}") from error


def check_version(inquiry: Inquiry, content: bytes) -> None:
    """Refuse a layout of another version. Raises UnsupportedMediaTypeError."""
    try:
        version = msgspec.json.decode(content, type=_Version).image_layout_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise inquiry.error(UnsupportedMediaTypeError, f"its file {VERSION_FILE} is invalid") from None
    if not version.startswith(_VERSIONS):
        raise inquiry.error(UnsupportedMediaTypeError, f"it has the unknown version {version[:40]!r}")


def os_error(inquiry: Inquiry, error: OSError) -> RegistryError:
    """Make the error for a file that cannot be read or written."""
    kind = AccessDeniedError if isinstance(error, PermissionError) else RegistryError
    return inquiry.error(kind, (error.strerror or type(error).__name__).lower())


@contextmanager
def os_errors(inquiry: Inquiry) -> Iterator[None]:
    """Translate what the system raises. Raises RegistryError, AccessDeniedError."""
    try:
        yield
    except OSError as error:
        raise os_error(inquiry, error) from error
