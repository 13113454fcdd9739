"""Certificates of Fulcio: whom they name, by whom they were issued, and that a log of certificates has them.

Sources: Fulcio, docs/certificate-specification.md and docs/oid-info.md; RFC 5280; RFC 6962, section 3.2 (what a signed
certificate timestamp signs).
"""

import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification
from cryptography.x509.certificate_transparency import LogEntryType, SignedCertificateTimestamp
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from pullahead.admission.signatures.public_keys import is_signed_by
from pullahead.admission.signatures.trust_root import Log
from pullahead.admission.signatures.verdict import RefusedError

UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for what is no certificate, or for a part of one."""

_ISSUER: Final = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_OLD_ISSUER: Final = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")


class CertificateIdentity(NamedTuple):
    """Whom a certificate names, and which issuer vouched for that."""

    name: str
    issuer: str

    def __str__(self) -> str:
        return f"{self.name} (issuer {self.issuer})"


def identity_of(certificate: x509.Certificate) -> CertificateIdentity:
    """Read whom a certificate names: one address of mail or one URI. Raises RefusedError."""
    try:
        names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = []
    if len(names) != 1 or not isinstance(names[0], x509.RFC822Name | x509.UniformResourceIdentifier):
        raise RefusedError(f"its certificate names {len(names)} identities, and not one address of mail or one URI")
    if isinstance(names[0], x509.UniformResourceIdentifier) != ("://" in names[0].value):
        raise RefusedError(f"its certificate names {names[0].value!r} as what it is not: a URI, or an address of mail")
    issuers = set(_issuers(certificate))
    if len(issuers) != 1:
        raise RefusedError(f"its certificate names {len(issuers)} issuers, and not one")
    return CertificateIdentity(names[0].value, issuers.pop())


def _issuers(certificate: x509.Certificate) -> Iterable[str]:
    for extension in certificate.extensions:
        if not isinstance(extension.value, x509.UnrecognizedExtension):
            continue
        try:
            if extension.oid == _ISSUER:
                yield asn1.decode_der(str, extension.value.value)
            elif extension.oid == _OLD_ISSUER:
                yield extension.value.value.decode()
        except ValueError:
            raise RefusedError("its certificate's issuer cannot be read") from None


def check_usage(certificate: x509.Certificate) -> None:
    """Check that a certificate is for signing code. Raises RefusedError."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise RefusedError("its certificate does not say what it is for") from None
    if not usage.digital_signature or ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise RefusedError("its certificate is not for signing code")


def check_chain(
    certificate: x509.Certificate, authorities: Iterable[x509.Certificate], at: datetime
) -> x509.Certificate:
    """Check that trusted authorities issued a certificate that was valid at a moment; returns its issuer's.

    Raises RefusedError.
    """
    trusted = list(authorities)
    if not trusted:
        raise RefusedError(f"the trust root has no certificate authority that was in use on {at:%Y-%m-%d}")
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise RefusedError(
            f"its certificate was valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC, and not when it signed, {at:%Y-%m-%d %H:%M:%S}"
        )
    # A client's certificate is for authenticating by default; what this one is for, `check_usage` says.
    optional = (x509.ExtendedKeyUsage, verification.Criticality.NON_CRITICAL, None)
    policies = {
        "ca_policy": verification.ExtensionPolicy.webpki_defaults_ca().may_be_present(*optional),
        "ee_policy": verification.ExtensionPolicy.webpki_defaults_ee().may_be_present(*optional),
    }
    builder = verification.PolicyBuilder().store(verification.Store(trusted)).time(at).extension_policies(**policies)
    try:
        return builder.build_client_verifier().verify(certificate, []).chain[1]
    except (verification.VerificationError, x509.UnsupportedGeneralNameType, IndexError):
        raise RefusedError("no trusted certificate authority issued its certificate") from None


def check_logged(certificate: x509.Certificate, issuer: x509.Certificate, logs: Iterable[Log]) -> None:
    """Check that a trusted log of certificates promised to keep a certificate. Raises RefusedError."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
        timestamps = list(found)
    except (x509.ExtensionNotFound, ValueError):
        timestamps = []
    if len(timestamps) != 1:
        raise RefusedError(f"its certificate has {len(timestamps)} timestamps of logs of certificates, and not one")
    timestamp = timestamps[0]
    log = next((each for each in logs if each.id == timestamp.log_id), None)
    if log is None:
        raise RefusedError("its certificate is in no log of certificates that the trust root knows")
    signed = _signed_timestamp(timestamp, certificate, issuer)
    if not is_signed_by(log.key, timestamp.signature, signed):
        raise RefusedError("the log of certificates did not sign the timestamp of its certificate")


def _signed_timestamp(
    timestamp: SignedCertificateTimestamp, certificate: x509.Certificate, issuer: x509.Certificate
) -> bytes:
    if timestamp.entry_type is not LogEntryType.PRE_CERTIFICATE:
        raise RefusedError("the timestamp of its certificate is not one of a log's entry before it was issued")
    if not isinstance(timestamp.signature_hash_algorithm, hashes.SHA256):
        raise RefusedError("the timestamp of its certificate is not signed with SHA-256")
    key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key)
    body = certificate.tbs_precertificate_bytes
    milliseconds = round(timestamp.timestamp.replace(tzinfo=UTC).timestamp() * 1000)
    extensions = timestamp.extension_bytes
    return b"".join(
        (
            struct.pack("!BBQH", timestamp.version.value, 0, milliseconds, timestamp.entry_type.value),
            digest.finalize(),
            len(body).to_bytes(3, "big"),
            body,
            struct.pack("!H", len(extensions)),
            extensions,
        )
    )
