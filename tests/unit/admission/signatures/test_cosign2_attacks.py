"""cosign 2's signatures that are forged, or of something else: each is refused with its reason."""

import base64
import json
from typing import Any

import pytest

from local.artifacts import ArtifactLayer
from pullahead.rules.signature_policy import SignaturePolicy
from tests.sigstore import base64_of, canonical, hashedrekord, new_key, pem_of, public_pem, sign
from tests.unit.admission.signatures.signed_images import (
    IMAGE,
    OTHER,
    SIGNED_AT,
    assert_untrusted,
    by_key,
    cosign2_keyed,
    cosign2_keyless,
    foreign_sigstore,
    payload,
    sigstore,
    verify_cosign2,
)

WITH_KEY = SignaturePolicy((by_key(),))


def annotations(layer: ArtifactLayer) -> dict[str, str]:
    return dict(layer.annotations or {})


def changed(layer: ArtifactLayer, **notes: str) -> ArtifactLayer:
    """Replace some of cosign's annotations."""
    return layer._replace(
        annotations=annotations(layer) | {f"dev.sigstore.cosign/{name}": text for name, text in notes.items()}
    )


def promise_of(layer: ArtifactLayer) -> dict[str, Any]:
    return dict(json.loads(annotations(layer)["dev.sigstore.cosign/bundle"]))


@pytest.mark.parametrize("with_key", [True, False])
class TestPayload:
    def refused(self, content: bytes, with_key: bool, *reasons: str) -> None:
        layer = cosign2_keyed(content) if with_key else cosign2_keyless(content)
        assert_untrusted(verify_cosign2(layer, policy=WITH_KEY if with_key else None), *reasons)

    def test_signature_of_another_digest(self, with_key: bool) -> None:
        self.refused(payload(OTHER.digest), with_key, f"it is of {OTHER.digest}, not of this image")

    def test_signature_of_another_repository(self, with_key: bool) -> None:
        self.refused(
            payload(repository="ghcr.io/org/other"), with_key, "an image of ghcr.io/org/other, not of ghcr.io/org/app"
        )

    def test_signature_of_another_registry(self, with_key: bool) -> None:
        self.refused(payload(repository="evil.example/org/app"), with_key, "an image of evil.example/org/app")

    def test_signature_of_no_repository(self, with_key: bool) -> None:
        self.refused(payload(identity={"docker-reference": ""}), with_key, "not of ghcr.io/org/app")

    def test_signature_of_something_else_than_an_image(self, with_key: bool) -> None:
        self.refused(payload(type="cosign blob signature"), with_key, "is no signature of an image")

    def test_duplicate_key(self, with_key: bool) -> None:
        image = f'"image": {{"docker-manifest-digest": "{OTHER.digest}"}}'
        content = payload().replace(b'"critical": {', f'"critical": {{{image}, '.encode())
        self.refused(content, with_key, "its payload has the same key twice")

    def test_duplicate_key_in_other_letters(self, with_key: bool) -> None:
        content = payload().replace(b'"critical": {', b'"Critical": {}, "critical": {')
        self.refused(content, with_key, "its payload has the same key twice")

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"critical": 1}', b'{"critical": {}}'])
    def test_payload_that_is_none(self, with_key: bool, content: bytes) -> None:
        self.refused(content, with_key, "its payload")


# --- With a key -------------------------------------------------------------------------------------------------------


def test_signature_with_another_key() -> None:
    assert_untrusted(
        verify_cosign2(cosign2_keyed(key=new_key()), policy=WITH_KEY), "not signed with the key cosign.pub"
    )


def test_signature_of_another_payload() -> None:
    layer = cosign2_keyed()._replace(annotations=annotations(cosign2_keyed(payload(OTHER.digest))))
    assert_untrusted(verify_cosign2(layer, policy=WITH_KEY), "not signed with the key cosign.pub")


@pytest.mark.parametrize("signature", ["", "AAAA", "!", "MEUC"])
def test_signature_that_is_none(signature: str) -> None:
    layer = cosign2_keyed()._replace(annotations={"dev.cosignproject.cosign/signature": signature})
    assert_untrusted(verify_cosign2(layer, policy=WITH_KEY), "sign")


def test_certificate_of_anybody_beside_a_signature_with_the_key() -> None:
    # It says that it was made without a key: then it must be.
    layer = changed(cosign2_keyed(), certificate=pem_of(foreign_sigstore().fulcio.issue(new_key())))
    assert_untrusted(verify_cosign2(layer, policy=WITH_KEY), "no identity is trusted here")


# --- Without a key ----------------------------------------------------------------------------------------------------


def test_two_certificates() -> None:
    layer = cosign2_keyless()
    own = annotations(layer)["dev.sigstore.cosign/certificate"]
    other = pem_of(foreign_sigstore().fulcio.issue(new_key()))
    for both in (own + other, other + own):
        assert_untrusted(verify_cosign2(changed(layer, certificate=both)), "it names 2 certificates at once")


def test_chain_of_annotations_is_not_believed() -> None:
    foreign, key = foreign_sigstore().fulcio, new_key()
    certificate = foreign.issue(key, log=sigstore().fulcio.log)
    layer = cosign2_keyless(key=key, certificate=certificate, chain=pem_of(foreign.intermediate) + pem_of(foreign.root))
    assert_untrusted(verify_cosign2(layer), "no trusted certificate authority issued its certificate")


def test_promise_is_missing() -> None:
    assert_untrusted(verify_cosign2(changed(cosign2_keyless(), bundle="")), "Rekor's promise is missing")


def test_promise_over_another_body() -> None:
    layer = cosign2_keyless()
    promise = promise_of(layer)
    promise["Payload"]["body"] = base64_of(canonical({"kind": "hashedrekord"}))
    assert_untrusted(verify_cosign2(changed(layer, bundle=json.dumps(promise))), "Rekor did not sign this promise")


def test_promise_at_another_time() -> None:
    layer = cosign2_keyless()
    promise = promise_of(layer)
    promise["Payload"]["integratedTime"] += 1
    assert_untrusted(verify_cosign2(changed(layer, bundle=json.dumps(promise))), "Rekor did not sign this promise")


def test_promise_of_another_signature_of_the_same_payload() -> None:
    layer, other = cosign2_keyless(), cosign2_keyless()
    bundle = annotations(other)["dev.sigstore.cosign/bundle"]
    assert_untrusted(verify_cosign2(changed(layer, bundle=bundle)), "its log entry is of another signature")


def test_promise_of_a_signature_of_another_payload() -> None:
    key = new_key()
    certificate = sigstore().fulcio.issue(key)
    other = payload(OTHER.digest)
    logged = hashedrekord(other, sign(key, other), certificate)
    layer = cosign2_keyless(key=key, certificate=certificate, logged=logged)
    assert_untrusted(verify_cosign2(layer), "its log entry is of another payload")


def test_promise_of_another_certificate() -> None:
    key, layer = new_key(), cosign2_keyless()
    signature = base64.b64decode(annotations(layer)["dev.cosignproject.cosign/signature"])
    logged = hashedrekord(layer.content, signature, sigstore().fulcio.issue(key))
    bundle = sigstore().rekor.cosign2(logged, SIGNED_AT)
    assert_untrusted(verify_cosign2(changed(layer, bundle=bundle)), "its log entry is of another certificate")


def test_promise_of_an_entry_of_another_kind() -> None:
    layer = cosign2_keyless(logged=canonical({"kind": "rekord", "apiVersion": "0.0.1"}))
    assert_untrusted(verify_cosign2(layer), "its log entry is of another kind, rekord 0.0.1")


def test_promise_of_another_log() -> None:
    layer = cosign2_keyless()
    promise = promise_of(layer)
    body = promise["Payload"]["body"]
    bundle = foreign_sigstore().rekor.cosign2(base64.b64decode(body), SIGNED_AT)
    assert_untrusted(
        verify_cosign2(changed(layer, bundle=bundle)), "a transparency log that the trust root does not know"
    )


def test_promise_of_another_log_that_is_said_to_be_of_a_trusted_one() -> None:
    layer = cosign2_keyless()
    body = base64.b64decode(promise_of(layer)["Payload"]["body"])
    promise = json.loads(foreign_sigstore().rekor.cosign2(body, SIGNED_AT))
    promise["Payload"]["logID"] = sigstore().rekor.id.hex()
    assert_untrusted(verify_cosign2(changed(layer, bundle=json.dumps(promise))), "Rekor did not sign this promise")


def test_duplicate_key_in_a_promise() -> None:
    layer = cosign2_keyless()
    bundle = annotations(layer)["dev.sigstore.cosign/bundle"]
    for extra in ('"Payload": {}', '"payload": {}'):
        doubled = f"{bundle[:-1]}, {extra}}}"
        assert_untrusted(verify_cosign2(changed(layer, bundle=doubled)), "Rekor's promise has the same key twice")


@pytest.mark.parametrize("time", [-1, 2**40, 1.5, "1", True])
def test_promise_at_an_impossible_time(time: Any) -> None:
    layer = cosign2_keyless()
    promise = promise_of(layer)
    promise["Payload"]["integratedTime"] = time
    assert_untrusted(verify_cosign2(changed(layer, bundle=json.dumps(promise))), "Rekor's promise")


def test_signature_that_is_not_of_the_certificates_key() -> None:
    layer = cosign2_keyless(certificate=sigstore().fulcio.issue(new_key()))
    assert_untrusted(verify_cosign2(layer), "is not of its payload by its certificate's key")


def test_certificate_with_the_key_of_the_company_in_place_of_an_identity() -> None:
    pem = public_pem(new_key())
    assert_untrusted(verify_cosign2(changed(cosign2_keyless(), certificate=pem)), "its certificate cannot be read")


def test_annotation_that_is_enormous() -> None:
    layer = changed(cosign2_keyless(), chain="x" * 300_000)
    assert_untrusted(verify_cosign2(layer), "an annotation of more than")


def test_image_of_the_tag_is_none_of_ours() -> None:
    assert IMAGE.digest != OTHER.digest
    layers = [cosign2_keyless(payload(OTHER.digest)), cosign2_keyless(payload(repository="ghcr.io/org/other"))]
    assert_untrusted(verify_cosign2(*layers), "not of this image", "not of ghcr.io/org/app")
