"""Manifests and indexes: which children and blobs they name. Pure; the raw bytes are the truth and are never rewritten.

Source: OCI image specification 1.1 (manifest.md, image-index.md) and Docker image manifest version 2, schema 2.

Foreign layers: where a manifest says that they may be had. Pure; what is found there is not believed.

Source: OCI image specification 1.1, descriptor.md, "urls"; Docker image manifest version 2, schema 2, "layers".
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from pullahead.errors import PullaheadError
from pullahead.oci.digest import Digest, InvalidDigestError, digest_of, parse_digest
from pullahead.oci.media_types import DOCKER_SCHEMA1_SIGNED, INDEXES, OCI_INDEX, OCI_MANIFEST, SCHEMA1

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""The most that registries store as one manifest: ECR API reference, PutImage, imageManifest, 1 to 4,194,304."""


class InvalidManifestError(PullaheadError):
    """Bytes that are no manifest of a kind that can be copied."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """What names content: media type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int


class RawManifest(NamedTuple):
    """A manifest exactly as its registry sent it, with the descriptor that was proved against the bytes."""

    descriptor: Descriptor
    content: bytes


class Manifest(NamedTuple):
    """What one manifest names: child manifests (of an index) and blobs (of a manifest), in order, each once."""

    children: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]


class _Wire(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()


def parse_manifest(content: bytes, media_type: str) -> Manifest:
    """Read what a manifest names. Raises InvalidManifestError."""
    if media_type in SCHEMA1:
        raise InvalidManifestError(
            "it is a Docker schema 1 manifest, which ECR does not store; rebuild it with a current tool"
        )
    wire = _decode(content)
    if wire.manifests and (wire.layers or wire.config is not None):
        # Two clients would read two different things (CVE-2021-41190).
        raise InvalidManifestError("it claims to be an index and a manifest at once")
    children = wire.manifests if media_type in INDEXES else ()
    config = (wire.config,) if wire.config is not None else ()
    blobs = () if media_type in INDEXES else (*config, *wire.layers)
    for descriptor in (*children, *blobs):
        _check(descriptor)
    return Manifest(_once(children), _once(blobs))


def sniff_media_type(content: bytes) -> str:
    """Tell the media type of a manifest whose registry sent none (or a generic one). Raises InvalidManifestError."""
    wire = _decode(content)
    if wire.media_type:
        return wire.media_type
    if wire.schema_version == 1:
        return DOCKER_SCHEMA1_SIGNED
    return OCI_INDEX if wire.manifests and wire.config is None else OCI_MANIFEST


def describe(content: bytes, media_type: str, algorithm: str = "sha256") -> Descriptor:
    """Make the descriptor of raw manifest bytes."""
    return Descriptor(media_type, digest_of(content, algorithm), len(content))


def _decode(content: bytes) -> _Wire:
    if len(content) > MAX_MANIFEST_BYTES:
        raise InvalidManifestError(f"it has {len(content)} bytes; {MAX_MANIFEST_BYTES} is the most a registry stores")
    try:
        return msgspec.json.decode(content, type=_Wire)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifestError(f"it is no JSON manifest: {error}") from error


def _check(descriptor: Descriptor) -> None:
    if descriptor.size < 0:
        raise InvalidManifestError(f"it gives {descriptor.digest} a size of {descriptor.size}")
    try:
        parse_digest(descriptor.digest)
    except InvalidDigestError as error:
        raise InvalidManifestError(f"it names content that cannot be proved: {error}") from error


def _once(descriptors: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
    return tuple({descriptor.digest: descriptor for descriptor in descriptors}.values())


MAX_URLS = 5
"""How many of a layer's URLs are kept: the longest honest lists name a mirror or two."""


class _Layer(msgspec.Struct):
    digest: str
    urls: list[str] | None = None


class _ForeignWire(msgspec.Struct):
    layers: list[_Layer] = []


def find_urls(manifests: Iterable[RawManifest]) -> Mapping[Digest, tuple[str, ...]]:
    """Map digests of layers to the first URLs that manifests name for them; those without any are left out.

    Where several manifests name URLs for one layer, those of the first one count. A manifest whose URLs make no sense
    names none.
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
