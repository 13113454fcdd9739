"""Certificates that name somebody else, or that nobody issued: each is refused with its reason."""

import copy
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pullahead.admission.signatures.trust_root import TrustRoot
from pullahead.rules.signature_policy import KeylessSigner, SignaturePolicy
from tests.fakes.upstream import FakeUpstream
from tests.sigstore import IDENTITY, ISSUER, NOW, CertificateLog, base64_of, der_of, new_key
from tests.unit.admission.signatures.signed_images import (
    SIGNED_AT,
    assert_admitted,
    assert_untrusted,
    by_key,
    cosign2,
    cosign2_keyless,
    dsse_bundle,
    foreign_sigstore,
    referrer,
    sigstore,
    statement,
    upstream,
    verify,
)

URI = x509.UniformResourceIdentifier
FORMS = ["cosign 3", "cosign 3, Rekor 2", "cosign 2"]


def refused(form: str, *reasons: str, policy: SignaturePolicy | None = None, **signed: Any) -> None:
    """Assert that a signature by a certificate is refused in one of the forms in which cosign keeps it."""
    trust = signed.pop("trust", None)
    assert_untrusted(verify(signature(form, **signed), policy, trust=trust), *reasons)


def signature(form: str, *, signed_at: datetime = SIGNED_AT, **issued: Any) -> FakeUpstream:
    """Serve a signature in one of the forms, by a certificate that was issued as `issued` says."""
    key = new_key()
    certificate = sigstore().fulcio.issue(key, **issued)
    if form == "cosign 2":
        return upstream(tagged=cosign2(cosign2_keyless(key=key, certificate=certificate, at=signed_at)))
    version = 2 if form.endswith("2") else 1
    bundle = dsse_bundle(statement(), key=key, certificate=certificate, at=signed_at, rekor_version=version)
    return upstream(referrer(bundle))


def by(identity: str, issuer: str = ISSUER) -> SignaturePolicy:
    return SignaturePolicy((KeylessSigner(issuer, identity),))


@pytest.mark.parametrize("form", FORMS)
class TestCertificate:
    def test_what_the_attacks_begin_with_is_admitted(self, form: str) -> None:
        assert_admitted(verify(signature(form)))

    def test_identity_that_begins_with_the_trusted_one(self, form: str) -> None:
        refused(form, "its certificate names", names=[URI(f"{IDENTITY}-evil")])

    def test_identity_that_ends_with_the_trusted_one(self, form: str) -> None:
        refused(form, "its certificate names https://evil.example/", names=[URI(f"https://evil.example/{IDENTITY}")])

    def test_identity_in_other_letters(self, form: str) -> None:
        refused(form, "its certificate names", names=[URI(IDENTITY.replace("org", "Org"))])

    def test_issuer_with_a_slash_at_its_end(self, form: str) -> None:
        refused(form, f"(issuer {ISSUER}/)", issuer=f"{ISSUER}/")

    def test_issuer_of_somebody_else(self, form: str) -> None:
        refused(form, "(issuer https://evil.example)", issuer="https://evil.example")

    def test_two_issuers_that_differ(self, form: str) -> None:
        refused(form, "names 2 issuers", issuer="https://evil.example", old_issuer=ISSUER)

    def test_no_issuer(self, form: str) -> None:
        refused(form, "names 0 issuers", issuer=None)

    def test_two_identities_of_which_one_is_trusted(self, form: str) -> None:
        refused(form, "names 2 identities", names=[URI("https://evil.example/a"), URI(IDENTITY)])

    def test_identity_as_a_host_name(self, form: str) -> None:
        refused(form, "names 1 identities", names=[x509.DNSName("github.com")])

    def test_address_of_mail_that_looks_like_a_workflow(self, form: str) -> None:
        refused(form, "as what it is not", names=[x509.RFC822Name(IDENTITY)])

    def test_uri_that_looks_like_an_address_of_mail(self, form: str) -> None:
        refused(form, "as what it is not", names=[URI("ann@example.com")], policy=by("ann@example.com"))

    @pytest.mark.parametrize(
        ("part", "other"),
        [
            (bytes.fromhex("2b0601040183bf300101"), bytes.fromhex("2b0601040183bf300108")),  # an extension twice
            (bytes.fromhex("a003020102"), bytes.fromhex("a003020101")),  # a version without extensions
        ],
    )
    def test_certificate_that_cannot_be_read_hides_no_other_one(self, form: str, part: bytes, other: bytes) -> None:
        whole = der_of(sigstore().fulcio.issue(new_key(), old_issuer=ISSUER))
        assert whole.count(part) == 1
        broken = whole.replace(part, other)
        refused_at = "its certificate cannot be read"
        if form == "cosign 2":
            pem = f"-----BEGIN CERTIFICATE-----\n{base64_of(broken)}\n-----END CERTIFICATE-----\n"
            good = cosign2_keyless()
            bad = good._replace(annotations={**(good.annotations or {}), "dev.sigstore.cosign/certificate": pem})
            assert_untrusted(verify(upstream(tagged=cosign2(bad))), refused_at)
            assert_admitted(verify(upstream(tagged=cosign2(bad, good))))
            return
        bundle = dsse_bundle(statement(), rekor_version=2 if form.endswith("2") else 1)
        bad_bundle = copy.deepcopy(bundle)
        bad_bundle["verificationMaterial"]["certificate"]["rawBytes"] = base64_of(broken)
        assert_untrusted(verify(upstream(referrer(bad_bundle))), refused_at)
        assert_admitted(verify(upstream(referrer(bad_bundle), referrer(bundle))))

    def test_self_signed_certificate(self, form: str) -> None:
        reason = "no trusted certificate authority issued its certificate" if form == "cosign 2" else "sigstore refuses"
        refused(form, reason, self_signed=True)

    def test_certificate_of_another_authority(self, form: str) -> None:
        # The logs are those that are trusted.
        key, foreign = new_key(), foreign_sigstore()
        certificate = foreign.fulcio.issue(key, log=sigstore().fulcio.log)
        if form == "cosign 2":
            served = upstream(tagged=cosign2(cosign2_keyless(key=key, certificate=certificate)))
            assert_untrusted(verify(served), "no trusted certificate authority issued its certificate")
            return
        version = 2 if form.endswith("2") else 1
        bundle = dsse_bundle(statement(), key=key, certificate=certificate, rekor_version=version)
        assert_untrusted(verify(upstream(referrer(bundle))), "sigstore refuses it: failed to build", "chain")

    def test_certificate_that_had_expired_when_it_signed(self, form: str) -> None:
        reason = "and not when it signed" if form == "cosign 2" else "sigstore refuses it"
        refused(form, reason, signed_at=NOW - timedelta(minutes=30))

    def test_certificate_that_was_not_valid_yet_when_it_signed(self, form: str) -> None:
        reason = "and not when it signed" if form == "cosign 2" else "sigstore refuses it"
        refused(form, reason, signed_at=NOW - timedelta(hours=2))

    def test_certificate_of_the_future(self, form: str) -> None:
        later = NOW + timedelta(hours=1)
        refused(form, "is not valid before 2026-11-30 13:00 UTC", at=later, signed_at=later)

    def test_certificate_without_a_timestamp_of_a_log(self, form: str) -> None:
        reason = "has 0 timestamps" if form == "cosign 2" else "signed certificate timestamp"
        refused(form, reason, timestamps=0)

    def test_certificate_with_two_timestamps(self, form: str) -> None:
        reason = "has 2 timestamps" if form == "cosign 2" else "Expected one certificate timestamp, found 2"
        refused(form, reason, timestamps=2)

    def test_certificate_in_a_log_that_is_not_trusted(self, form: str) -> None:
        reason = "in no log of certificates that the trust root knows" if form == "cosign 2" else "SCT"
        refused(form, reason, log=CertificateLog())

    def test_certificate_for_servers(self, form: str) -> None:
        reason = "is not for signing code" if form == "cosign 2" else "code signing"
        refused(form, reason, usage=ExtendedKeyUsageOID.SERVER_AUTH)

    def test_authority_that_was_out_of_use_when_it_issued(self, form: str) -> None:
        ended = (
            sigstore()
            .trust_root()
            .replace(b'"2025-11-30T12:00:00Z"', b'"2025-11-30T12:00:00Z", "end": "2026-01-01T00:00:00Z"')
        )
        trust = TrustRoot(ended, "trusted_root.json")
        reason = (
            "no certificate authority that was in use" if form == "cosign 2" else "does not know, or not as of then"
        )
        refused(form, reason, trust=trust)

    def test_identity_where_only_keys_are_trusted(self, form: str) -> None:
        refused(form, "no identity is trusted here, only keys", policy=SignaturePolicy((by_key(),)))


@pytest.mark.parametrize(
    ("pattern", "identity"),
    [
        pytest.param("https://github.com/org/app", "https://githubXcom/org/app", id="dot-is-a-dot"),
        pytest.param("https://github.com/o.*/a", "https://github.com/org/a", id="dot-star-is-no-regex"),
        pytest.param("https://github.com/org/[a-z]+", "https://github.com/org/app", id="brackets"),
        pytest.param("https://github.com/org/a?p", "https://github.com/org/app", id="question-mark"),
        pytest.param("^https://github.com/org/app$", "https://github.com/org/app", id="anchors"),
        pytest.param("https://github.com/org/*", "https://github.com/org/app/x@refs/tags/1", id="star-stops-at-slash"),
        pytest.param("*@example.com", "a@evil.com@example.com", id="star-stops-at-at"),
        pytest.param("*@example.com", "ann@example.com.evil.org", id="suffix"),
        pytest.param(
            "https://github.com/org/app@refs/tags/v*", "https://github.com/org/app@refs/heads/v1", id="branch"
        ),
        pytest.param("https://github.com/org/app", "https://github.com/org/app\n", id="line-break"),
    ],
)
def test_identity_that_a_pattern_does_not_match(pattern: str, identity: str) -> None:
    assert not KeylessSigner(ISSUER, pattern).is_named_by(identity, ISSUER)
    if identity.isprintable():
        refused("cosign 2", "its certificate names", policy=by(pattern), names=[URI(identity)])
