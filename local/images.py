"""Images made up on the spot, the same for the same seed. Decides their bytes; knows no server but one to push to."""

import functools
import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urljoin

import requests

from pullahead.oci import Descriptor, Digest, RawManifest, describe, digest_of, media_types

Media = Literal["oci", "docker"]

PIECE_BYTES = 1024 * 1024
SPARSE_FROM_BYTES = 8 * 1024 * 1024
"""Layers given as a size of more than this are generated while they are read, and never stored in memory."""

_CONFIG_TYPE = {
    "oci": "application/vnd.oci.image.config.v1+json",
    "docker": "application/vnd.docker.container.image.v1+json",
}
_LAYER_TYPE = {
    "oci": "application/vnd.oci.image.layer.v1.tar+gzip",
    "docker": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
_MANIFEST_TYPE = {"oci": media_types.OCI_MANIFEST, "docker": media_types.DOCKER_MANIFEST}
_INDEX_TYPE = {"oci": media_types.OCI_INDEX, "docker": media_types.DOCKER_LIST}
_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class SparseBlob:
    """Bytes that are made while they are read, the same for the same seed: 50 GiB need neither disk nor memory.

    Every 1 MiB block begins with its number, so that no two blocks of a blob are alike and one that is repeated,
    left out or out of order changes the digest.
    """

    size: int
    seed: int = 0

    def __len__(self) -> int:
        return self.size

    @functools.cached_property
    def digest(self) -> Digest:
        """Hash all of it, once; some 0.7 s for each GiB."""
        sha256 = hashlib.sha256()
        for piece in self.pieces():
            sha256.update(piece)
        return Digest(f"sha256:{sha256.hexdigest()}")

    def pieces(self, first_byte: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `first_byte` up to `end`, at most 1 MiB at a time."""
        end = self.size if end is None else min(end, self.size)
        while first_byte < end:
            number, offset = divmod(first_byte, PIECE_BYTES)
            piece = _block(self.seed, number)[offset : offset + end - first_byte]
            yield piece
            first_byte += len(piece)

    def read(self, first_byte: int, length: int) -> bytes:
        """Read at most `length` bytes from an offset."""
        return b"".join(self.pieces(first_byte, first_byte + length))


Blob = bytes | SparseBlob


@dataclass(frozen=True)
class LocalImage:
    """A manifest or an index with everything below it: manifests children first, the root last."""

    root: RawManifest
    manifests: Mapping[Digest, RawManifest]
    blobs: Mapping[Digest, Blob] = field(repr=False)
    platform: str | None = None

    @property
    def digest(self) -> Digest:
        """The digest of the root."""
        return self.root.descriptor.digest

    def read_blob(self, digest: Digest) -> bytes:
        """Return all bytes of one blob."""
        return b"".join(pieces_of(self.blobs[digest]))


def make_image(
    layers: Sequence[int | Blob] = (1000,), *, seed: int = 0, platform: str = "linux/amd64", media: Media = "oci"
) -> LocalImage:
    """Make an image of layers given as sizes or contents. Another seed makes other layers, and so another digest."""
    contents = [_layer(layer, seed * 1000 + number) for number, layer in enumerate(layers)]
    config = _config(platform, [blob_digest(content) for content in contents], seed)
    document = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE[media],
        "config": _descriptor(_CONFIG_TYPE[media], config),
        "layers": [_descriptor(_LAYER_TYPE[media], content) for content in contents],
    }
    root = _raw_manifest(document)
    blobs: dict[Digest, Blob] = {blob_digest(content): content for content in [config, *contents]}
    return LocalImage(root, {root.descriptor.digest: root}, blobs, platform)


def make_index(images: Sequence[LocalImage], *, media: Media = "oci") -> LocalImage:
    """Make an index of images (or of indexes)."""
    document = {
        "schemaVersion": 2,
        "mediaType": _INDEX_TYPE[media],
        "manifests": [_child(image) for image in images],
    }
    root = _raw_manifest(document)
    manifests = {digest: manifest for image in images for digest, manifest in image.manifests.items()}
    blobs = {digest: blob for image in images for digest, blob in image.blobs.items()}
    return LocalImage(root, {**manifests, root.descriptor.digest: root}, blobs)


def push_image(image: LocalImage, base_url: str, repository: str, tag: str) -> None:
    """Push an image to a registry by plain OCI requests: every blob, the children by digest, the root by tag."""
    with requests.Session() as session:
        for digest, blob in image.blobs.items():
            _push_blob(session, f"{base_url}/v2/{repository}/blobs/uploads/", digest, blob)
        for digest, manifest in image.manifests.items():
            name = tag if digest == image.digest else digest
            _push_manifest(session, f"{base_url}/v2/{repository}/manifests/{name}", manifest)


def blob_digest(blob: Blob) -> Digest:
    """Compute the digest of a blob."""
    return digest_of(blob) if isinstance(blob, bytes) else blob.digest


def pieces_of(blob: Blob, first_byte: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield a blob's bytes from `first_byte` up to `end`, at most 1 MiB at a time."""
    if isinstance(blob, SparseBlob):
        yield from blob.pieces(first_byte, end)
        return
    end = len(blob) if end is None else min(end, len(blob))
    for start in range(first_byte, end, PIECE_BYTES):
        yield blob[start : min(start + PIECE_BYTES, end)]


class _BlobReader:
    """A blob as the file that http.client sends: one read at a time, with its length known beforehand."""

    def __init__(self, blob: Blob) -> None:
        self._blob, self._position = blob, 0

    def __len__(self) -> int:
        return len(self._blob)

    def read(self, length: int = PIECE_BYTES) -> bytes:
        piece = b"".join(pieces_of(self._blob, self._position, self._position + length))
        self._position += len(piece)
        return piece


def _push_blob(session: requests.Session, uploads_url: str, digest: Digest, blob: Blob) -> None:
    begun = session.post(uploads_url, timeout=_TIMEOUT_SECONDS)
    begun.raise_for_status()
    location = urljoin(uploads_url, begun.headers["Location"])
    url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
    headers = {"Content-Type": "application/octet-stream"}
    body = blob if isinstance(blob, bytes) else _BlobReader(blob)
    session.put(url, data=body, headers=headers, timeout=_TIMEOUT_SECONDS).raise_for_status()


def _push_manifest(session: requests.Session, url: str, manifest: RawManifest) -> None:
    headers = {"Content-Type": manifest.descriptor.media_type}
    session.put(url, data=manifest.content, headers=headers, timeout=_TIMEOUT_SECONDS).raise_for_status()


@functools.lru_cache(maxsize=8)
def _pattern(seed: int) -> bytes:
    return random.Random(seed).randbytes(PIECE_BYTES - 8)  # noqa: S311 (it must be the same every time)


def _block(seed: int, number: int) -> bytes:
    return number.to_bytes(8, "big") + _pattern(seed)


def _layer(layer: int | Blob, seed: int) -> Blob:
    if not isinstance(layer, int):
        return layer
    sparse = SparseBlob(layer, seed)
    return sparse if layer > SPARSE_FROM_BYTES else sparse.read(0, layer)


def _config(platform: str, diff_ids: Sequence[Digest], seed: int) -> bytes:
    system, _, machine = platform.partition("/")
    architecture, _, variant = machine.partition("/")
    document = {
        "architecture": architecture,
        "os": system,
        **({"variant": variant} if variant else {}),
        "config": {"Labels": {"seed": str(seed)}},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }
    return _json(document)


def _child(image: LocalImage) -> dict[str, object]:
    descriptor = image.root.descriptor
    entry: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    if image.platform is not None:
        names = ("os", "architecture", "variant")
        entry["platform"] = dict(zip(names, image.platform.split("/"), strict=False))
    return entry


def _descriptor(media_type: str, content: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob_digest(content), "size": len(content)}


def _raw_manifest(document: Mapping[str, object]) -> RawManifest:
    content = _json(document)
    descriptor: Descriptor = describe(content, str(document["mediaType"]))
    return RawManifest(descriptor, content)


def _json(document: Mapping[str, object]) -> bytes:
    # Indented as docker writes it, so that re-serialising a manifest changes its digest and is found.
    return json.dumps(document, indent=3).encode()
