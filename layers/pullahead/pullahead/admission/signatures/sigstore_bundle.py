"""Proof of keyless bundles by sigstore-python: certificate, logs, timestamps and signature, without any network.

What it proves is held against the trust root as of when the certificate was issued: a log or an authority that was not
in use then proves nothing.
"""

from typing import Final

import msgspec
from cryptography import x509
from sigstore.errors import VerificationError
from sigstore.models import Bundle as SigstoreBundle
from sigstore.models import ClientTrustConfig
from sigstore.verify import Verifier

from pullahead.admission.signatures.bundle import Bundle, decode_base64
from pullahead.admission.signatures.certificate import CertificateIdentity, identity_of
from pullahead.admission.signatures.strict_json import value_at
from pullahead.admission.signatures.trust_root import TrustAt
from pullahead.admission.signatures.verdict import RefusedError

_CONFIG: Final = {
    "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
    "signingConfig": {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"},
}


def check_bundle(bundle: Bundle, identity: CertificateIdentity, image: bytes, trust: TrustAt) -> None:
    """Prove that whom the bundle's certificate names signed its envelope, or else an image's manifest.

    What the envelope says is left to the caller. Raises RefusedError.
    """
    _check_entry(bundle, trust)
    try:
        verifier = Verifier(trusted_root=ClientTrustConfig.from_json(_trust_config(trust)).trusted_root)
        read = SigstoreBundle.from_json(bundle.content)
        if bundle.envelope is None:
            verifier.verify_artifact(image, read, _Names(identity))
            return
        proven = verifier.verify_dsse(read, _Names(identity))
    except Exception as error:  # noqa: BLE001 - a bundle that the library fails at is not proven, however it fails
        raise RefusedError(f"sigstore refuses it: {str(error) or type(error).__name__}") from None
    if proven != (bundle.envelope.payload_type, bundle.envelope.payload):
        raise RefusedError("sigstore proves another payload than the one that was read")


def _check_entry(bundle: Bundle, trust: TrustAt) -> None:
    """Say in plain words what most often is wrong with the entry of a log; the library proves it."""
    if len(bundle.entries) != 1:
        raise RefusedError(f"it has {len(bundle.entries)} entries of transparency logs, and not one")
    entry = bundle.entries[0]
    if not value_at(entry, "inclusionProof", "checkpoint"):
        raise RefusedError("it does not prove that a transparency log has it: the inclusion proof is missing")
    _, size, *_ = f"{value_at(entry, 'inclusionProof', 'checkpoint', 'envelope')}\n".split("\n")
    if size != value_at(entry, "inclusionProof", "treeSize"):  # which the library does not compare
        raise RefusedError("its inclusion proof is of another state of the log than the checkpoint")
    log_id = decode_base64(str(value_at(entry, "logId", "keyId")), "its log's identity")
    if log_id not in {log.id for log in trust.logs}:
        raise RefusedError(
            f"it is in a transparency log that the trust root does not know, or not as of then ({log_id.hex()[:16]}…)"
        )
    if not trust.authorities or not trust.certificate_logs:
        raise RefusedError("the trust root has no certificate authority, or no log of certificates, as of then")


def _trust_config(trust: TrustAt) -> str:
    return msgspec.json.encode({**_CONFIG, "trustedRoot": trust.document}).decode()


class _Names:
    """The library's policy: the certificate that it has proven is the one whose identity was compared."""

    def __init__(self, identity: CertificateIdentity) -> None:
        self._identity = identity

    def verify(self, cert: x509.Certificate) -> None:
        if identity_of(cert) != self._identity:
            raise VerificationError("its certificate is another one than the one that was read")
