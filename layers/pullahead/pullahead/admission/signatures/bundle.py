"""Bundles of Sigstore, version 0.3: what is in them, before anything is proven. Pure.

Sources: sigstore/protobuf-specs, sigstore_bundle.proto and sigstore_rekor.proto; DSSE 1.0, protocol.md.
"""

import base64
import binascii
from typing import Any, Final, NamedTuple

import msgspec

from pullahead.admission.signatures.strict_json import read_object
from pullahead.admission.signatures.verdict import RefusedError

BUNDLE_PREFIX: Final = "application/vnd.dev.sigstore.bundle"
MAX_BUNDLE_BYTES: Final = 4 * 1024 * 1024
"""Most have some ten kilobytes; those with an SBOM may have megabytes, and are read only if they are asked for."""
_VERSIONS: Final = frozenset({f"{BUNDLE_PREFIX}.v0.3+json", f"{BUNDLE_PREFIX}+json;version=0.3"})


class Envelope(NamedTuple):
    """A DSSE envelope with its one signature."""

    payload_type: str
    payload: bytes
    signature: bytes

    @property
    def signed(self) -> bytes:
        """The bytes that are signed (DSSE's pre-authentication encoding)."""
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)


class Bundle(NamedTuple):
    """What a bundle is signed by, a certificate or else a key; and what it signs: an envelope, or a message.

    `entries` are those of transparency logs, as they are written.
    """

    content: bytes
    certificate: bytes | None
    envelope: Envelope | None
    message_signature: bytes | None
    entries: tuple[dict[str, Any], ...] = ()


class _Certificate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    raw_bytes: str


class _Material(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    certificate: _Certificate | None = None
    x509_certificate_chain: Any = None
    public_key: dict[str, Any] | None = None
    tlog_entries: list[dict[str, Any]] = []
    timestamp_verification_data: Any = None


class _Signature(msgspec.Struct, forbid_unknown_fields=True):
    sig: str
    keyid: str | None = None


class _Envelope(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    payload: str
    payload_type: str
    signatures: list[_Signature]


class _Message(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    signature: str
    message_digest: Any = None


class _Wire(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope | None = None
    message_signature: _Message | None = None


def read_bundle(content: bytes) -> Bundle:
    """Read a bundle. Raises RefusedError for what is none, and for what different readers would read differently."""
    if len(content) > MAX_BUNDLE_BYTES:
        raise RefusedError(f"it has {len(content)} bytes; the limit is {MAX_BUNDLE_BYTES}")
    document = read_object(content, "the bundle", folded=True)
    if (version := document.get("mediaType")) not in _VERSIONS:
        raise RefusedError(f"it is no bundle of version 0.3, but {version!r}")
    _check_names(document)
    try:
        wire = msgspec.convert(document, _Wire)
    except msgspec.ValidationError as error:
        raise RefusedError(f"it is no bundle: {error}") from None
    material = wire.verification_material
    if material.x509_certificate_chain is not None:
        raise RefusedError("it has a chain of certificates; a bundle of version 0.3 has one certificate")
    if (material.certificate is None) == (material.public_key is None):
        raise RefusedError("it does not name either one certificate or one key")
    if (wire.dsse_envelope is None) == (wire.message_signature is None):
        raise RefusedError("it does not have either one envelope or one signature of a message")
    return Bundle(
        content,
        None if material.certificate is None else decode_base64(material.certificate.raw_bytes, "its certificate"),
        None if wire.dsse_envelope is None else _read_envelope(wire.dsse_envelope),
        None if wire.message_signature is None else decode_base64(wire.message_signature.signature, "its signature"),
        tuple(material.tlog_entries),
    )


def read_envelope(content: bytes) -> Envelope:
    """Read an envelope that stands alone. Raises RefusedError."""
    document = read_object(content, "the envelope", folded=True)
    try:
        return _read_envelope(msgspec.convert(document, _Envelope))
    except msgspec.ValidationError as error:
        raise RefusedError(f"it is no envelope: {error}") from None


def _read_envelope(wire: _Envelope) -> Envelope:
    if len(wire.signatures) != 1:
        raise RefusedError(f"its envelope has {len(wire.signatures)} signatures, and not one")
    signature = decode_base64(wire.signatures[0].sig, "its signature")
    return Envelope(wire.payload_type, decode_base64(wire.payload, "its payload"), signature)


def _check_names(document: Any) -> None:
    """Refuse names with underscores: the library takes them for others, so that one could be there twice."""
    if isinstance(document, list):
        for each in document:
            _check_names(each)
    if isinstance(document, dict):
        for key, value in document.items():
            if "_" in key:
                raise RefusedError(f"it has the key {key}, which is not spelled so in a bundle")
            _check_names(value)


def decode_base64(text: str, what: str) -> bytes:
    """Decode base64 that is written in the one usual way. Raises RefusedError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(f"{what} is no base64") from None
