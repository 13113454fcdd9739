"""Manifests and indexes: the children, blobs and URLs of foreign layers that they name. Raw bytes are kept. Pure.

Source: OCI image specification 1.1 (manifest.md, image-index.md, descriptor.md) and Docker image manifest version 2,
schema 2.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from pullahead.errors import PullaheadError
from pullahead.oci.digest import Digest, InvalidDigestError, digest_of, parse_digest
from pullahead.oci.media_types import DOCKER_SCHEMA1_SIGNED, INDEXES, OCI_INDEX, OCI_MANIFEST, SCHEMA1

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""Amazon ECR API reference, PutImage, imageManifest: 1 to 4,194,304 characters."""


class InvalidManifestError(PullaheadError):
    """Bytes that are not a manifest that can be copied."""


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
    """What a manifest names: the children of an index, or the blobs of a manifest, in order, each once."""

    children: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]


class _Wire(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()


def parse_manifest(content: bytes, media_type: str) -> Manifest:
    """Parse a manifest or an index. Raises InvalidManifestError."""
    if media_type in SCHEMA1:
        raise InvalidManifestError(
            "ECR does not support Docker schema 1 manifests; rebuild the image with a current tool"
        )
    wire = _decode(content)
    if wire.manifests and (wire.layers or wire.config is not None):
        # Clients would disagree on what it is (CVE-2021-41190).
        raise InvalidManifestError("it is both an index and a manifest")
    children = wire.manifests if media_type in INDEXES else ()
    config = (wire.config,) if wire.config is not None else ()
    blobs = () if media_type in INDEXES else (*config, *wire.layers)
    for descriptor in (*children, *blobs):
        _check(descriptor)
    return Manifest(_once(children), _once(blobs))


def sniff_media_type(content: bytes) -> str:
    """Detect the media type of a manifest that came with none, or a generic one. Raises InvalidManifestError."""
    wire = _decode(content)
    if wire.media_type:
        return wire.media_type
    if wire.schema_version == 1:
        return DOCKER_SCHEMA1_SIGNED
    return OCI_INDEX if wire.manifests and wire.config is None else OCI_MANIFEST


def describe(content: bytes, media_type: str, algorithm: str = "sha256") -> Descriptor:
    """Compute the descriptor of a manifest."""
    return Descriptor(media_type, digest_of(content, algorithm), len(content))


def _decode(content: bytes) -> _Wire:
    if len(content) > MAX_MANIFEST_BYTES:
        raise InvalidManifestError(f"it has {len(content)} bytes; the limit is {MAX_MANIFEST_BYTES}")
    try:
        return msgspec.json.decode(content, type=_Wire)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifestError(f"invalid JSON: {error}") from error


def _check(descriptor: Descriptor) -> None:
    if descriptor.size < 0:
        raise InvalidManifestError(f"{descriptor.digest} has the size {descriptor.size}")
    try:
        parse_digest(descriptor.digest)
    except InvalidDigestError as error:
        raise InvalidManifestError(f"it names content that cannot be verified: {error}") from error


def _once(descriptors: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
    return tuple({descriptor.digest: descriptor for descriptor in descriptors}.values())


MAX_URLS = 5
"""Of a layer; real lists have one or two."""


class _Layer(msgspec.Struct):
    digest: str
    urls: list[str] | None = None


class _ForeignWire(msgspec.Struct):
    layers: list[_Layer] = []


def find_urls(manifests: Iterable[RawManifest]) -> Mapping[Digest, tuple[str, ...]]:
    """Map digests of layers to the URLs that the first manifest with any names for them. Nothing there is trusted.

    A manifest with invalid URLs names none.
    """
    found: dict[Digest, tuple[str, ...]] = {}
    for manifest in manifests:
        for layer in _layers(manifest.content):
            if layer.urls:
                found.setdefault(Digest(layer.digest), tuple(layer.urls[:MAX_URLS]))
    return found


def _layers(content: bytes) -> list[_Layer]:
    try:
        return msgspec.json.decode(content, type=_ForeignWire).layers
    except msgspec.DecodeError:
        return []
