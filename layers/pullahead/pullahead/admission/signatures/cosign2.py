"""Signatures and attestations as cosign 2 keeps them, with certificate and promise of the log in annotations.

A keyless one is proven by what is there: the certificate's chain when it signed, its log of certificates, and that
Rekor promised to log this very signature (the promise is not a proof of inclusion, which cosign 2 does not keep).

Sources: cosign 2, specs/SIGNATURE_SPEC.md and specs/ATTESTATION_SPEC.md; Rekor, pkg/types/hashedrekord (schema 0.0.1),
dsse (0.0.1) and intoto (0.0.2), and the signed entry timestamp in openapi.yaml; RFC 8785 (how what is promised is
written).
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from cryptography import x509

from pullahead.admission.signatures.bundle import MAX_BUNDLE_BYTES, Envelope, decode_base64, read_envelope
from pullahead.admission.signatures.certificate import check_chain, check_logged, check_usage
from pullahead.admission.signatures.public_keys import accepted_key, is_signed_by
from pullahead.admission.signatures.strict_json import read_object, value_at
from pullahead.admission.signatures.trust_root import TrustAt
from pullahead.admission.signatures.verdict import RefusedError

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE: Final = "application/vnd.dsse.envelope.v1+json"
MAX_PAYLOAD_BYTES: Final = 64 * 1024

_SIGNATURE: Final = "dev.cosignproject.cosign/signature"
_CERTIFICATE: Final = "dev.sigstore.cosign/certificate"
_BUNDLE: Final = "dev.sigstore.cosign/bundle"
_MAX_ANNOTATION_CHARACTERS: Final = 256 * 1024
_PEM: Final = "-----BEGIN "


class CosignTag(NamedTuple):
    """How cosign 2 keeps a kind: the tag's suffix, the layers' media type and how long they may be.

    `artifact_type` is of the referrers that it writes if it is told to: they hold the same as the tag.
    """

    suffix: str
    media_type: str
    max_bytes: int
    artifact_type: str


SIGNATURES: Final = CosignTag(
    ".sig", SIMPLE_SIGNING, MAX_PAYLOAD_BYTES, "application/vnd.dev.cosign.artifact.sig.v1+json"
)
ATTESTATIONS: Final = CosignTag(".att", DSSE, MAX_BUNDLE_BYTES, "application/vnd.dev.cosign.artifact.att.v1+json")


class Signature(NamedTuple):
    """A signature over a payload, or else over an envelope, and who made it: None for a key's.

    `promise` is Rekor's, as it is written.
    """

    payload: bytes
    signature: bytes
    certificate: x509.Certificate | None
    promise: str
    envelope: Envelope | None = None

    @property
    def signed(self) -> bytes:
        """The bytes that are signed."""
        return self.payload if self.envelope is None else self.envelope.signed


class _Promised(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    body: str
    integrated_time: int
    log_index: int
    log_id: str = msgspec.field(name="logID")


class _Promise(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    signed_entry_timestamp: str
    payload: _Promised


def read_signature(payload: bytes, annotations: Mapping[str, str]) -> Signature:
    """Read a layer of a signature manifest. Raises RefusedError."""
    certificate = _certificate_of(annotations)
    signature = decode_base64(annotations.get(_SIGNATURE, ""), "its signature")
    if not signature:
        raise RefusedError("it has no signature")
    return Signature(payload, signature, certificate, annotations.get(_BUNDLE, ""))


def read_attestation(content: bytes, annotations: Mapping[str, str]) -> Signature:
    """Read a layer of an attestation manifest, which is an envelope. Raises RefusedError."""
    certificate, envelope = _certificate_of(annotations), read_envelope(content)
    return Signature(envelope.payload, envelope.signature, certificate, annotations.get(_BUNDLE, ""), envelope)


def _certificate_of(annotations: Mapping[str, str]) -> x509.Certificate | None:
    if any(len(value) > _MAX_ANNOTATION_CHARACTERS for value in annotations.values()):
        raise RefusedError(f"it has an annotation of more than {_MAX_ANNOTATION_CHARACTERS} characters")
    pem = annotations.get(_CERTIFICATE, "").strip()
    return _read_certificate(pem) if pem else None


def _read_certificate(pem: str) -> x509.Certificate:
    if pem.count(_PEM) != 1:
        raise RefusedError(f"it names {pem.count(_PEM)} certificates at once, and not one")
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise RefusedError("its certificate cannot be read") from None


def check_keyless(signature: Signature, certificate: x509.Certificate, trust: TrustAt) -> datetime:
    """Prove that whom a certificate names signed a payload, while the certificate was valid; returns when.

    Raises RefusedError.
    """
    promise = _read_promise(signature.promise)
    at = datetime.fromtimestamp(promise.payload.integrated_time, UTC)
    check_usage(certificate)
    issuer = check_chain(certificate, trust.authorities, at)
    check_logged(certificate, issuer, trust.certificate_logs)
    if not is_signed_by(accepted_key(certificate.public_key()), signature.signature, signature.signed):
        raise RefusedError("the signature is not of its payload by its certificate's key")
    _check_promise(promise, trust)
    _check_body(decode_base64(promise.payload.body, "its log entry"), signature, certificate)
    return at


def _read_promise(text: str) -> _Promise:
    if not text:
        raise RefusedError("it does not prove that a transparency log has it: Rekor's promise is missing")
    document = read_object(text.encode(), "Rekor's promise", folded=True)
    try:
        promise = msgspec.convert(document, _Promise)
    except msgspec.ValidationError as error:
        raise RefusedError(f"Rekor's promise cannot be read: {error}") from None
    if not 0 <= promise.payload.integrated_time < 2**33:
        raise RefusedError("Rekor's promise has an impossible time")
    return promise


def _check_promise(promise: _Promise, trust: TrustAt) -> None:
    said = promise.payload
    log = next((log for log in trust.logs if log.id.hex() == said.log_id), None)
    if log is None:
        raise RefusedError(
            f"it is in a transparency log that the trust root does not know, or not as of then ({said.log_id[:16]}…)"
        )
    # As RFC 8785 writes it: keys in order, no space; the texts are base64 and hexadecimal digits.
    signed = msgspec.json.encode(
        {
            "body": said.body,
            "integratedTime": said.integrated_time,
            "logID": said.log_id,
            "logIndex": said.log_index,
        }
    )
    if not is_signed_by(log.key, decode_base64(promise.signed_entry_timestamp, "Rekor's promise"), signed):
        raise RefusedError("Rekor did not sign this promise")


def _check_body(body: bytes, signature: Signature, certificate: x509.Certificate) -> None:
    """Check that what is logged is this signature, and not another one of the same signer."""
    entry = read_object(body, "its log entry", folded=True)
    kind = f"{entry.get('kind')} {entry.get('apiVersion')}"
    spec = value_at(entry, "spec")
    if kind == "hashedrekord 0.0.1" and signature.envelope is None:
        logged = _Logged(
            value_at(spec, "data", "hash"),
            value_at(spec, "signature", "content"),
            value_at(spec, "signature", "publicKey", "content"),
        )
    elif kind == "dsse 0.0.1" and signature.envelope is not None:
        one = _only(value_at(spec, "signatures"))
        logged = _Logged(value_at(spec, "payloadHash"), value_at(one, "signature"), value_at(one, "verifier"))
    elif kind == "intoto 0.0.2" and signature.envelope is not None:
        one = _only(value_at(spec, "content", "envelope", "signatures"))
        logged = _Logged(
            value_at(spec, "content", "payloadHash"),
            # What is logged there is the base64 of the text that stands in the envelope, which is base64 itself.
            decode_base64(str(value_at(one, "sig")), "its log entry").decode(errors="replace"),
            value_at(one, "publicKey"),
        )
    else:
        raise RefusedError(f"its log entry is of another kind, {kind}")
    if logged.digest != {"algorithm": "sha256", "value": hashlib.sha256(signature.payload).hexdigest()}:
        raise RefusedError("its log entry is of another payload")
    if decode_base64(str(logged.signature), "its log entry") != signature.signature:
        raise RefusedError("its log entry is of another signature")
    pem = decode_base64(str(logged.certificate), "its log entry").decode(errors="replace")
    if _read_certificate(pem) != certificate:
        raise RefusedError("its log entry is of another certificate")


class _Logged(NamedTuple):
    """What an entry says, as it is written: of which digest, the signature, and by which certificate."""

    digest: object
    signature: object
    certificate: object


def _only(listed: object) -> object:
    return listed[0] if isinstance(listed, list) and len(listed) == 1 else None
