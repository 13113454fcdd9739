"""Bundles that are forged, or that two readers would read differently: each is refused with its reason."""

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from pullahead.admission.signatures.verdict import Outcome
from pullahead.rules.signature_policy import SignaturePolicy
from tests.sigstore import IN_TOTO, base64_of, der_of, new_key
from tests.unit.admission.signatures.signed_images import (
    IMAGE,
    INDEX,
    OTHER,
    SIGNED_AT,
    assert_untrusted,
    by_key,
    dsse_bundle,
    foreign_sigstore,
    keyed_bundle,
    message_bundle,
    referrer,
    sigstore,
    statement,
    upstream,
    verify,
    verify_bundles,
)

WITH_KEY = SignaturePolicy((by_key(),))
OTHER_HEX = OTHER.digest.partition(":")[2]


def changed(bundle: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return a bundle after a change."""
    bundle = copy.deepcopy(bundle)
    change(bundle)
    return bundle


def entry_of(bundle: dict[str, Any]) -> dict[str, Any]:
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    return dict(entry)


def with_entry(bundle: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    material = bundle["verificationMaterial"] | {"tlogEntries": [entry]}
    return bundle | {"verificationMaterial": material}


# --- What is signed ---------------------------------------------------------------------------------------------------


def test_signature_of_another_digest() -> None:
    assert_untrusted(
        verify_bundles(dsse_bundle(statement(OTHER.digest))), f"it is of {OTHER.digest}, not of this image"
    )


def test_signature_of_the_bytes_of_another_manifest() -> None:
    assert_untrusted(verify_bundles(message_bundle(OTHER.root.content)), "message digest mismatch")


def test_signature_of_the_bytes_of_another_manifest_that_names_this_digest() -> None:
    this = message_bundle()["messageSignature"]["messageDigest"]
    bundle = changed(message_bundle(OTHER.root.content), lambda it: it["messageSignature"].update(messageDigest=this))
    assert_untrusted(verify_bundles(bundle), "Signature is invalid for input")


def test_statement_that_was_changed_after_it_was_signed() -> None:
    signed = json.dumps(statement(OTHER.digest)).encode()
    assert_untrusted(verify_bundles(dsse_bundle(statement(), signed=signed)), "DSSE: invalid signature")


def test_statement_of_a_key_that_was_changed_after_it_was_signed() -> None:
    forged = keyed_bundle(statement(OTHER.digest))
    forged["dsseEnvelope"]["payload"] = base64_of(json.dumps(statement()).encode())
    assert_untrusted(verify_bundles(forged, policy=WITH_KEY), "it is not signed with the key cosign.pub")


def test_signature_with_another_key() -> None:
    bundle = keyed_bundle(statement(), new_key())
    assert_untrusted(verify_bundles(bundle, policy=WITH_KEY), "it is not signed with the key cosign.pub")


def test_hint_of_the_trusted_key_on_a_signature_with_another_one() -> None:
    bundle = keyed_bundle(statement(), new_key(), hint="cosign.pub")
    assert_untrusted(verify_bundles(bundle, policy=WITH_KEY), "it is not signed with the key cosign.pub")


def test_key_where_only_identities_are_trusted() -> None:
    assert_untrusted(verify_bundles(keyed_bundle(statement())), "no key is trusted here")


def test_signature_of_many_digests_at_once() -> None:
    said = statement()
    said["subject"] += [{"name": "", "digest": {"sha256": OTHER_HEX}}]
    assert_untrusted(verify_bundles(dsse_bundle(said)), "it signs 2 subjects at once")


def test_subject_list_with_many_digests() -> None:
    said = statement()
    said["subject"] = [{"digest": {"sha256": f"{each:064x}"}} for each in range(2000)] + said["subject"]
    assert_untrusted(verify_bundles(dsse_bundle(said)), "names 2001 subjects; the limit is 1024")


def test_digest_under_the_name_of_another_algorithm() -> None:
    said = statement(subject=[{"digest": {"sha512": IMAGE.digest.partition(":")[2], "sha256": OTHER_HEX}}])
    assert_untrusted(verify_bundles(dsse_bundle(said)), f"it is of {OTHER.digest}")


def test_digest_as_the_name_of_a_subject() -> None:
    said = statement(subject=[{"name": IMAGE.digest, "digest": {"sha256": OTHER_HEX}}])
    assert_untrusted(verify_bundles(dsse_bundle(said)), f"it is of {OTHER.digest}")


def test_digest_that_is_a_list() -> None:
    said = statement(subject=[{"digest": {"sha256": [IMAGE.digest.partition(":")[2], OTHER_HEX]}}])
    assert_untrusted(verify_bundles(dsse_bundle(said)), "a digest that is no text")


@pytest.mark.parametrize("subject", [None, [], {}, [[]], [{}], [{"digest": None}]])
def test_statement_without_a_subject(subject: Any) -> None:
    assert_untrusted(verify_bundles(dsse_bundle(statement(subject=subject))), "its statement")


def test_payload_that_is_no_statement() -> None:
    bundle = dsse_bundle(statement(), payload_type="application/vnd.docker.distribution.manifest.v2+json")
    assert_untrusted(verify_bundles(bundle), "its payload is of type", "and no in-toto statement")


def test_payload_of_another_type_that_is_said_to_be_a_statement() -> None:
    bundle = dsse_bundle(statement(), payload_type="text/plain")
    bundle["dsseEnvelope"]["payloadType"] = IN_TOTO
    assert_untrusted(verify_bundles(bundle), "DSSE: invalid signature")


def test_manifest_that_was_signed_as_a_payload() -> None:
    assert_untrusted(verify_bundles(dsse_bundle(IMAGE.root.content)), "an in-toto statement of an unknown type")


def test_statement_of_an_unknown_type() -> None:
    said = statement(_type="https://in-toto.io/Statement/v2")
    assert_untrusted(verify_bundles(dsse_bundle(said)), "an in-toto statement of an unknown type")


def test_envelope_with_two_signatures() -> None:
    bundle = changed(dsse_bundle(statement()), lambda it: it["dsseEnvelope"]["signatures"].append({"sig": "AAAA"}))
    assert_untrusted(verify_bundles(bundle), "its envelope has 2 signatures")


def test_envelope_without_a_signature() -> None:
    bundle = changed(dsse_bundle(statement()), lambda it: it["dsseEnvelope"].update(signatures=[]))
    assert_untrusted(verify_bundles(bundle), "its envelope has 0 signatures")


# --- The index and its children ---------------------------------------------------------------------------------------


def test_index_is_signed_and_a_child_was_swapped() -> None:
    swapped = INDEX.root.content.replace(IMAGE.digest.encode(), OTHER.digest.encode())
    served = upstream(referrer(dsse_bundle(statement(INDEX.digest)), INDEX), image=INDEX)
    verdict = verify(served, image=INDEX, content=swapped)
    assert verdict.outcome is Outcome.UNTRUSTED
    assert "do not have the digest" in verdict.reason
    assert served.script.count("list_referrers") == 0


def test_child_is_signed_and_the_index_was_swapped() -> None:
    served = upstream(referrer(dsse_bundle(statement())), image=INDEX)
    assert verify(served, image=INDEX).outcome is Outcome.UNSIGNED


def test_signature_of_a_child_that_is_moved_to_the_index() -> None:
    served = upstream(referrer(dsse_bundle(statement()), INDEX), image=INDEX)
    assert_untrusted(verify(served, image=INDEX), f"it is of {IMAGE.digest}, not of this image")


# --- Transparency logs ------------------------------------------------------------------------------------------------


def test_entry_of_another_log() -> None:
    bundle, foreign = dsse_bundle(statement()), foreign_sigstore().rekor
    body = entry_of(bundle)["canonicalizedBody"]
    entry = foreign.entry(base64.b64decode(body), "dsse", "0.0.1", SIGNED_AT)
    assert_untrusted(verify_bundles(with_entry(bundle, entry)), "a transparency log that the trust root does not know")


def test_entry_of_another_log_that_is_said_to_be_of_a_trusted_one() -> None:
    bundle = dsse_bundle(statement())
    body = base64.b64decode(entry_of(bundle)["canonicalizedBody"])
    entry = foreign_sigstore().rekor.entry(body, "dsse", "0.0.1", SIGNED_AT)
    entry["logId"] = {"keyId": base64_of(sigstore().rekor.id)}
    assert_untrusted(verify_bundles(with_entry(bundle, entry)), "sigstore refuses it: invalid log entry")


def test_entry_without_an_inclusion_proof() -> None:
    bundle = changed(
        dsse_bundle(statement()), lambda it: it["verificationMaterial"]["tlogEntries"][0].pop("inclusionProof")
    )
    assert_untrusted(verify_bundles(bundle), "the inclusion proof is missing")


def test_inclusion_proof_without_a_checkpoint() -> None:
    bundle = changed(
        dsse_bundle(statement()),
        lambda it: it["verificationMaterial"]["tlogEntries"][0]["inclusionProof"].pop("checkpoint"),
    )
    assert_untrusted(verify_bundles(bundle), "the inclusion proof is missing")


def test_inclusion_proof_of_another_entry() -> None:
    one, other = dsse_bundle(statement()), dsse_bundle(statement())
    entry = entry_of(one) | {"inclusionProof": entry_of(other)["inclusionProof"]}
    assert_untrusted(verify_bundles(with_entry(one, entry)), "inclusion proof contains invalid root hash")


def test_promise_of_another_entry() -> None:
    one, other = dsse_bundle(statement()), dsse_bundle(statement())
    entry = entry_of(one) | {"inclusionPromise": entry_of(other)["inclusionPromise"]}
    assert_untrusted(verify_bundles(with_entry(one, entry)), "SET: invalid inclusion promise")


def test_time_that_was_changed() -> None:
    bundle = dsse_bundle(statement())
    entry = entry_of(bundle)
    entry["integratedTime"] = str(int(entry["integratedTime"]) + 1)
    assert_untrusted(verify_bundles(with_entry(bundle, entry)), "SET: invalid inclusion promise")


def test_entry_of_another_statement() -> None:
    bundle = dsse_bundle(statement(), logged=json.dumps(statement(OTHER.digest)).encode())
    assert_untrusted(verify_bundles(bundle), "log entry payload hash does not match")


def test_entry_of_another_statement_in_rekor_2() -> None:
    bundle = dsse_bundle(statement(), logged=json.dumps(statement(OTHER.digest)).encode(), rekor_version=2)
    assert_untrusted(verify_bundles(bundle), "transparency log entry is inconsistent")


def test_entry_of_another_signature() -> None:
    one, other = dsse_bundle(statement()), dsse_bundle(statement())
    assert_untrusted(verify_bundles(with_entry(one, entry_of(other))), "log entry signatures do not match")


def test_no_entry_of_a_log() -> None:
    bundle = changed(dsse_bundle(statement()), lambda it: it["verificationMaterial"].update(tlogEntries=[]))
    assert_untrusted(verify_bundles(bundle), "it has 0 entries of transparency logs")


def test_two_entries_of_logs() -> None:
    bundle = changed(
        dsse_bundle(statement()),
        lambda it: it["verificationMaterial"]["tlogEntries"].append(entry_of(it)),
    )
    assert_untrusted(verify_bundles(bundle), "it has 2 entries of transparency logs")


def test_no_source_of_time() -> None:
    bundle = changed(
        dsse_bundle(statement(), rekor_version=2),
        lambda it: it["verificationMaterial"].pop("timestampVerificationData"),
    )
    assert_untrusted(verify_bundles(bundle), "inclusion promise or signed timestamp")


def test_timestamp_of_another_signature() -> None:
    one, other = (dsse_bundle(statement(), rekor_version=2) for _ in range(2))
    stamps = other["verificationMaterial"]["timestampVerificationData"]
    bundle = changed(one, lambda it: it["verificationMaterial"].update(timestampVerificationData=stamps))
    assert_untrusted(verify_bundles(bundle), "not enough sources of verified time")


def test_timestamp_of_an_authority_that_is_not_trusted() -> None:
    bundle = dsse_bundle(statement(), rekor_version=2)
    signature = bundle["dsseEnvelope"]["signatures"][0]["sig"]
    stamp = foreign_sigstore().tsa.stamp(base64.b64decode(signature), SIGNED_AT)
    stamps = {"rfc3161Timestamps": [{"signedTimestamp": base64_of(stamp)}]}
    bundle = changed(bundle, lambda it: it["verificationMaterial"].update(timestampVerificationData=stamps))
    assert_untrusted(verify_bundles(bundle), "not enough sources of verified time")


# --- What it looks like -----------------------------------------------------------------------------------------------


def test_two_certificates() -> None:
    certificate = {"rawBytes": base64_of(der_of(sigstore().fulcio.issue(new_key())))}
    chain = {"certificates": [certificate]}
    bundle = changed(dsse_bundle(statement()), lambda it: it["verificationMaterial"].update(x509CertificateChain=chain))
    assert_untrusted(verify_bundles(bundle), "it has a chain of certificates")


def test_certificate_and_key_at_once() -> None:
    bundle = changed(
        dsse_bundle(statement()), lambda it: it["verificationMaterial"].update(publicKey={"hint": "cosign.pub"})
    )
    assert_untrusted(verify_bundles(bundle), "either one certificate or one key")


def test_neither_certificate_nor_key() -> None:
    bundle = changed(dsse_bundle(statement()), lambda it: it["verificationMaterial"].pop("certificate"))
    assert_untrusted(verify_bundles(bundle), "either one certificate or one key")


def test_envelope_and_message_at_once() -> None:
    bundle = dsse_bundle(statement()) | {"messageSignature": message_bundle()["messageSignature"]}
    assert_untrusted(verify_bundles(bundle), "either one envelope or one signature of a message")


def test_certificate_of_another_signature() -> None:
    certificate = {"rawBytes": base64_of(der_of(sigstore().fulcio.issue(new_key())))}
    bundle = changed(dsse_bundle(statement()), lambda it: it["verificationMaterial"].update(certificate=certificate))
    assert_untrusted(verify_bundles(bundle), "DSSE: invalid signature")


def test_certificate_that_is_none() -> None:
    bundle = changed(
        dsse_bundle(statement()), lambda it: it["verificationMaterial"].update(certificate={"rawBytes": "AAAA"})
    )
    assert_untrusted(verify_bundles(bundle), "its certificate cannot be read")


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.4"])
def test_bundle_of_another_version(version: str) -> None:
    bundle = dsse_bundle(statement()) | {"mediaType": f"application/vnd.dev.sigstore.bundle+json;version={version}"}
    assert_untrusted(verify_bundles(bundle), "it is no bundle of version 0.3")


def test_duplicate_key_in_a_bundle() -> None:
    good, evil = json.dumps(dsse_bundle(statement())), json.dumps(dsse_bundle(statement(OTHER.digest))["dsseEnvelope"])
    for written in (f'{{"dsseEnvelope": {evil}, {good[1:]}', f'{good[:-1]}, "dsseEnvelope": {evil}}}'):
        assert_untrusted(verify_bundles(written.encode()), "the bundle has the same key twice")


def test_duplicate_key_in_other_letters() -> None:
    bundle = dsse_bundle(statement())
    bundle["DSSEEnvelope"] = dsse_bundle(statement(OTHER.digest))["dsseEnvelope"]
    assert_untrusted(verify_bundles(bundle), "the bundle has the same key twice")


def test_duplicate_key_that_is_escaped() -> None:
    good, evil = json.dumps(dsse_bundle(statement())), json.dumps(dsse_bundle(statement(OTHER.digest))["dsseEnvelope"])
    written = f'{good[:-1]}, "\\u0064sseEnvelope": {evil}}}'
    assert_untrusted(verify_bundles(written.encode()), "the bundle has the same key twice")


def test_duplicate_key_as_the_library_would_spell_it() -> None:
    bundle = dsse_bundle(statement())
    bundle["dsse_envelope"] = dsse_bundle(statement(OTHER.digest))["dsseEnvelope"]
    assert_untrusted(verify_bundles(bundle), "the key dsse_envelope")


def test_duplicate_key_in_a_statement() -> None:
    good = json.dumps(statement())
    subject = json.dumps([{"digest": {"sha256": OTHER_HEX}}])
    assert_untrusted(
        verify_bundles(dsse_bundle(f'{{"subject": {subject}, {good[1:]}'.encode())),
        "its statement has the same key twice",
    )


def test_duplicate_key_in_other_letters_in_a_statement() -> None:
    said = statement() | {"Subject": [{"digest": {"sha256": OTHER_HEX}}]}
    assert_untrusted(verify_bundles(dsse_bundle(said)), "its statement has the same key twice")


def test_key_that_is_not_known() -> None:
    assert_untrusted(verify_bundles(dsse_bundle(statement()) | {"trust": "me"}), "it is no bundle")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff{}", b"[" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200, b'{"a": NaN}']
)
def test_bytes_that_are_no_bundle(content: bytes) -> None:
    assert_untrusted(verify_bundles(content), "the bundle")


def test_evidence_is_one_safe_line() -> None:
    evil = "https://github.com/a\x1b[2Jb\u202e\r\nADMITTED" + "x" * 10_000
    verdict = verify_bundles(dsse_bundle(statement(_type=evil)))
    assert verdict.outcome is Outcome.UNTRUSTED
    for text in (verdict.reason, *(str(each) for each in verdict.evidence)):
        assert text.isprintable()
        assert len(text) < 1000
