"""What is read of what upstream keeps beside an image: bounded, and no failure of upstream admits anything."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from local.artifacts import BUNDLE, ArtifactLayer, huge_artifact, make_artifact
from local.images import LocalImage, make_image
from pullahead.admission.signatures.cosign2 import SIMPLE_SIGNING
from pullahead.admission.signatures.find import MAX_CANDIDATES
from pullahead.admission.signatures.verdict import Finding, Outcome
from pullahead.admission.signatures.verify import verify_image
from pullahead.errors import (
    AccessDeniedError,
    PullaheadError,
    RateLimitedError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    ResponseTooLargeError,
    Side,
)
from pullahead.oci import Descriptor, Digest, RawManifest, Reference, describe, media_types, parse_reference
from pullahead.oci.referrers import Referrer
from pullahead.rules.signature_policy import SignaturePolicy
from tests.fakes.upstream import FakeUpstream
from tests.sigstore import NOW
from tests.unit.admission.signatures.signed_images import (
    BY_RELEASE,
    IMAGE,
    OTHER,
    REPOSITORY,
    assert_untrusted,
    by_key,
    cosign2,
    cosign2_keyed,
    cosign2_keyless,
    dsse_bundle,
    keyed_bundle,
    payload,
    referrer,
    statement,
    upstream,
    verify,
)

WITH_KEY = SignaturePolicy((by_key(),))


def failure(kind: type[PullaheadError]) -> PullaheadError:
    return kind("no answer", operation="reading", side=Side.UPSTREAM, reference=REPOSITORY)  # type: ignore[call-arg]


def test_nothing_is_there() -> None:
    verdict = verify(upstream())
    assert verdict.outcome is Outcome.UNSIGNED
    assert verdict.reason.startswith("there is no signature by https://github.com/org/app/")
    assert verdict.evidence == ()


@pytest.mark.parametrize("kind", [AccessDeniedError, RateLimitedError, RegistryUnavailableError, RegistryTimeoutError])
@pytest.mark.parametrize("call", ["list_referrers", "find_manifest"])
def test_upstream_that_does_not_answer_is_unknown(kind: type[PullaheadError], call: str) -> None:
    served = upstream()
    served.script.fail(call, failure(kind))
    verdict = verify(served)
    assert verdict.outcome is Outcome.UNKNOWN
    assert "upstream could not be asked" in verdict.reason


@pytest.mark.parametrize("call", ["get_manifest", "open_blob"])
def test_signature_that_cannot_be_read_for_now_is_unknown(call: str) -> None:
    served = upstream(referrer(dsse_bundle(statement(OTHER.digest))), referrer(dsse_bundle(statement())))
    served.script.fail(call, failure(RegistryUnavailableError), times=2)
    assert verify(served).outcome is Outcome.UNKNOWN


def test_bad_signature_beside_one_that_cannot_be_read_is_unknown() -> None:
    served = upstream(referrer(dsse_bundle(statement(OTHER.digest))), tagged=cosign2(cosign2_keyless()))
    served.script.fail("find_manifest", failure(RegistryTimeoutError))
    assert verify(served).outcome is Outcome.UNKNOWN


def test_good_signature_beside_one_that_cannot_be_read_is_admitted() -> None:
    served = upstream(tagged=cosign2(cosign2_keyless()))
    served.script.fail("list_referrers", failure(RegistryTimeoutError))
    verdict = verify(served)
    assert verdict.is_admitted
    assert [each.finding for each in verdict.evidence] == [Finding.UNREADABLE, Finding.PROVEN]


def test_referrer_that_is_listed_and_missing() -> None:
    served = upstream()
    served.false_referrers[IMAGE.digest] = [Descriptor(media_types.OCI_MANIFEST, OTHER.digest, 10)]
    assert_untrusted(verify(served), "not found")


def test_listing_that_is_too_long() -> None:
    served = upstream()
    served.script.fail("list_referrers", failure(ResponseTooLargeError))
    assert_untrusted(verify(served), "no answer")


def test_ten_thousand_referrers() -> None:
    served = upstream(referrer(b"{}"))
    (listed,) = served.list_referrers(parse_reference(f"{REPOSITORY}:1"), IMAGE.digest)
    served.false_referrers[IMAGE.digest] = [listed.descriptor] * 10_000
    verdict = verify(served)
    assert_untrusted(verdict, "9901 of its 10001 referrers were not looked at: too many")
    assert served.script.count("get_manifest", "open_blob") <= 2 * MAX_CANDIDATES
    assert len(verdict.evidence) <= MAX_CANDIDATES + 20


def test_ten_thousand_referrers_hide_no_signature_of_cosign_2() -> None:
    served = upstream(referrer(b"{}"), tagged=cosign2(cosign2_keyless()))
    (listed,) = served.list_referrers(parse_reference(f"{REPOSITORY}:1"), IMAGE.digest)
    served.false_referrers[IMAGE.digest] = [listed.descriptor] * 10_000
    verdict = verify(served)
    assert verdict.is_admitted
    assert verdict.evidence[-1].finding is Finding.PROVEN


def test_bundle_of_one_gibibyte_is_not_read() -> None:
    content = json.loads(referrer(b"a bundle").root.content)
    content["layers"][0]["size"] = 1024**3
    raw = json.dumps(content).encode()
    manifest = RawManifest(describe(raw, media_types.OCI_MANIFEST), raw)
    served = upstream(LocalImage(manifest, {manifest.descriptor.digest: manifest}, {}))
    assert_untrusted(verify(served), "it is said to have 1073741824 bytes", "it is not read")
    assert served.bytes_sent == 0


def test_many_bundles_that_are_large_together() -> None:
    bundles = [referrer(b" " * (4 * 1024 * 1024 - each)) for each in range(12)]
    served = upstream(*bundles)
    assert_untrusted(verify(served), "has more than 33554432 bytes; it is not read")
    assert served.bytes_sent <= 32 * 1024 * 1024


def test_bundle_that_is_longer_than_it_is_said_to_be() -> None:
    image = referrer(dsse_bundle(statement()))
    served = upstream(image)
    (blob,) = (digest for digest, content in image.blobs.items() if content != b"{}")
    served.serve_blob(blob, image.read_blob(blob) + b" " * 1000)
    assert_untrusted(verify(served), "too long")


def test_bundle_of_another_digest() -> None:
    image = referrer(dsse_bundle(statement(OTHER.digest)))
    (blob,) = (digest for digest, content in image.blobs.items() if content != b"{}")
    served = upstream(image)
    good = json.dumps(dsse_bundle(statement())).encode()
    served.serve_blob(blob, good[: len(image.blobs[blob])].ljust(len(image.blobs[blob])))
    assert_untrusted(verify(served), "do not have the size and the digest")


def test_referrer_whose_subject_differs() -> None:
    served = upstream()
    other = referrer(dsse_bundle(statement()), OTHER)
    served.serve(other, f"{REPOSITORY}:other")
    served.false_referrers[IMAGE.digest] = [other.root.descriptor]
    assert_untrusted(verify(served), "it is listed for this image, and names another one as its subject")


def test_referrer_without_a_subject() -> None:
    content = json.loads(referrer(dsse_bundle(statement())).root.content)
    del content["subject"]
    raw = json.dumps(content).encode()
    manifest = RawManifest(describe(raw, media_types.OCI_MANIFEST), raw)
    served = upstream()
    served.serve_manifest(f"{REPOSITORY}:other", manifest)
    served.false_referrers[IMAGE.digest] = [manifest.descriptor]
    assert_untrusted(verify(served), "names another one as its subject")


def test_referrer_with_two_bundles() -> None:
    bundles = [ArtifactLayer(BUNDLE, json.dumps(dsse_bundle(statement())).encode()) for _ in range(2)]
    made = make_artifact(IMAGE.root.descriptor, bundles, artifact_type=BUNDLE)
    assert_untrusted(verify(upstream(made)), "it has 2 layers; a bundle is one")


def test_referrer_that_is_an_index() -> None:
    served = upstream()
    raw = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []}).encode()
    manifest = RawManifest(describe(raw, media_types.OCI_INDEX), raw)
    served.serve_manifest(f"{REPOSITORY}:index", manifest)
    served.false_referrers[IMAGE.digest] = [manifest.descriptor]
    assert_untrusted(verify(served), "it is an index, and no artifact")


def changed(image: LocalImage, change: Callable[[dict[str, Any]], object]) -> LocalImage:
    """Write another manifest over the same blobs."""
    document = json.loads(image.root.content)
    change(document)
    content = json.dumps(document).encode()
    root = RawManifest(describe(content, image.root.descriptor.media_type), content)
    return LocalImage(root, {root.descriptor.digest: root}, image.blobs)


def test_referrer_without_layers_hides_no_signature() -> None:
    empty = changed(referrer(dsse_bundle(statement())), lambda manifest: manifest.update(layers=None))
    assert verify(upstream(empty)).outcome is Outcome.UNSIGNED
    assert verify(upstream(empty, tagged=cosign2(cosign2_keyless()))).is_admitted


@pytest.mark.parametrize("annotations", [[], "none", 1])
def test_annotations_of_another_form_are_refused(annotations: object) -> None:
    bad = changed(cosign2(cosign2_keyless()), lambda manifest: manifest["layers"][0].update(annotations=annotations))
    verdict = verify(upstream(tagged=bad))
    assert (verdict.is_admitted, verdict.evidence[-1].finding) == (False, Finding.REFUSED)
    assert "its layers cannot be read" in verdict.evidence[-1].text


def test_payload_of_cosign_2_that_is_enormous_is_not_read() -> None:
    made = cosign2(ArtifactLayer(SIMPLE_SIGNING, b" " * 100_000, {}), cosign2_keyed())
    served = upstream(tagged=made)
    verdict = verify(served, WITH_KEY)
    assert verdict.is_admitted
    assert "it is said to have 100000 bytes" in verdict.evidence[0].text
    assert served.bytes_sent == len(payload())


def test_tag_of_a_thousand_signatures() -> None:
    served = upstream(tagged=cosign2(*[cosign2_keyed(b"{}")] * 1000))
    assert_untrusted(verify(served, WITH_KEY), "of its signatures were not looked at: too many")
    assert served.script.count("open_blob") <= MAX_CANDIDATES


def test_artifact_of_another_kind_is_not_looked_at() -> None:
    class Listing(FakeUpstream):
        def list_referrers(self, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
            listed = super().list_referrers(subject, digest)
            return tuple(each._replace(artifact_type="application/spdx+json") for each in listed)

    served = Listing()
    served.serve(huge_artifact(IMAGE.root.descriptor, 10**12), f"{REPOSITORY}:sbom")
    assert verify(served).outcome is Outcome.UNSIGNED
    assert served.gets == 0


def test_nothing_is_asked_of_the_network() -> None:
    asked: list[str] = []
    is_watched = True

    def watch(event: str, _arguments: tuple[object, ...]) -> None:
        if is_watched and event.startswith(("socket.", "http.", "urllib.", "subprocess.")):
            asked.append(event)

    sys.addaudithook(watch)  # which cannot be taken away again
    for bundle in (dsse_bundle(statement()), dsse_bundle(statement(), rekor_version=2)):
        assert verify(upstream(referrer(bundle))).is_admitted
    assert verify(upstream(tagged=cosign2(cosign2_keyless()))).is_admitted
    is_watched = False
    assert asked == []


def test_image_that_is_named_by_tag_alone_is_a_defect() -> None:
    with pytest.raises(ValueError, match="by digest"):
        verify_image(parse_reference(f"{REPOSITORY}:1"), b"", WITH_KEY, upstream(), None, NOW)


def test_policy_that_trusts_nobody_is_a_defect() -> None:
    with pytest.raises(ValueError, match="names signers"):
        verify(upstream(), SignaturePolicy(()))


def test_identities_without_a_trust_root_admit_nothing() -> None:
    name = Reference(parse_reference(REPOSITORY).repository, None, IMAGE.digest)
    policy = SignaturePolicy((*WITH_KEY.signers, BY_RELEASE))
    served = upstream(referrer(dsse_bundle(statement())))
    verdict = verify_image(name, IMAGE.root.content, policy, served, None, NOW)
    assert_untrusted(verdict, "there is no trust root to prove that by")


def test_same_policy_admits_a_key_without_a_trust_root() -> None:
    name = Reference(parse_reference(REPOSITORY).repository, None, IMAGE.digest)
    served = upstream(referrer(keyed_bundle(statement())))
    assert verify_image(name, IMAGE.root.content, WITH_KEY, served, None, NOW + timedelta(days=1)).is_admitted


def test_replayed_signature_of_an_older_image() -> None:
    older = make_image([1000], seed=3)
    served = upstream(referrer(dsse_bundle(statement(older.digest))))
    assert_untrusted(verify(served), f"it is of {older.digest}, not of this image")
