"""Whether an image is signed, and attested, as a policy demands. Decides by proof alone, and fails closed.

The image is upstream's root, before any platform is left out: a signature of an index proves its children, whose
digests it has; a signature of a child proves nothing of an index that names it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509

from pullahead.admission.signatures.bundle import Bundle, read_bundle
from pullahead.admission.signatures.certificate import UNREADABLE, CertificateIdentity, identity_of
from pullahead.admission.signatures.cosign2 import (
    ATTESTATIONS,
    SIGNATURES,
    Signature,
    check_keyless,
    read_attestation,
    read_signature,
)
from pullahead.admission.signatures.find import (
    BundleCandidate,
    Candidate,
    Cosign2Candidate,
    SignatureReader,
    find_candidates,
)
from pullahead.admission.signatures.public_keys import PublicKey, accepted_key, is_signed_by, load_public_key
from pullahead.admission.signatures.simple_signing import check_payload
from pullahead.admission.signatures.statement import COSIGN_SIGN, Statement, check_demand, read_statement
from pullahead.admission.signatures.trust_root import TrustRoot
from pullahead.admission.signatures.verdict import (
    Evidence,
    Finding,
    Outcome,
    RefusedError,
    SignatureVerdict,
    proven,
    refused,
)
from pullahead.oci import Digest, Reference, algorithm_of, digest_of
from pullahead.rules.signature_policy import AttestationDemand, KeylessSigner, KeySigner, SignaturePolicy, Signer
from pullahead.text import count_text, moment_text

_CLOCK_SKEW: Final = timedelta(minutes=5)
_MAX_EVIDENCE: Final = 120  # of refusals


def verify_image(
    image: Reference,
    content: bytes,
    policy: SignaturePolicy,
    reader: SignatureReader,
    trust_root: TrustRoot | None,
    now: datetime,
) -> SignatureVerdict:
    """Verify an image, which is named by digest, and whose manifest's or index's bytes are `content`.

    Reads what upstream keeps beside it, and nothing else. `trust_root` may be None where every signer is a key. Raises
    ConfigError for a key that is none, and ValueError for a policy without signers.
    """
    if image.digest is None or not policy.signers:
        raise ValueError("an image is verified by digest, and by a policy that names signers")
    if digest_of(content, algorithm_of(image.digest)) != image.digest:
        return SignatureVerdict(Outcome.UNTRUSTED, f"the bytes of the image do not have the digest {image.digest}")
    subject = _Subject(image, image.digest, content, trust_root, now)
    return _Verification(subject, policy).run(reader)


def check_keys(policy: SignaturePolicy) -> None:
    """Check that the keys of a policy are public keys. Raises ConfigError."""
    _load_keys(policy.every_signer)


class _Subject(NamedTuple):
    image: Reference
    digest: Digest
    content: bytes
    trust_root: TrustRoot | None
    now: datetime


class _Signed(NamedTuple):
    """What was proven: which of the trusted signers that is, in words, and what they signed; None: the image itself."""

    signers: frozenset[Signer]
    text: str
    statement: Statement | None


class _Verification:
    """Looks at one thing after another, until nothing is missing."""

    def __init__(self, subject: _Subject, policy: SignaturePolicy) -> None:
        self._subject, self._policy = subject, policy
        self._missing: list[AttestationDemand | None] = [*policy.attestations] or [None]  # None: a signature
        self._keys = _load_keys(policy.every_signer)
        self._evidence: list[Evidence] = []

    def run(self, reader: SignatureReader) -> SignatureVerdict:
        wants_signature = self._missing == [None]
        predicates = {COSIGN_SIGN} if wants_signature else {each.predicate_type for each in self._policy.attestations}
        kept = SIGNATURES if wants_signature else ATTESTATIONS
        found = find_candidates(self._subject.image, self._subject.digest, reader, predicates, kept)
        for each in found:
            self._note(each if isinstance(each, Evidence) else self._look_at(each))
            if not self._missing:
                break
        return self._verdict()

    def _note(self, evidence: Evidence | None) -> None:
        if evidence is None:
            return
        if evidence.finding is not Finding.REFUSED or len(self._evidence) < _MAX_EVIDENCE:
            self._evidence.append(evidence)

    def _look_at(self, candidate: Candidate) -> Evidence | None:
        """Try to prove something; None where it is of a kind that is not asked for."""
        try:
            if isinstance(candidate, BundleCandidate):
                signed = self._prove_bundle(candidate)
            elif self._missing == [None]:
                signed = self._prove_cosign2_signature(candidate)
            else:
                signed = self._prove_cosign2_attestation(candidate)
            return None if signed is None else self._satisfy(candidate.source, signed)
        except RefusedError as error:
            return refused(candidate.source, error)
        except UNREADABLE:  # cryptography reads a certificate's parts when they are asked for
            return refused(candidate.source, "its certificate cannot be read")

    def _satisfy(self, source: str, signed: _Signed) -> Evidence:
        """Take away what is not missing any more."""
        satisfied, reasons = [], []
        for demand in list(self._missing):
            try:
                satisfied.append(self._check(signed, demand))
                self._missing.remove(demand)
            except RefusedError as error:
                reasons.append(str(error))
        return proven(source, "; ".join(satisfied)) if satisfied else refused(source, "; ".join(reasons))

    def _check(self, signed: _Signed, demand: AttestationDemand | None) -> str:
        """Check that what was proven is what is demanded; returns it in words. Raises RefusedError."""
        if demand is None:
            return f"signed by {signed.text}"
        if not signed.signers & set(demand.signers or self._policy.signers):
            raise RefusedError(f"it is signed by {signed.text}, who may not attest {demand.predicate_type}")
        if signed.statement is None:
            raise RefusedError(f"it is a signature of the image, and does not attest {demand.predicate_type}")
        said = check_demand(signed.statement, demand)
        return f"{demand.predicate_type} by {signed.text}{f': {said}' if said else ''}"

    # --- Bundles ------------------------------------------------------------------------------------------------------

    def _prove_bundle(self, candidate: BundleCandidate) -> _Signed | None:
        bundle = read_bundle(candidate.content)
        statement = None
        if bundle.envelope is not None:
            # Nothing here is proven yet; it tells what is worth proving.
            statement = read_statement(bundle.envelope.payload_type, bundle.envelope.payload, self._subject.digest)
        if not self._is_asked_for(statement):
            return None
        if bundle.certificate is None:
            signers, text = self._prove_keyed_bundle(bundle)
        else:
            signers, text = self._prove_keyless_bundle(bundle, bundle.certificate)
        return _Signed(signers, text, statement)

    def _is_asked_for(self, statement: Statement | None) -> bool:
        kind = COSIGN_SIGN if statement is None else statement.predicate_type
        return any(kind == (COSIGN_SIGN if each is None else each.predicate_type) for each in self._missing)

    def _prove_keyed_bundle(self, bundle: Bundle) -> tuple[frozenset[Signer], str]:
        if bundle.envelope is not None:
            return self._prove_key(bundle.envelope.signature, bundle.envelope.signed)
        return self._prove_key(bundle.message_signature or b"", self._subject.content)

    def _prove_keyless_bundle(self, bundle: Bundle, der: bytes) -> tuple[frozenset[Signer], str]:
        try:
            certificate = x509.load_der_x509_certificate(der)
        except ValueError:
            raise RefusedError("its certificate cannot be read") from None
        identity = identity_of(certificate)
        signers = self._keyless_signers(identity)
        accepted_key(certificate.public_key())
        trust = self._trust_root().at(self._issued(certificate))
        # The library takes half a second to import, and is in no layer but the verifier's.
        from pullahead.admission.signatures.sigstore_bundle import check_bundle  # noqa: PLC0415

        check_bundle(bundle, identity, self._subject.content, trust)
        return signers, f"{identity}, by a certificate of {moment_text(certificate.not_valid_before_utc)}"

    # --- cosign 2 -----------------------------------------------------------------------------------------------------

    def _prove_cosign2_signature(self, candidate: Cosign2Candidate) -> _Signed:
        signature = read_signature(candidate.content, candidate.annotations)
        check_payload(
            signature.payload, self._subject.digest, {self._subject.image.repository, *self._policy.signed_as}
        )
        return _Signed(*self._prove_cosign2(signature), None)

    def _prove_cosign2_attestation(self, candidate: Cosign2Candidate) -> _Signed | None:
        attestation = read_attestation(candidate.content, candidate.annotations)
        kind = attestation.envelope.payload_type if attestation.envelope is not None else ""
        statement = read_statement(kind, attestation.payload, self._subject.digest)
        if not self._is_asked_for(statement):
            return None
        return _Signed(*self._prove_cosign2(attestation), statement)

    def _prove_cosign2(self, signature: Signature) -> tuple[frozenset[Signer], str]:
        if signature.certificate is None:
            return self._prove_key(signature.signature, signature.signed)
        identity = identity_of(signature.certificate)
        signers = self._keyless_signers(identity)
        trust = self._trust_root().at(self._issued(signature.certificate))
        at = check_keyless(signature, signature.certificate, trust)
        return signers, f"{identity} on {moment_text(at)}"

    # --- Signers ------------------------------------------------------------------------------------------------------

    def _prove_key(self, signature: bytes, signed: bytes) -> tuple[frozenset[Signer], str]:
        if not self._keys:
            raise RefusedError("it is signed with a key, and no key is trusted here")
        signers = frozenset(signer for signer, key in self._keys if is_signed_by(key, signature, signed))
        if signers:
            return signers, " and ".join(sorted(map(str, signers)))
        raise RefusedError(f"it is not signed with {' or '.join(str(signer) for signer, _ in self._keys)}")

    def _keyless_signers(self, identity: CertificateIdentity) -> frozenset[Signer]:
        trusted = [each for each in self._policy.every_signer if isinstance(each, KeylessSigner)]
        if signers := frozenset(each for each in trusted if each.is_named_by(identity.name, identity.issuer)):
            return signers
        if not trusted:
            raise RefusedError(f"its certificate names {identity}, and no identity is trusted here, only keys")
        raise RefusedError(f"its certificate names {identity}, not {' or '.join(map(str, trusted))}")

    def _issued(self, certificate: x509.Certificate) -> datetime:
        issued = certificate.not_valid_before_utc
        if issued > self._subject.now + _CLOCK_SKEW:
            raise RefusedError(
                f"its certificate is not valid before {moment_text(issued)}; is this machine's clock right?"
            )
        return issued

    def _trust_root(self) -> TrustRoot:
        if self._subject.trust_root is None:
            raise RefusedError("it is signed without a key, and there is no trust root to prove that by")
        return self._subject.trust_root

    # --- The verdict --------------------------------------------------------------------------------------------------

    def _verdict(self) -> SignatureVerdict:
        evidence = tuple(self._evidence)
        proofs = [each for each in evidence if each.finding is Finding.PROVEN]
        if not self._missing:
            return SignatureVerdict(Outcome.ADMITTED, "; ".join(each.text for each in proofs), evidence)
        missing = [_wanted(each, self._policy) for each in self._missing]
        wanted = " and ".join(f"{'an' if each.startswith('a') else 'a'} {each}" for each in missing)
        unread = [each for each in evidence if each.finding is Finding.UNREADABLE]
        if unread:
            return SignatureVerdict(
                Outcome.UNKNOWN, f"upstream could not be asked for {wanted}: {unread[0].text}", evidence
            )
        against = [each for each in evidence if each.finding is Finding.REFUSED]
        if against:
            more = f" (and {count_text(len(against) - 1, 'other')})" if len(against) > 1 else ""
            return SignatureVerdict(Outcome.UNTRUSTED, f"nothing proves {wanted}: {against[0].text}{more}", evidence)
        return SignatureVerdict(
            Outcome.UNSIGNED, f"there is {' and '.join(f'no {each}' for each in missing)}", evidence
        )


def _wanted(demand: AttestationDemand | None, policy: SignaturePolicy) -> str:
    if demand is None:
        return f"signature by {' or '.join(map(str, policy.signers))}"
    return f"attestation {demand.predicate_type} by {' or '.join(map(str, demand.signers or policy.signers))}"


def _load_keys(signers: Iterable[Signer]) -> list[tuple[Signer, PublicKey]]:
    return [(each, load_public_key(each.pem, each.name)) for each in signers if isinstance(each, KeySigner)]
