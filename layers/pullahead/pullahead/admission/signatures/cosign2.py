"""Signatures as cosign 2 keeps them: a payload, with signature, certificate and promise of the log in annotations.

A keyless one is proven by what is there: the certificate's chain when it signed, its log of certificates, and that
Rekor promised to log this very signature (the promise is not a proof of inclusion, which cosign 2 does not keep).

Sources: cosign 2, specs/SIGNATURE_SPEC.md; Rekor, pkg/types/hashedrekord (schema 0.0.1) and the signed entry timestamp
in openapi.yaml; RFC 8785 (how what is promised is written).
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from cryptography import x509

from pullahead.admission.signatures.bundle import decode_base64
from pullahead.admission.signatures.certificate import check_chain, check_logged, check_usage
from pullahead.admission.signatures.public_keys import accepted_key, is_signed_by
from pullahead.admission.signatures.strict_json import read_object, value_at
from pullahead.admission.signatures.trust_root import TrustAt
from pullahead.admission.signatures.verdict import RefusedError

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
ARTIFACT_TYPE: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"
"""Of the referrers that cosign 2 writes if it is told to: they hold the same as the tag."""
MAX_PAYLOAD_BYTES: Final = 64 * 1024

_SIGNATURE: Final = "dev.cosignproject.cosign/signature"
_CERTIFICATE: Final = "dev.sigstore.cosign/certificate"
_BUNDLE: Final = "dev.sigstore.cosign/bundle"
_MAX_ANNOTATION_CHARACTERS: Final = 256 * 1024
_PEM: Final = "-----BEGIN "


class Signature(NamedTuple):
    """A signature over a payload, and who made it: None for a key's. `promise` is Rekor's, as it is written."""

    payload: bytes
    signature: bytes
    certificate: x509.Certificate | None
    promise: str


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
    if any(len(value) > _MAX_ANNOTATION_CHARACTERS for value in annotations.values()):
        raise RefusedError(f"it has an annotation of more than {_MAX_ANNOTATION_CHARACTERS} characters")
    signature = decode_base64(annotations.get(_SIGNATURE, ""), "its signature")
    if not signature:
        raise RefusedError("it has no signature")
    pem = annotations.get(_CERTIFICATE, "").strip()
    certificate = _read_certificate(pem) if pem else None
    return Signature(payload, signature, certificate, annotations.get(_BUNDLE, ""))


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
    if not is_signed_by(accepted_key(certificate.public_key()), signature.signature, signature.payload):
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
    if (entry.get("kind"), entry.get("apiVersion")) != ("hashedrekord", "0.0.1"):
        raise RefusedError(f"its log entry is no hashedrekord 0.0.1, but {entry.get('kind')} {entry.get('apiVersion')}")
    digest = {"algorithm": "sha256", "value": hashlib.sha256(signature.payload).hexdigest()}
    if value_at(entry, "spec", "data", "hash") != digest:
        raise RefusedError("its log entry is of another payload")
    if decode_base64(str(value_at(entry, "spec", "signature", "content")), "its log entry") != signature.signature:
        raise RefusedError("its log entry is of another signature")
    logged = decode_base64(str(value_at(entry, "spec", "signature", "publicKey", "content")), "its log entry")
    if _read_certificate(logged.decode(errors="replace")) != certificate:
        raise RefusedError("its log entry is of another certificate")
