"""Manifests and indexes: the children, blobs and URLs of foreign layers that they name. Raw bytes are kept. Pure.

Source: OCI image specification 1.1 (manifest.md, image-index.md, descriptor.md) and Docker image manifest version 2,
schema 2.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from pullahead.errors import PullaheadError
from pullahead.oci.digest import Digest, InvalidDigestError, digest_of, parse_digest
from pullahead.oci.media_types import (
    DOCKER_SCHEMA1_SIGNED,
    FOREIGN_LAYERS,
    INDEXES,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA1,
    is_manifest,
)

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""Amazon ECR API reference, PutImage, imageManifest: 1 to 4,194,304 characters."""


class InvalidManifestError(PullaheadError):
    """Bytes that are not a manifest that can be copied."""


class AmbiguousManifestError(InvalidManifestError):
    """Bytes that clients read differently: what one of them checks may not be what another one runs."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """Media type, digest and size in bytes of content."""

    media_type: str
    digest: Digest
    size: int


class RawManifest(NamedTuple):
    """A manifest as its registry sent it, and its descriptor, verified against the bytes."""

    descriptor: Descriptor
    content: bytes


class Manifest(NamedTuple):
    """What a manifest or an index names, in order, each once: other manifests, and blobs.

    `foreign` are those of the blobs that are left where their URLs lead.
    """

    children: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    foreign: frozenset[Digest] = frozenset()


class _Layer(Descriptor, frozen=True, rename="camel"):
    urls: Any = None

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, self.size)

    @property
    def is_foreign(self) -> bool:
        return self.media_type in FOREIGN_LAYERS and bool(_web_addresses(self.urls))


class _Wire(msgspec.Struct, rename="camel"):
    """What a document has of both kinds. Go writes an empty list, and what it does not know, as null."""

    schema_version: int | None = None
    media_type: str | None = None
    config: Descriptor | None = None
    layers: tuple[_Layer, ...] | None = None
    manifests: tuple[Descriptor, ...] | None = None


def parse_manifest(content: bytes, media_type: str) -> Manifest:
    """Parse a manifest or an index. Raises InvalidManifestError.

    What an index names is a manifest by its media type, or else a blob, as in BuildKit's caches. A layer of a type that
    may not be distributed is foreign only if it has a URL: else there is no other place where clients could find it.
    """
    if media_type in SCHEMA1:
        raise InvalidManifestError(
            "ECR does not support Docker schema 1 manifests; rebuild the image with a current tool"
        )
    wire = _decode(content)
    layers, entries = wire.layers or (), wire.manifests or ()
    # Clients would disagree on what it is, also where a list is empty (CVE-2021-41190).
    has_layers, has_entries = wire.config is not None or wire.layers is not None, wire.manifests is not None
    if has_layers and has_entries:
        raise InvalidManifestError("it is both an index and a manifest")
    if has_layers and media_type in INDEXES:
        raise InvalidManifestError("it is an index by its media type, and a manifest by its content")
    if has_entries and media_type not in INDEXES:
        raise InvalidManifestError("it is a manifest by its media type, and an index by its content")
    config = (wire.config,) if wire.config is not None else ()
    blobs = (*config, *(layer.descriptor for layer in layers))
    for descriptor in (*entries, *blobs):
        _check(descriptor)
    children = tuple(entry for entry in entries if is_manifest(entry.media_type))
    blobs = (*blobs, *(entry for entry in entries if not is_manifest(entry.media_type)))
    own = {layer.digest for layer in layers if not layer.is_foreign}
    foreign = frozenset(layer.digest for layer in layers if layer.is_foreign and layer.digest not in own)
    return Manifest(_once(children), _once(blobs), foreign)


def sniff_media_type(content: bytes) -> str:
    """Detect the media type of a manifest that came with none, or a generic one. Raises InvalidManifestError."""
    wire = _decode(content)
    if wire.media_type:
        return wire.media_type
    if wire.schema_version == 1:
        return DOCKER_SCHEMA1_SIGNED
    return OCI_INDEX if wire.manifests is not None and wire.config is None and not wire.layers else OCI_MANIFEST


def describe(content: bytes, media_type: str, algorithm: str = "sha256") -> Descriptor:
    """Compute the descriptor of a manifest."""
    return Descriptor(media_type, digest_of(content, algorithm), len(content))


def _decode(content: bytes) -> _Wire:
    if len(content) > MAX_MANIFEST_BYTES:
        raise InvalidManifestError(f"it has {len(content)} bytes; the limit is {MAX_MANIFEST_BYTES}")
    try:
        check_keys(content)
        return msgspec.json.decode(content, type=_Wire)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidManifestError(f"invalid JSON: {error}") from error


_FIELDS = {
    name.casefold(): name
    for name in (
        # OCI image specification 1.1: manifest.md, image-index.md, descriptor.md; Docker image manifest version 2
        *("schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"),
        *("digest", "size", "urls", "data", "platform", "architecture", "os", "os.version", "os.features"),
        *("variant", "features", "blobs"),
    )
}
_OBJECTS = frozenset({"config", "layers", "manifests", "subject", "blobs", "platform"})


def check_keys(content: bytes) -> None:
    """Refuse a key that stands twice, however it is escaped, or in other letters than specified.

    Of two equal keys parsers keep the first or the last; and Go's takes `Layers` for `layers`. Raises
    AmbiguousManifestError, ValueError for what is no JSON in UTF-8, RecursionError.
    """

    def check(pairs: list[tuple[str, object]]) -> dict[str, object]:
        document = dict(pairs)
        if len(document) < len(pairs):
            raise AmbiguousManifestError("the same key twice")
        return document

    _check_spelling(json.loads(content.decode(), object_pairs_hook=check))


def _check_spelling(document: object) -> None:
    if isinstance(document, list):
        for each in document:
            _check_spelling(each)
    if not isinstance(document, dict):
        return
    for key, value in document.items():
        if _FIELDS.get(key.casefold(), key) != key:
            raise AmbiguousManifestError(f"the key {key[:50]!r}, which is spelled {_FIELDS[key.casefold()]!r}")
        if key in _OBJECTS:  # in annotations and extensions, keys are anybody's
            _check_spelling(value)


def _check(descriptor: Descriptor) -> None:
    if descriptor.size < 0:
        raise InvalidManifestError(f"{descriptor.digest} has the size {descriptor.size}")
    try:
        parse_digest(descriptor.digest)
    except InvalidDigestError as error:
        raise InvalidManifestError(f"it names content that cannot be verified: {error}") from error


def _once(descriptors: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
    """Keep each once. Raises InvalidManifestError for one that has two sizes, of which one is wrong."""
    sizes: dict[Digest, int] = {}
    for descriptor in descriptors:
        if sizes.setdefault(descriptor.digest, descriptor.size) != descriptor.size:
            raise InvalidManifestError(f"it names {descriptor.digest} with two different sizes")
    return tuple({descriptor.digest: descriptor for descriptor in descriptors}.values())


MAX_URLS = 5
"""Of a layer; real lists have one or two."""


def find_urls(manifests: Iterable[RawManifest]) -> Mapping[Digest, tuple[str, ...]]:
    """Map digests of layers to the URLs that the first manifest with any names for them. Nothing there is trusted.

    What is no http or https URL is left out.
    """
    found: dict[Digest, tuple[str, ...]] = {}
    for manifest in manifests:
        for layer in _layers(manifest.content):
            if urls := _web_addresses(layer.urls):
                found.setdefault(layer.digest, urls[:MAX_URLS])
    return found


def _layers(content: bytes) -> tuple[_Layer, ...]:
    try:
        return _decode(content).layers or ()
    except InvalidManifestError:
        return ()


def _web_addresses(urls: object) -> tuple[str, ...]:
    """List the URLs of a layer at which it might be found."""
    listed = urls if isinstance(urls, list) else ()
    return tuple(url for url in listed if isinstance(url, str) and url.lower().startswith(("http://", "https://")))
