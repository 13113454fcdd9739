"""Attestations that say something else, or that somebody else makes: each is refused with its reason."""

import json
from typing import Any

import pytest
from cryptography import x509

from local.artifacts import ArtifactLayer
from pullahead.admission.signatures.verdict import Outcome, SignatureVerdict
from pullahead.rules.signature_policy import AttestationDemand, KeylessSigner, SignaturePolicy
from tests.sigstore import ISSUER, SIGN, SLSA, dsse_entry, hashedrekord, intoto_entry, new_key
from tests.unit.admission.signatures.provenance import BUILDER, SLSA_V02, SOURCE, slsa, slsa_v02
from tests.unit.admission.signatures.signed_images import (
    BY_RELEASE,
    OTHER,
    assert_untrusted,
    by_key,
    cosign2,
    cosign2_attestation,
    cosign2_keyed_attestation,
    cosign2_keyless,
    dsse_bundle,
    message_bundle,
    referrer,
    sigstore,
    statement,
    upstream,
    verify,
    verify_bundles,
)

DEMAND = AttestationDemand(SLSA, BUILDER, SOURCE)


def attested(predicate: Any, kind: str = SLSA, demand: AttestationDemand = DEMAND) -> SignatureVerdict:
    bundle = dsse_bundle(statement(predicate_type=kind, predicate=predicate))
    return verify_bundles(bundle, policy=SignaturePolicy((BY_RELEASE,), (demand,)))


def test_signature_is_no_attestation() -> None:
    policy = SignaturePolicy((BY_RELEASE,), (DEMAND,))
    served = upstream(referrer(dsse_bundle(statement())), referrer(message_bundle()), tagged=cosign2(cosign2_keyless()))
    verdict = verify(served, policy)
    assert verdict.outcome is Outcome.UNSIGNED
    assert f"there is no attestation {SLSA}" in verdict.reason


def test_attestation_is_no_signature() -> None:
    bundle = dsse_bundle(statement(predicate_type="https://cosign.sigstore.dev/attestation/vuln/v1"))
    assert verify_bundles(bundle).outcome is Outcome.UNSIGNED


def test_wrong_predicate() -> None:
    assert attested(slsa(), kind="https://slsa.dev/provenance/v1.evil").outcome is Outcome.UNSIGNED


def test_predicate_that_the_listing_alone_names() -> None:
    names = {"dev.sigstore.bundle.predicateType": SLSA}
    served = upstream(referrer(dsse_bundle(statement(predicate_type=SIGN, predicate=slsa())), annotations=names))
    assert verify(served, SignaturePolicy((BY_RELEASE,), (DEMAND,))).outcome is Outcome.UNSIGNED


def test_attestation_of_another_digest() -> None:
    bundle = dsse_bundle(statement(OTHER.digest, SLSA, slsa()))
    verdict = verify_bundles(bundle, policy=SignaturePolicy((BY_RELEASE,), (DEMAND,)))
    assert_untrusted(verdict, f"it is of {OTHER.digest}, not of this image")


@pytest.mark.parametrize(
    "builder", [f"{BUILDER}/evil", f"https://evil.example/{BUILDER}", BUILDER.upper(), f"{BUILDER} ", ""]
)
def test_builder_is_spoofed(builder: str) -> None:
    assert_untrusted(attested(slsa(builder=builder)), "builder")


def test_builder_stands_where_the_other_version_has_it() -> None:
    predicate = slsa("https://evil.example") | {"builder": {"id": BUILDER}}
    assert_untrusted(attested(predicate), "its builder is https://evil.example, not")


def test_builder_of_version_0_2_stands_where_version_1_has_it() -> None:
    predicate = slsa_v02("https://evil.example") | {"runDetails": {"builder": {"id": BUILDER}}}
    verdict = attested(predicate, SLSA_V02, AttestationDemand(SLSA_V02, BUILDER))
    assert_untrusted(verdict, "its builder is https://evil.example, not")


@pytest.mark.parametrize(
    "predicate", [None, [], "x", {"runDetails": []}, {"runDetails": {"builder": {"id": [BUILDER]}}}]
)
def test_no_builder(predicate: Any) -> None:
    assert_untrusted(attested(predicate), "it names no builder at runDetails.builder.id")


def test_builder_of_an_attestation_that_has_none() -> None:
    kind = "https://cosign.sigstore.dev/attestation/vuln/v1"
    verdict = attested({"builder": {"id": BUILDER}}, kind, AttestationDemand(kind, BUILDER))
    assert_untrusted(verdict, "names no builder that could be compared")


@pytest.mark.parametrize(
    "source",
    [
        "https://github.com/org/app-evil",
        "https://github.com/evil/app",
        "https://github.com@evil.example/org/app",
        "https://evil.example/https://github.com/org/app",
        "http://github.com/org/app",
        "https://github.com/org/app?x=1",
    ],
)
def test_source_of_somebody_else(source: str) -> None:
    assert_untrusted(attested(slsa(source=source)), "its source is", f"not {SOURCE}")


def test_sources_that_contradict_each_other() -> None:
    predicate = slsa()
    predicate["buildDefinition"]["resolvedDependencies"][0]["uri"] = "git+https://github.com/evil/app@refs/heads/main"
    assert_untrusted(attested(predicate), "its source is https://github.com/evil/app, not")


def test_trusted_source_as_a_later_dependency() -> None:
    predicate = slsa(source="https://github.com/evil/app")
    predicate["buildDefinition"]["resolvedDependencies"].append({"uri": f"git+{SOURCE}@refs/heads/main"})
    assert_untrusted(attested(predicate), "its source is https://github.com/evil/app, not")


def test_no_source() -> None:
    predicate = slsa()
    del predicate["buildDefinition"]
    assert_untrusted(attested(predicate), "it names no source")


def test_attestation_by_a_signer_of_signatures_where_another_one_is_demanded() -> None:
    generator = KeylessSigner(ISSUER, "https://github.com/slsa/generator.yml@refs/tags/v2")
    verdict = attested(slsa(), demand=DEMAND._replace(signers=(generator,)))
    assert_untrusted(verdict, "who may not attest")


def test_attestation_by_the_signer_of_another_attestation() -> None:
    generator = "https://github.com/slsa/generator.yml@refs/tags/v2"
    scan = AttestationDemand("https://cosign.sigstore.dev/attestation/vuln/v1")
    policy = SignaturePolicy((BY_RELEASE,), (DEMAND._replace(signers=(KeylessSigner(ISSUER, generator),)), scan))
    key = new_key()
    certificate = sigstore().fulcio.issue(key, names=[x509.UniformResourceIdentifier(generator)])
    bundle = dsse_bundle(statement(predicate_type=scan.predicate_type), key=key, certificate=certificate)
    assert_untrusted(verify_bundles(bundle, policy=policy), f"who may not attest {scan.predicate_type}")


def test_one_of_two_attestations_is_missing() -> None:
    scan = AttestationDemand("https://cosign.sigstore.dev/attestation/vuln/v1")
    bundle = dsse_bundle(statement(predicate_type=SLSA, predicate=slsa()))
    verdict = verify_bundles(bundle, policy=SignaturePolicy((BY_RELEASE,), (DEMAND, scan)))
    assert verdict.outcome is Outcome.UNSIGNED
    assert verdict.reason.startswith(f"there is no attestation {scan.predicate_type}")


# --- cosign 2 ---------------------------------------------------------------------------------------------------------


SAID = statement(predicate_type=SLSA, predicate=slsa())


def of_cosign2(layer: ArtifactLayer, policy: SignaturePolicy | None = None, suffix: str = ".att") -> SignatureVerdict:
    served = upstream(tagged=cosign2(layer), suffix=suffix)
    return verify(served, policy or SignaturePolicy((BY_RELEASE,), (DEMAND,)))


def test_what_the_attacks_on_cosign_2_begin_with_is_admitted() -> None:
    assert of_cosign2(cosign2_attestation(SAID)).is_admitted


def test_attestation_of_cosign_2_of_another_digest() -> None:
    layer = cosign2_attestation(statement(OTHER.digest, SLSA, slsa()))
    assert_untrusted(of_cosign2(layer), f"it is of {OTHER.digest}, not of this image")


@pytest.mark.parametrize("entry", [intoto_entry, dsse_entry])
class TestLogEntry:
    def test_of_another_payload(self, entry: Any) -> None:
        layer = cosign2_attestation(SAID, entry=entry, logged=b"another payload")
        assert_untrusted(of_cosign2(layer), "its log entry is of another payload")

    def test_of_another_signature(self, entry: Any) -> None:
        layer, other = (cosign2_attestation(SAID, entry=entry) for _ in range(2))
        bundle = (other.annotations or {})["dev.sigstore.cosign/bundle"]
        layer = layer._replace(annotations=dict(layer.annotations or {}) | {"dev.sigstore.cosign/bundle": bundle})
        assert_untrusted(of_cosign2(layer), "its log entry is of another signature")

    def test_of_another_certificate(self, entry: Any) -> None:
        other = sigstore().fulcio.issue(new_key())
        layer = cosign2_attestation(SAID, entry=lambda payload, signature, _: entry(payload, signature, other))
        assert_untrusted(of_cosign2(layer), "its log entry is of another certificate")

    def test_is_missing(self, entry: Any) -> None:
        assert_untrusted(of_cosign2(cosign2_attestation(SAID, entry=entry, bundle="")), "Rekor's promise is missing")


def test_log_entry_of_a_signature_for_an_attestation() -> None:
    layer = cosign2_attestation(SAID, entry=hashedrekord)
    assert_untrusted(of_cosign2(layer), "its log entry is of another kind, hashedrekord 0.0.1")


def test_log_entry_with_two_signatures() -> None:
    def entry(payload: bytes, signature: bytes, certificate: x509.Certificate) -> bytes:
        body = json.loads(dsse_entry(payload, signature, certificate))
        body["spec"]["signatures"] *= 2
        return json.dumps(body).encode()

    assert_untrusted(of_cosign2(cosign2_attestation(SAID, entry=entry)), "its log entry")


def test_attestation_of_cosign_2_by_somebody_else() -> None:
    key = new_key()
    evil = x509.UniformResourceIdentifier("https://github.com/evil/app/.github/workflows/release.yml@refs/tags/v1.2.3")
    layer = cosign2_attestation(SAID, key=key, certificate=sigstore().fulcio.issue(key, names=[evil]))
    assert_untrusted(of_cosign2(layer), "its certificate names https://github.com/evil/app")


def test_attestation_of_cosign_2_with_another_key() -> None:
    policy = SignaturePolicy((by_key(),), (DEMAND,))
    assert of_cosign2(cosign2_keyed_attestation(SAID), policy).is_admitted
    assert_untrusted(of_cosign2(cosign2_keyed_attestation(SAID, new_key()), policy), "not signed with the key")


def test_attestation_under_the_tag_of_signatures() -> None:
    assert of_cosign2(cosign2_attestation(SAID), suffix=".sig").outcome is Outcome.UNSIGNED
    assert of_cosign2(cosign2_attestation(SAID), SignaturePolicy((BY_RELEASE,)), ".sig").outcome is Outcome.UNSIGNED


def test_predicate_that_the_annotation_alone_names() -> None:
    layer = cosign2_attestation(statement(predicate_type="https://spdx.dev/Document"))
    layer = layer._replace(annotations=dict(layer.annotations or {}) | {"predicateType": SLSA})
    assert of_cosign2(layer).outcome is Outcome.UNSIGNED


@pytest.mark.parametrize("content", [b"", b"[]", b'{"payloadType": 1}', b'{"payload": "", "payload": ""}'])
def test_envelope_that_is_none(content: bytes) -> None:
    assert_untrusted(of_cosign2(cosign2_attestation(SAID)._replace(content=content)), "envelope")


def test_envelope_of_cosign_2_with_two_signatures() -> None:
    layer = cosign2_attestation(SAID)
    envelope = json.loads(layer.content)
    envelope["signatures"] *= 2
    assert_untrusted(of_cosign2(layer._replace(content=json.dumps(envelope).encode())), "has 2 signatures")
