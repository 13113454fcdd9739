"""An image with what a Sigstore of one's own signs about it, served by an upstream in memory, and its verification."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509

from local.artifacts import ArtifactLayer, make_artifact
from local.images import LocalImage, make_image, make_index
from pullahead.admission.signatures.cosign2 import DSSE, SIMPLE_SIGNING
from pullahead.admission.signatures.trust_root import TrustRoot
from pullahead.admission.signatures.verdict import Outcome, SignatureVerdict
from pullahead.admission.signatures.verify import verify_image
from pullahead.oci import Digest, Reference, parse_reference
from pullahead.oci.referrers import fallback_tag
from pullahead.rules.signature_policy import KeylessSigner, KeySigner, SignaturePolicy
from tests.fakes.upstream import FakeUpstream
from tests.sigstore import (
    BUNDLE,
    IDENTITY,
    IN_TOTO,
    ISSUER,
    NOW,
    SIGN,
    Key,
    Sigstore,
    base64_of,
    der_of,
    dsse_entry,
    hashedrekord,
    hashedrekord_v2,
    intoto_entry,
    new_key,
    pae,
    pem_of,
    public_pem,
    sign,
)

REPOSITORY: Final = "ghcr.io/org/app"
IMAGE: Final = make_image([1000], seed=1)
OTHER: Final = make_image([1000], seed=2)
INDEX: Final = make_index([IMAGE, OTHER])
SIGNED_AT: Final = NOW - timedelta(minutes=59)
BY_RELEASE: Final = KeylessSigner(ISSUER, IDENTITY)


@functools.cache
def sigstore() -> Sigstore:
    """The one that the trust root of these tests trusts."""
    return Sigstore()


@functools.cache
def foreign_sigstore() -> Sigstore:
    """One that nobody trusts."""
    return Sigstore()


@functools.cache
def company_key() -> Key:
    return new_key()


def by_key(key: Key | None = None) -> KeySigner:
    return KeySigner(public_pem(key or company_key()), "cosign.pub")


def statement(
    digest: str = IMAGE.digest, predicate_type: str = SIGN, predicate: Any = None, **changed: Any
) -> dict[str, Any]:
    """Write a statement about a digest."""
    algorithm, _, value = digest.partition(":")
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "", "digest": {algorithm: value}}],
        "predicateType": predicate_type,
        "predicate": predicate or {},
    } | changed


def dsse_bundle(
    said: Mapping[str, Any] | bytes,
    *,
    payload_type: str = IN_TOTO,
    certificate: x509.Certificate | None = None,
    key: Key | None = None,
    by: Sigstore | None = None,
    at: datetime = SIGNED_AT,
    rekor_version: int = 1,
    logged: bytes | None = None,
    signed: bytes | None = None,
) -> dict[str, Any]:
    """Sign a statement without a key. `logged` is logged in its place, `signed` signed in its place."""
    by, key = by or sigstore(), key or new_key()
    certificate = certificate or by.fulcio.issue(key)
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    signature = sign(key, pae(payload_type, payload if signed is None else signed))
    body = logged if logged is not None else payload
    material: dict[str, Any] = {"certificate": {"rawBytes": base64_of(der_of(certificate))}}
    if rekor_version == 1:
        entry = by.rekor.entry(dsse_entry(body, signature, certificate), "dsse", "0.0.1", at)
    else:
        entry = by.rekor2.entry(
            hashedrekord_v2(pae(payload_type, body), signature, certificate), "hashedrekord", "0.0.2", None
        )
        stamps = [{"signedTimestamp": base64_of(by.tsa.stamp(signature, at))}]
        material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    material["tlogEntries"] = [entry]
    envelope = {
        "payload": base64_of(payload),
        "payloadType": payload_type,
        "signatures": [{"sig": base64_of(signature)}],
    }
    return {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}


def message_bundle(content: bytes = IMAGE.root.content, *, rekor_version: int = 1, **issued: Any) -> dict[str, Any]:
    """Sign a manifest's bytes without a key."""
    by, key = sigstore(), new_key()
    certificate = by.fulcio.issue(key, **issued)
    signature = sign(key, content)
    material: dict[str, Any] = {"certificate": {"rawBytes": base64_of(der_of(certificate))}}
    if rekor_version == 1:
        entry = by.rekor.entry(hashedrekord(content, signature, certificate), "hashedrekord", "0.0.1", SIGNED_AT)
    else:
        entry = by.rekor2.entry(hashedrekord_v2(content, signature, certificate), "hashedrekord", "0.0.2", None)
        stamps = [{"signedTimestamp": base64_of(by.tsa.stamp(signature, SIGNED_AT))}]
        material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    digest = {"algorithm": "SHA2_256", "digest": base64_of(hashlib.sha256(content).digest())}
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": material | {"tlogEntries": [entry]},
        "messageSignature": {"messageDigest": digest, "signature": base64_of(signature)},
    }


def keyed_bundle(said: Mapping[str, Any], key: Key | None = None, *, hint: str = "hint") -> dict[str, Any]:
    """Sign a statement with a key, without any log."""
    payload = json.dumps(said).encode()
    signature = sign(key or company_key(), pae(IN_TOTO, payload))
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64_of(payload),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": base64_of(signature), "keyid": ""}],
        },
    }


def referrer(
    bundle: Mapping[str, Any] | bytes, subject: LocalImage = IMAGE, annotations: Mapping[str, str] | None = None
) -> LocalImage:
    """Write a bundle's referrer as cosign 3 does."""
    content = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return make_artifact(
        subject.root.descriptor, [ArtifactLayer(BUNDLE, content)], artifact_type=BUNDLE, annotations=annotations
    )


def payload(digest: str = IMAGE.digest, repository: str = REPOSITORY, **critical: Any) -> bytes:
    """Write what cosign 2 signs."""
    said = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    } | critical
    return json.dumps({"critical": said, "optional": None}).encode()


def cosign2_keyed(content: bytes | None = None, key: Key | None = None) -> ArtifactLayer:
    """Write one signature with a key, as cosign 2 does."""
    content = payload() if content is None else content
    return ArtifactLayer(SIMPLE_SIGNING, content, _annotations(sign(key or company_key(), content)))


def cosign2_keyless(
    content: bytes | None = None,
    *,
    certificate: x509.Certificate | None = None,
    key: Key | None = None,
    by: Sigstore | None = None,
    at: datetime = SIGNED_AT,
    logged: bytes | None = None,
    **annotations: str,
) -> ArtifactLayer:
    """Write one signature without a key, as cosign 2 does. `logged` is what Rekor has of it."""
    by, key = by or sigstore(), key or new_key()
    content = payload() if content is None else content
    certificate = certificate or by.fulcio.issue(key)
    signature = sign(key, content)
    notes = _annotations(signature) | {
        "dev.sigstore.cosign/certificate": pem_of(certificate),
        "dev.sigstore.cosign/chain": pem_of(by.fulcio.intermediate) + pem_of(by.fulcio.root),
        "dev.sigstore.cosign/bundle": by.rekor.cosign2(logged or hashedrekord(content, signature, certificate), at),
    }
    return ArtifactLayer(
        SIMPLE_SIGNING, content, notes | {f"dev.sigstore.cosign/{name}": text for name, text in annotations.items()}
    )


def cosign2_attestation(
    said: Mapping[str, Any],
    *,
    key: Key | None = None,
    certificate: x509.Certificate | None = None,
    entry: Callable[[bytes, bytes, x509.Certificate], bytes] = intoto_entry,
    logged: bytes | None = None,
    **annotations: str,
) -> ArtifactLayer:
    """Write one attestation without a key, as cosign 2 does; `logged` is what Rekor has in place of the payload."""
    key, content = key or new_key(), json.dumps(said).encode()
    certificate = certificate or sigstore().fulcio.issue(key)
    layer, signature = _envelope(content, key)
    body = entry(content if logged is None else logged, signature, certificate)
    notes = {
        "dev.cosignproject.cosign/signature": "",
        "dev.sigstore.cosign/certificate": pem_of(certificate),
        "dev.sigstore.cosign/bundle": sigstore().rekor.cosign2(body, SIGNED_AT),
        "predicateType": said["predicateType"],
    }
    notes |= {f"dev.sigstore.cosign/{name}": text for name, text in annotations.items()}
    return layer._replace(annotations=notes)


def cosign2_keyed_attestation(said: Mapping[str, Any], key: Key | None = None) -> ArtifactLayer:
    """Write one attestation with a key, as cosign 2 does."""
    layer, _ = _envelope(json.dumps(said).encode(), key or company_key())
    return layer._replace(annotations={"predicateType": said["predicateType"]})


def _envelope(content: bytes, key: Key) -> tuple[ArtifactLayer, bytes]:
    signature = sign(key, pae(IN_TOTO, content))
    signatures = [{"keyid": "", "sig": base64_of(signature)}]
    envelope = {"payloadType": IN_TOTO, "payload": base64_of(content), "signatures": signatures}
    return ArtifactLayer(DSSE, json.dumps(envelope).encode()), signature


def _annotations(signature: bytes) -> dict[str, str]:
    return {"dev.cosignproject.cosign/signature": base64_of(signature)}


def cosign2(*layers: ArtifactLayer) -> LocalImage:
    """Write the manifest that cosign 2 keeps under a tag."""
    config = ArtifactLayer("application/vnd.oci.image.config.v1+json", b'{"architecture":"","os":""}')
    return make_artifact(None, layers, config=config)


def upstream(
    *referrers: LocalImage, tagged: LocalImage | None = None, image: LocalImage = IMAGE, suffix: str = ".sig"
) -> FakeUpstream:
    """Serve an image with referrers, and with what cosign 2 keeps under one of its tags."""
    served = FakeUpstream(piece_bytes=64 * 1024)
    served.serve(image, f"{REPOSITORY}:1")
    for number, each in enumerate(referrers):
        served.serve(each, f"{REPOSITORY}:referrer-{number}")
    if tagged is not None:
        served.serve(tagged, f"{REPOSITORY}:{fallback_tag(image.digest)}{suffix}")
    return served


@functools.cache
def trust_root() -> TrustRoot:
    return TrustRoot(sigstore().trust_root(), "trusted_root.json")


def verify(
    served: FakeUpstream,
    policy: SignaturePolicy | None = None,
    *,
    image: LocalImage = IMAGE,
    content: bytes | None = None,
    trust: TrustRoot | None = None,
    now: datetime = NOW,
) -> SignatureVerdict:
    """Verify an image, by default as a release of the repository's workflow."""
    reference = Reference(parse_reference(REPOSITORY, default_tag=None).repository, None, Digest(image.digest))
    demanded = policy or SignaturePolicy((BY_RELEASE,))
    return verify_image(
        reference, image.root.content if content is None else content, demanded, served, trust or trust_root(), now
    )


def verify_bundles(*bundles: Mapping[str, Any] | bytes, policy: SignaturePolicy | None = None) -> SignatureVerdict:
    """Verify an image with some bundles."""
    return verify(upstream(*map(referrer, bundles)), policy)


def verify_cosign2(*layers: ArtifactLayer, policy: SignaturePolicy | None = None) -> SignatureVerdict:
    """Verify an image with what cosign 2 keeps of it."""
    return verify(upstream(tagged=cosign2(*layers)), policy)


def assert_untrusted(verdict: SignatureVerdict, *reasons: str) -> None:
    """Assert that a verdict is UNTRUSTED, and that its evidence gives the reasons."""
    assert verdict.outcome is Outcome.UNTRUSTED, verdict
    said = " ".join(each.text for each in verdict.evidence) or verdict.reason
    for reason in reasons:
        assert reason in said, (reason, said)


def assert_admitted(verdict: SignatureVerdict, *reasons: str) -> None:
    """Assert that a verdict is ADMITTED, and what it says."""
    assert verdict.outcome is Outcome.ADMITTED, verdict
    for reason in reasons:
        assert reason in verdict.reason, (reason, verdict.reason)
