"""Images with all that belongs to them, as the tools of the field leave them in a registry."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from local import artifacts
from local.images import LocalImage, make_image, make_index
from pullahead.oci import Digest, RawManifest
from pullahead.oci.referrers import fallback_tag, listing_entry, read_referrer, with_entries


class Belonging(NamedTuple):
    """What belongs to an image: a referrer, or what cosign keeps under a tag."""

    artifact: LocalImage
    tag: str | None = None


class CorpusImage(NamedTuple):
    """An image, and everything that belongs to it."""

    image: LocalImage
    belongings: Sequence[Belonging]

    @property
    def manifests(self) -> frozenset[Digest]:
        """What a client finds that pulls the image and all that belongs to it."""
        every = (self.image, *(each.artifact for each in self.belongings))
        return frozenset(digest for each in every for digest in each.manifests)

    @property
    def tags(self) -> frozenset[str]:
        """The tags of cosign."""
        return frozenset(each.tag for each in self.belongings if each.tag is not None)

    def fallback_indexes(self) -> Mapping[str, RawManifest]:
        """The indexes that clients keep in a registry without the API for referrers, by their tags."""
        indexes: dict[str, RawManifest] = {}
        for each in self.belongings:
            subject = read_referrer(each.artifact.root).subject
            if subject is not None:
                tag = fallback_tag(subject)
                known = indexes[tag].content if tag in indexes else None
                made = with_entries(known, {each.artifact.digest: listing_entry(each.artifact.root)})
                indexes[tag] = made or indexes[tag]
        return indexes


def tagged(artifact: LocalImage, subject: LocalImage, suffix: str) -> Belonging:
    """Keep an artifact under cosign's tag of a subject."""
    return Belonging(artifact, f"{fallback_tag(subject.digest)}{suffix}")


def make_corpus() -> Mapping[str, CorpusImage]:
    """Make the corpus, each image with a digest of its own."""
    seeds = iter(range(100, 200))

    def image() -> LocalImage:
        return make_image([200], seed=next(seeds))

    made: dict[str, CorpusImage] = {}

    one = image()
    made["cosign-2-signature"] = CorpusImage(
        one, [tagged(artifacts.cosign2_signature(one.root.descriptor), one, ".sig")]
    )
    one = image()
    made["cosign-3-bundle"] = CorpusImage(one, [Belonging(artifacts.cosign3_bundle(one.root.descriptor))])
    one = image()
    keyed = artifacts.cosign2_signature(one.root.descriptor, "key-1", "key-2", certificate=False)
    made["keyed-signature"] = CorpusImage(one, [tagged(keyed, one, ".sig")])
    one = image()
    made["spdx-sbom"] = CorpusImage(
        one,
        [
            Belonging(artifacts.sbom(one.root.descriptor)),
            tagged(artifacts.cosign2_sbom(one.root.descriptor), one, ".sbom"),
        ],
    )
    one = image()
    made["cyclonedx-sbom"] = CorpusImage(one, [Belonging(artifacts.sbom(one.root.descriptor, artifacts.CYCLONEDX))])
    one = image()
    made["slsa-attestation-by-tag"] = CorpusImage(
        one, [tagged(artifacts.cosign2_attestation(one.root.descriptor), one, ".att")]
    )
    one = image()
    made["slsa-attestation-by-referrer"] = CorpusImage(one, [Belonging(artifacts.provenance(one.root.descriptor))])
    one = image()
    made["notation-signature"] = CorpusImage(one, [Belonging(artifacts.notation_signature(one.root.descriptor))])
    one = image()
    bill = artifacts.sbom(one.root.descriptor)
    made["referrer-of-a-referrer"] = CorpusImage(
        one, [Belonging(bill), Belonging(artifacts.notation_signature(bill.root.descriptor))]
    )
    amd, arm = image(), make_image([300], seed=next(seeds), platform="linux/arm64")
    made["children-signed-and-index-not"] = CorpusImage(
        make_index([amd, arm]),
        [
            Belonging(artifacts.cosign3_bundle(amd.root.descriptor)),
            tagged(artifacts.cosign2_signature(arm.root.descriptor), arm, ".sig"),
        ],
    )
    one = image()
    made["sbom-signed-by-tag"] = CorpusImage(one, _signed_sbom(one))
    one = image()
    many = [artifacts.sbom(one.root.descriptor, content=f'{{"number": {number}}}'.encode()) for number in range(150)]
    made["150-referrers"] = CorpusImage(one, [Belonging(each) for each in many])
    return made


def _signed_sbom(image: LocalImage) -> list[Belonging]:
    """Sign an SBOM as `cosign sign --attachment sbom` does: under the tag of the SBOM's own digest."""
    bill = artifacts.cosign2_sbom(image.root.descriptor)
    return [
        tagged(bill, image, ".sbom"),
        tagged(artifacts.cosign2_signature(bill.root.descriptor), bill, ".sig"),
    ]
