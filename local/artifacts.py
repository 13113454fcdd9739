"""What belongs to images, made up on the spot as cosign, notation, oras and syft write it. Knows no server.

The forms are those of cosign's specs/SIGNATURE_SPEC.md and BUNDLE_SPEC.md, the Notary Project's specifications, and
OCI image specification 1.1 (manifest.md, "Guidelines for Artifact Usage"). Signatures and certificates are not real,
but for `signed_by_key`.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from local.images import LocalImage, blob_digest
from pullahead.oci import Descriptor, RawManifest, describe, media_types

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NOTATION = "application/vnd.cncf.notary.signature"
SPDX, CYCLONEDX = "application/spdx+json", "application/vnd.cyclonedx+json"
DSSE, IN_TOTO = "application/vnd.dsse.envelope.v1+json", "application/vnd.in-toto+json"
SIGN_PREDICATE, SLSA_PREDICATE = "https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v1"


class ArtifactLayer(NamedTuple):
    """One layer of an artifact."""

    media_type: str
    content: bytes
    annotations: Mapping[str, str] | None = None


def make_artifact(
    subject: Descriptor | None,
    layers: Sequence[ArtifactLayer],
    *,
    artifact_type: str = "",
    config: ArtifactLayer | None = None,
    annotations: Mapping[str, str] | None = None,
) -> LocalImage:
    """Make an artifact manifest; with a subject, it refers to that."""
    config = config or ArtifactLayer(EMPTY_TYPE, b"{}")
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST}
    if artifact_type:
        document["artifactType"] = artifact_type
    document |= {"config": _described(config), "layers": [_described(layer) for layer in layers]}
    if subject is not None:
        document["subject"] = {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size}
    if annotations:
        document["annotations"] = dict(annotations)
    content = json.dumps(document, indent=1).encode()
    root = RawManifest(describe(content, media_types.OCI_MANIFEST), content)
    blobs = {blob_digest(each.content): each.content for each in (config, *layers)}
    return LocalImage(root, {root.descriptor.digest: root}, blobs)


def cosign2_signature(subject: Descriptor, *signers: str, certificate: bool = True) -> LocalImage:
    """Make what cosign 2 keeps under the tag `sha256-….sig`: a layer per signer, without a certificate if keyed."""
    layers = []
    for signer in signers or ("release",):
        payload = {"critical": {"image": {"docker-manifest-digest": subject.digest}}, "optional": {"by": signer}}
        notes = {"dev.cosignproject.cosign/signature": f"MEUC{signer}"}
        notes |= {"dev.sigstore.cosign/certificate": "-----BEGIN CERTIFICATE-----"} if certificate else {}
        layers.append(ArtifactLayer(SIMPLE_SIGNING, json.dumps(payload).encode(), notes))
    return make_artifact(None, layers, config=ArtifactLayer(CONFIG_TYPE, b'{"architecture":"","os":""}'))


def signed_by_key(subject: Descriptor, repository: str, sign: Callable[[bytes], bytes]) -> LocalImage:
    """Make what `cosign sign --key` of version 2 keeps under the tag `sha256-….sig`, with a true signature."""
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": subject.digest},
        "type": "cosign container image signature",
    }
    payload = json.dumps({"critical": critical, "optional": None}).encode()
    notes = {"dev.cosignproject.cosign/signature": base64.b64encode(sign(payload)).decode()}
    layer = ArtifactLayer(SIMPLE_SIGNING, payload, notes)
    return make_artifact(None, [layer], config=ArtifactLayer(CONFIG_TYPE, b'{"architecture":"","os":""}'))


def cosign2_attestation(subject: Descriptor, predicate: str = SLSA_PREDICATE) -> LocalImage:
    """Make what cosign 2 keeps under the tag `sha256-….att`."""
    envelope = json.dumps({"payloadType": IN_TOTO, "payload": subject.digest}).encode()
    layer = ArtifactLayer(DSSE, envelope, {"predicateType": predicate})
    return make_artifact(None, [layer], config=ArtifactLayer(CONFIG_TYPE, b'{"architecture":"","os":""}'))


def cosign2_sbom(subject: Descriptor) -> LocalImage:
    """Make what cosign 2 keeps under the tag `sha256-….sbom`."""
    layer = ArtifactLayer("text/spdx+json", json.dumps({"spdxVersion": "SPDX-2.3", "name": subject.digest}).encode())
    return make_artifact(None, [layer], config=ArtifactLayer(CONFIG_TYPE, b'{"architecture":"","os":""}'))


def cosign3_bundle(subject: Descriptor, predicate: str = SIGN_PREDICATE) -> LocalImage:
    """Make cosign 3's bundle: a referrer, whose artifact type stands in the media type of its config alone."""
    layer = ArtifactLayer(BUNDLE, json.dumps({"mediaType": BUNDLE, "of": subject.digest, "says": predicate}).encode())
    notes = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate,
        "org.opencontainers.image.created": "2026-11-01T00:00:00Z",
    }
    return make_artifact(subject, [layer], config=ArtifactLayer(BUNDLE, b"{}"), annotations=notes)


def notation_signature(subject: Descriptor) -> LocalImage:
    """Make a signature of the Notary Project."""
    layer = ArtifactLayer("application/jose+json", json.dumps({"payload": subject.digest}).encode())
    notes = {"io.cncf.notary.x509chain.thumbprint#S256": '["b7a69a70992ce4f9a8d0a30e0a0a4ae0"]'}
    return make_artifact(subject, [layer], config=ArtifactLayer(NOTATION, b"{}"), annotations=notes)


def sbom(subject: Descriptor, kind: str = SPDX, content: bytes = b"") -> LocalImage:
    """Make an SBOM that refers to an image, as oras attaches it."""
    layer = ArtifactLayer(kind, content or json.dumps({"bom": kind, "of": subject.digest}).encode())
    return make_artifact(subject, [layer], artifact_type=kind)


def provenance(subject: Descriptor) -> LocalImage:
    """Make an SLSA provenance that refers to an image."""
    layer = ArtifactLayer(IN_TOTO, json.dumps({"predicateType": SLSA_PREDICATE, "of": subject.digest}).encode())
    return make_artifact(
        subject, [layer], artifact_type=IN_TOTO, annotations={"in-toto.io/predicate-type": SLSA_PREDICATE}
    )


def huge_artifact(subject: Descriptor, size: int) -> LocalImage:
    """Make a referrer whose manifest names a blob of a size that nobody needs to have."""
    empty = {"mediaType": EMPTY_TYPE, "digest": blob_digest(b"{}"), "size": 2}
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": empty,
        "layers": [empty | {"digest": blob_digest(b"huge"), "size": size}],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
    }
    content = json.dumps(document).encode()
    root = RawManifest(describe(content, media_types.OCI_MANIFEST), content)
    return LocalImage(root, {root.descriptor.digest: root}, {})


def _described(layer: ArtifactLayer) -> dict[str, object]:
    described: dict[str, object] = {
        "mediaType": layer.media_type,
        "digest": blob_digest(layer.content),
        "size": len(layer.content),
    }
    return described | ({"annotations": dict(layer.annotations)} if layer.annotations else {})
