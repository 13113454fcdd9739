"""What a referrer says of itself, which tags keep what belongs to a digest, and the index under a fallback tag."""

import json

import pytest

from local import artifacts
from local.images import make_image
from pullahead.oci import InvalidManifestError, RawManifest, describe, digest_of, media_types
from pullahead.oci.referrers import (
    cosign_tags,
    entries_of,
    fallback_tag,
    listing_entry,
    matches_any,
    read_referrer,
    subject_of_tag,
    with_entries,
)

SUBJECT = make_image(seed=1)
OF = SUBJECT.root.descriptor
HEX = SUBJECT.digest.partition(":")[2]


def manifest(document: object) -> RawManifest:
    content = json.dumps(document).encode()
    return RawManifest(describe(content, media_types.OCI_MANIFEST), content)


def test_tags_of_a_digest() -> None:
    assert cosign_tags(SUBJECT.digest) == (f"sha256-{HEX}.sig", f"sha256-{HEX}.att", f"sha256-{HEX}.sbom")
    for tag in (fallback_tag(SUBJECT.digest), *cosign_tags(SUBJECT.digest)):
        assert subject_of_tag(tag) == SUBJECT.digest


@pytest.mark.parametrize("tag", ["1.0", f"sha256-{HEX}.other", f"sha256-{HEX[1:]}", f"sha256-{HEX}.sig.sig", HEX])
def test_other_tags_are_of_no_digest(tag: str) -> None:
    assert subject_of_tag(tag) is None


class TestKinds:
    def test_artifact_type(self) -> None:
        read = read_referrer(artifacts.sbom(OF).root)
        assert read.subject == SUBJECT.digest
        assert artifacts.SPDX in read.kinds

    def test_media_type_of_the_config_where_there_is_no_artifact_type(self) -> None:
        assert artifacts.NOTATION in read_referrer(artifacts.notation_signature(OF).root).kinds

    def test_predicate_type_in_annotations_of_cosign_3(self) -> None:
        kinds = read_referrer(artifacts.cosign3_bundle(OF, artifacts.SLSA_PREDICATE).root).kinds
        assert {artifacts.BUNDLE, artifacts.SLSA_PREDICATE} <= kinds

    def test_layers_under_cosign_tags(self) -> None:
        attestation = read_referrer(artifacts.cosign2_attestation(OF).root)
        assert attestation.subject is None
        assert {artifacts.DSSE, artifacts.SLSA_PREDICATE} <= attestation.kinds

    def test_kinds_are_bounded(self) -> None:
        layers = [{"mediaType": f"type/{number}", "digest": digest_of(b""), "size": 0} for number in range(500)]
        assert len(read_referrer(manifest({"layers": layers, "artifactType": "x" * 10_000})).kinds) == 100

    def test_globs_match(self) -> None:
        assert matches_any({"application/vnd.cncf.notary.signature"}, ["application/vnd.cncf.*"])
        assert not matches_any({"application/spdx+json"}, ["application/vnd.cncf.*", "application/spdx"])

    @pytest.mark.parametrize("document", [{"subject": {"digest": "sha256:1"}}, {"layers": 3}, []])
    def test_content_that_is_no_manifest_is_refused(self, document: object) -> None:
        with pytest.raises(InvalidManifestError):
            read_referrer(manifest(document))


class TestFallbackIndex:
    BILL, SIGNATURE = artifacts.sbom(OF).root, artifacts.cosign3_bundle(OF).root

    def entry(self, raw: RawManifest) -> dict[str, object]:
        read: dict[str, object] = json.loads(listing_entry(raw))
        return read

    def test_entry_has_artifact_type_and_annotations(self) -> None:
        entry = self.entry(self.SIGNATURE)
        assert (entry["digest"], entry["artifactType"]) == (self.SIGNATURE.descriptor.digest, artifacts.BUNDLE)
        assert "dev.sigstore.bundle.predicateType" in str(entry["annotations"])
        assert "annotations" not in self.entry(self.BILL)

    def test_new_index_is_made(self) -> None:
        made = with_entries(None, {self.BILL.descriptor.digest: listing_entry(self.BILL)})
        assert made is not None
        document = json.loads(made.content)
        assert (document["schemaVersion"], document["mediaType"]) == (2, media_types.OCI_INDEX)
        assert document["manifests"] == [self.entry(self.BILL)]
        assert made.descriptor == describe(made.content, media_types.OCI_INDEX)

    def test_everything_else_is_kept(self) -> None:
        other = {"digest": digest_of(b"other"), "size": 1, "mediaType": "x/y", "strange": [1.50, None]}
        content = json.dumps({"manifests": [other], "annotations": {"by": "others"}, "schemaVersion": 2}).encode()
        made = with_entries(content, {self.BILL.descriptor.digest: listing_entry(self.BILL)})
        assert made is not None
        document = json.loads(made.content)
        assert document["manifests"] == [other, self.entry(self.BILL)]
        assert document["annotations"] == {"by": "others"}
        assert json.dumps(other).encode() in made.content

    def test_known_entries_are_not_added_again(self) -> None:
        entries = {self.BILL.descriptor.digest: listing_entry(self.BILL)}
        made = with_entries(None, entries)
        assert made is not None
        assert with_entries(made.content, entries) is None
        assert entries_of(made.content).keys() == entries.keys()

    def test_empty_list_written_as_null_is_read(self) -> None:
        assert entries_of(b'{"manifests": null}') == {}
        made = with_entries(b'{"manifests": null}', {self.BILL.descriptor.digest: listing_entry(self.BILL)})
        assert made is not None
        assert list(entries_of(made.content)) == [self.BILL.descriptor.digest]

    @pytest.mark.parametrize("content", [b"<html>", b'{"manifests": 3}', b'{"manifests": [{"size": 1}]}'])
    def test_content_that_is_no_index_is_refused(self, content: bytes) -> None:
        with pytest.raises(InvalidManifestError):
            with_entries(content, {})
