"""Signatures and attestations that prove what is demanded."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from local.artifacts import ArtifactLayer, make_artifact, sbom
from pullahead.admission.signatures.cosign2 import SIGNATURES, SIMPLE_SIGNING
from pullahead.oci import parse_reference
from pullahead.rules.signature_policy import AttestationDemand, KeylessSigner, KeySigner, SignaturePolicy
from tests.sigstore import BUNDLE, IDENTITY, ISSUER, NOW, SLSA, base64_of, dsse_entry, intoto_entry, new_key
from tests.unit.admission.signatures.provenance import BUILDER, SLSA_V02, SOURCE, slsa, slsa_v02
from tests.unit.admission.signatures.signed_images import (
    BY_RELEASE,
    IMAGE,
    INDEX,
    OTHER,
    SIGNED_AT,
    assert_admitted,
    by_key,
    cosign2,
    cosign2_attestation,
    cosign2_keyed,
    cosign2_keyed_attestation,
    cosign2_keyless,
    dsse_bundle,
    keyed_bundle,
    message_bundle,
    payload,
    referrer,
    sigstore,
    statement,
    upstream,
    verify,
    verify_bundles,
    verify_cosign2,
)

WITH_KEY = SignaturePolicy((by_key(),))
PROVENANCE = AttestationDemand(SLSA, BUILDER, SOURCE)


def by(identity: str, issuer: str = ISSUER) -> SignaturePolicy:
    return SignaturePolicy((KeylessSigner(issuer, identity),))


@pytest.mark.parametrize("rekor_version", [1, 2])
def test_cosign_3_signature_without_a_key(rekor_version: int) -> None:
    bundle = dsse_bundle(statement(), rekor_version=rekor_version)
    assert_admitted(verify_bundles(bundle), f"signed by {IDENTITY} (issuer {ISSUER})")


def test_signature_with_a_promise_of_the_log_and_a_timestamp() -> None:
    """As cosign 3 writes it by Sigstore's public service."""
    bundle = dsse_bundle(statement())
    signature = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    stamps = [{"signedTimestamp": base64_of(sigstore().tsa.stamp(signature, SIGNED_AT))}]
    bundle["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    assert_admitted(verify_bundles(bundle))


@pytest.mark.parametrize("rekor_version", [1, 2])
def test_signature_of_the_bytes_of_the_manifest(rekor_version: int) -> None:
    assert_admitted(verify_bundles(message_bundle(rekor_version=rekor_version)), "signed by")


def test_version_0_3_as_it_was_written_first() -> None:
    bundle = dsse_bundle(statement()) | {"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.3"}
    assert_admitted(verify_bundles(bundle))


def test_statement_of_version_0_1() -> None:
    assert_admitted(verify_bundles(dsse_bundle(statement(_type="https://in-toto.io/Statement/v0.1"))))


def test_signature_of_an_index() -> None:
    served = upstream(referrer(dsse_bundle(statement(INDEX.digest)), INDEX), image=INDEX)
    assert_admitted(verify(served, image=INDEX))


def test_person_who_is_named_by_an_address_of_mail() -> None:
    key = new_key()
    certificate = sigstore().fulcio.issue(
        key, names=[x509.RFC822Name("ann@example.com")], issuer="https://accounts.google.com"
    )
    bundle = dsse_bundle(statement(), key=key, certificate=certificate)
    assert_admitted(verify_bundles(bundle, policy=by("ann@example.com", "https://accounts.google.com")))


def test_certificate_with_the_issuer_in_both_forms() -> None:
    key = new_key()
    certificate = sigstore().fulcio.issue(key, old_issuer=ISSUER)
    assert_admitted(verify_bundles(dsse_bundle(statement(), key=key, certificate=certificate)))


def test_certificate_with_the_issuer_in_the_old_form_alone() -> None:
    key = new_key()
    certificate = sigstore().fulcio.issue(key, issuer=None, old_issuer=ISSUER)
    assert_admitted(verify_bundles(dsse_bundle(statement(), key=key, certificate=certificate)))


def test_identity_by_pattern() -> None:
    assert_admitted(verify_bundles(dsse_bundle(statement()), policy=by(IDENTITY.replace("v1.2.3", "v1.*"))))


def test_second_of_two_signers_that_are_trusted() -> None:
    policy = SignaturePolicy((KeylessSigner(ISSUER, "https://github.com/org/app/a.yml@refs/heads/main"), BY_RELEASE))
    assert_admitted(verify_bundles(dsse_bundle(statement()), policy=policy))


def test_good_signature_beside_bad_ones() -> None:
    bundles = (b"{", dsse_bundle(statement(OTHER.digest)), keyed_bundle(statement()), dsse_bundle(statement()))
    assert_admitted(verify_bundles(*bundles))


def test_signature_of_when_an_authority_was_in_use_that_is_not_any_more() -> None:
    assert_admitted(verify(upstream(referrer(dsse_bundle(statement()))), now=NOW + timedelta(days=20 * 365)))


def test_artifact_type_that_stands_in_the_config_alone() -> None:
    content = referrer(dsse_bundle(statement()))
    (bundle,) = (blob for blob in content.blobs.values() if blob != b"{}")
    assert isinstance(bundle, bytes)
    made = make_artifact(IMAGE.root.descriptor, [ArtifactLayer(BUNDLE, bundle)], config=ArtifactLayer(BUNDLE, b"{}"))
    assert_admitted(verify(upstream(made)))


def test_first_proof_ends_the_search() -> None:
    served = upstream(*(referrer(dsse_bundle(statement())) for _ in range(5)), tagged=cosign2(cosign2_keyless()))
    assert_admitted(verify(served))
    assert served.gets == 2
    assert served.script.count("find_manifest") == 0


def test_sbom_beside_a_signature_is_not_read() -> None:
    served = upstream(sbom(IMAGE.root.descriptor, content=b"x" * 1000), referrer(dsse_bundle(statement())))
    assert_admitted(verify(served))
    assert served.script.count("open_blob") == 1


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_cosign_3_signature_with_a_key() -> None:
    assert_admitted(verify_bundles(keyed_bundle(statement()), policy=WITH_KEY), "signed by the key cosign.pub")


def test_key_that_replaces_another_one() -> None:
    policy = SignaturePolicy((by_key(new_key()), by_key()))
    assert_admitted(verify_bundles(keyed_bundle(statement()), policy=policy))


def test_cosign_2_signature_with_a_key() -> None:
    assert_admitted(verify_cosign2(cosign2_keyed(), policy=WITH_KEY), "signed by the key cosign.pub")


def test_cosign_2_signature_as_a_referrer() -> None:
    made = make_artifact(IMAGE.root.descriptor, [cosign2_keyed()], artifact_type=SIGNATURES.artifact_type)
    assert_admitted(verify(upstream(made), WITH_KEY))


def test_second_signature_of_a_tag() -> None:
    assert_admitted(verify_cosign2(cosign2_keyed(key=new_key()), cosign2_keyed(), policy=WITH_KEY), "signed by")


def test_image_that_was_signed_elsewhere_if_the_policy_says_so() -> None:
    elsewhere = parse_reference("registry.example/org/app", default_tag=None).repository
    signature = cosign2_keyed(payload(repository="registry.example/org/app:1"))
    policy = SignaturePolicy((by_key(),), signed_as=(elsewhere,))
    assert_admitted(verify_cosign2(signature, policy=policy))


_ED25519 = ed25519.Ed25519PrivateKey.generate()
_RSA = rsa.generate_private_key(65537, 2048)
_P384 = ec.generate_private_key(ec.SECP384R1())


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        (_ED25519, _ED25519.sign(payload())),
        (_RSA, _RSA.sign(payload(), padding.PKCS1v15(), hashes.SHA256())),
        (_P384, _P384.sign(payload(), ec.ECDSA(hashes.SHA256()))),
        (_P384, _P384.sign(payload(), ec.ECDSA(hashes.SHA384()))),
    ],
    ids=["ed25519", "rsa", "p384-sha256", "p384-sha384"],
)
def test_keys_of_other_kinds(key: Any, signature: bytes) -> None:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    layer = ArtifactLayer(SIMPLE_SIGNING, payload(), {"dev.cosignproject.cosign/signature": base64_of(signature)})
    assert_admitted(verify_cosign2(layer, policy=SignaturePolicy((KeySigner(pem, "k"),))))


# --- cosign 2, without a key ------------------------------------------------------------------------------------------


def test_cosign_2_signature_without_a_key() -> None:
    assert_admitted(verify_cosign2(cosign2_keyless()), f"signed by {IDENTITY} (issuer {ISSUER}) on 2026-11-30 11:01")


def test_cosign_2_signature_beside_a_bundle_of_another_signer() -> None:
    served = upstream(referrer(keyed_bundle(statement())), tagged=cosign2(cosign2_keyless()))
    assert_admitted(verify(served))


# --- Attestations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rekor_version", [1, 2])
def test_provenance_with_builder_and_source(rekor_version: int) -> None:
    bundle = dsse_bundle(statement(predicate_type=SLSA, predicate=slsa()), rekor_version=rekor_version)
    policy = SignaturePolicy((BY_RELEASE,), (PROVENANCE,))
    assert_admitted(verify_bundles(bundle, policy=policy), SLSA, f"built by {BUILDER} from {SOURCE}")


def test_provenance_of_version_0_2() -> None:
    bundle = dsse_bundle(statement(predicate_type=SLSA_V02, predicate=slsa_v02()))
    policy = SignaturePolicy((BY_RELEASE,), (AttestationDemand(SLSA_V02, BUILDER, "github.com/org/app"),))
    assert_admitted(verify_bundles(bundle, policy=policy), f"built by {BUILDER} from {SOURCE}")


def test_attestation_with_a_key() -> None:
    bundle = keyed_bundle(statement(predicate_type=SLSA, predicate=slsa()))
    assert_admitted(verify_bundles(bundle, policy=SignaturePolicy((by_key(),), (PROVENANCE,))))


@pytest.mark.parametrize("entry", [intoto_entry, dsse_entry])
def test_attestation_of_cosign_2_without_a_key(entry: Any) -> None:
    layer = cosign2_attestation(statement(predicate_type=SLSA, predicate=slsa()), entry=entry)
    served = upstream(tagged=cosign2(layer), suffix=".att")
    verdict = verify(served, SignaturePolicy((BY_RELEASE,), (PROVENANCE,)))
    assert_admitted(verdict, f"{SLSA} by {IDENTITY}", "on 2026-11-30 11:01 UTC", f"from {SOURCE}")


def test_attestation_of_cosign_2_with_a_key_beside_an_sbom() -> None:
    layers = [
        cosign2_keyed_attestation(statement(predicate_type="https://spdx.dev/Document", predicate={"x": "y" * 1000})),
        cosign2_keyed_attestation(statement(predicate_type=SLSA, predicate=slsa())),
    ]
    served = upstream(tagged=cosign2(*layers), suffix=".att")
    assert_admitted(verify(served, SignaturePolicy((by_key(),), (PROVENANCE,))), "the key cosign.pub")
    assert served.script.count("open_blob") == 1


def test_attestation_of_several_subjects() -> None:
    subjects = [{"name": str(each), "digest": {"sha256": f"{each:064x}"}} for each in range(20)]
    said = statement(predicate_type=SLSA, predicate=slsa())
    said["subject"] = [*subjects, *said["subject"]]
    assert_admitted(verify_bundles(dsse_bundle(said), policy=SignaturePolicy((BY_RELEASE,), (PROVENANCE,))))


def test_two_attestations_that_are_both_demanded() -> None:
    scan = AttestationDemand("https://cosign.sigstore.dev/attestation/vuln/v1")
    bundles = (
        dsse_bundle(statement(predicate_type=scan.predicate_type)),
        dsse_bundle(statement(predicate_type=SLSA, predicate=slsa())),
    )
    policy = SignaturePolicy((BY_RELEASE,), (PROVENANCE, scan))
    assert_admitted(verify_bundles(*bundles, policy=policy), SLSA, scan.predicate_type)


def test_attestation_by_a_signer_of_its_own() -> None:
    generator = "https://github.com/slsa-framework/generator/.github/workflows/container.yml@refs/tags/v2.1.0"
    key = new_key()
    certificate = sigstore().fulcio.issue(key, names=[x509.UniformResourceIdentifier(generator)])
    bundle = dsse_bundle(statement(predicate_type=SLSA, predicate=slsa()), key=key, certificate=certificate)
    demand = PROVENANCE._replace(signers=(KeylessSigner(ISSUER, generator),))
    assert_admitted(verify_bundles(bundle, policy=SignaturePolicy((BY_RELEASE,), (demand,))), generator)


def test_bundle_that_is_listed_with_another_predicate_is_not_read() -> None:
    names = {"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document/v2.3"}
    other = referrer(
        dsse_bundle(statement(predicate_type=names["dev.sigstore.bundle.predicateType"])), annotations=names
    )
    served = upstream(other, referrer(dsse_bundle(statement())))
    assert_admitted(verify(served))
    assert served.script.count("open_blob") == 1
