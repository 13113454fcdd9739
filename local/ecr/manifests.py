"""Read a manifest as strictly as ECR does. Pure: never asks whether what it names is there.

The digest is that of the exact bytes; they are never written anew.
"""

import hashlib
import re
from typing import NamedTuple

import msgspec

from local.ecr.errors import UnsupportedManifestError, invalid_constraint, invalid_parameter
from local.ecr.identity import MAX_MANIFEST_BYTES

IMAGE_TYPES = frozenset(
    {"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json"}
)
INDEX_TYPES = frozenset(
    {"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json"}
)
# Layers whose licence forbids handing them on: pushed without their bytes, and pulled from where `urls` say. The ECR
# user guide, "Pushing Windows images", has them left out of ECR by default.
FOREIGN_TYPES = (
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A pointer to a blob or a manifest (OCI image-spec 1.1, descriptor.md)."""

    digest: str
    size: int
    media_type: str = ""
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] | None = None


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str | None = None
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Manifest(NamedTuple):
    """A manifest or an index: its exact bytes and what it points to."""

    raw: bytes
    digest: str
    media_type: str
    artifact_type: str | None  # as referrers list it: artifactType, or else the media type of the config
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    subject: str | None
    annotations: dict[str, str]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """List what must have been uploaded: config and layers, without foreign layers that say where they are."""
        wanted = (self.config, *self.layers) if self.config else self.layers
        return tuple(d for d in wanted if not (d.media_type.startswith(FOREIGN_TYPES) and d.urls))


def is_digest(text: str) -> bool:
    """Say whether a text is a digest as ECR takes it."""
    return _DIGEST.fullmatch(text) is not None


def digest_of(raw: bytes) -> str:
    """Compute the digest of exact bytes."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def parse_manifest(raw: bytes, declared_type: str | None) -> Manifest:
    """Read a manifest; its media type is in the document, or else the one declared with it.

    Raises:
        EcrError: InvalidParameterException, as UnsupportedManifestError where the document is merely refused.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise invalid_constraint("imageManifest", f"Member must have length less than or equal to {MAX_MANIFEST_BYTES}")
    try:
        document = msgspec.json.decode(raw, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid_constraint("imageManifest", "Invalid JSON syntax") from error
    media_type = _media_type(document.media_type, declared_type)
    _check_contents(document, media_type)
    return _manifest(raw, media_type, document)


def _media_type(written: str | None, declared: str | None) -> str:
    if not written and not declared:
        # ECR says no more than that: aws/aws-sdk#193.
        raise invalid_constraint("imageManifest", "Invalid JSON syntax")
    if written and declared and written != declared:
        raise invalid_parameter(f"The manifest is of media type '{written}', not '{declared}' as declared")
    return written or declared or ""


def _check_contents(document: _Document, media_type: str) -> None:
    if media_type in IMAGE_TYPES:
        _check_image(document)
    elif media_type in INDEX_TYPES:
        if document.manifests is None:
            raise invalid_constraint("imageManifest", "an index must have 'manifests'")
    else:
        raise UnsupportedManifestError(f"Manifests of media type '{media_type}' are not supported")
    named = (document.config, document.subject, *document.layers, *(document.manifests or ()))
    for descriptor in filter(None, named):
        _check_descriptor(descriptor)
    _check_parameters(document.artifact_type or "")


def _check_image(document: _Document) -> None:
    if document.config is None:
        raise invalid_constraint("imageManifest", "an image manifest must have a 'config'")
    if document.config.annotations:
        # Observed: goharbor/acceleration-service#353.
        raise UnsupportedManifestError("Annotations on the config descriptor are not supported")
    if not document.layers:
        # Observed: aws/containers-roadmap#876.
        raise UnsupportedManifestError("Manifests without layers are not supported")


def _check_descriptor(descriptor: Descriptor) -> None:
    if not is_digest(descriptor.digest):
        raise invalid_constraint("imageManifest", f"'{descriptor.digest}' is not a sha256 digest")
    if descriptor.size < 0:
        raise invalid_constraint("imageManifest", f"the size of '{descriptor.digest}' is negative")
    _check_parameters(descriptor.media_type)


def _check_parameters(media_type: str) -> None:
    if ";" in media_type:
        # Observed: aws/containers-roadmap#2306.
        raise UnsupportedManifestError(f"Media types with parameters are not supported: '{media_type}'")


def _manifest(raw: bytes, media_type: str, document: _Document) -> Manifest:
    is_index = media_type in INDEX_TYPES
    config = None if is_index else document.config
    return Manifest(
        raw=raw,
        digest=digest_of(raw),
        media_type=media_type,
        artifact_type=document.artifact_type or (config.media_type if config else None),
        config=config,
        layers=() if is_index else document.layers,
        children=(document.manifests or ()) if is_index else (),
        subject=document.subject.digest if document.subject else None,
        annotations=document.annotations or {},
    )
