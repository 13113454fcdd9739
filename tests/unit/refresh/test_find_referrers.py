"""Which referrers are found and read: by listings, tags, types and limits; and what finding them costs."""

import pytest

from local import artifacts
from local.images import LocalImage, make_image, make_index
from pullahead.errors import AccessDeniedError, RegistryUnavailableError
from pullahead.oci import parse_reference
from pullahead.oci.referrers import fallback_tag
from pullahead.refresh import referrers as limits
from pullahead.refresh.plan_referrers import PlannedReferrers, find_referrers
from pullahead.rules.model import ReferrersPolicy
from tests.fakes.samples import UPSTREAM, failed
from tests.fakes.upstream import FakeUpstream

IMAGE = make_image(seed=1)
OF = IMAGE.root.descriptor
ALL = ReferrersPolicy()


class Finding:
    """An image upstream, and what belongs to it."""

    def __init__(self, *belongings: LocalImage, image: LocalImage = IMAGE) -> None:
        self.upstream, self.image = FakeUpstream(), image
        self.upstream.serve(image, UPSTREAM)
        self.push(*belongings)

    def push(self, *belongings: LocalImage) -> None:
        for each in belongings:
            self.upstream.serve(each, f"ghcr.io/team/app@{each.digest}")

    def tag(self, artifact: LocalImage, subject: LocalImage, suffix: str) -> None:
        self.upstream.serve(artifact, f"ghcr.io/team/app:{fallback_tag(subject.digest)}{suffix}")

    def run(self, policy: ReferrersPolicy = ALL, *subjects: LocalImage) -> PlannedReferrers:
        source = parse_reference(UPSTREAM).at(self.image.digest)
        digests = tuple(each.digest for each in subjects) or (self.image.digest,)
        return find_referrers(source, digests, self.upstream, policy)


def digests(planned: PlannedReferrers) -> list[str]:
    return [each.root.descriptor.digest for each in planned.referrers]


def test_nothing_is_asked_where_the_policy_copies_none() -> None:
    finding = Finding(artifacts.sbom(OF))
    assert digests(finding.run(ReferrersPolicy(copy=False))) == []
    assert finding.upstream.script.calls == []


def test_image_without_referrers_costs_one_listing_and_a_head_for_each_tag_of_cosign() -> None:
    finding = Finding()
    assert digests(finding.run()) == []
    assert finding.upstream.script.calls == ["list_referrers", *["find_manifest"] * 3]


def test_each_referrer_costs_a_listing_and_a_get() -> None:
    finding = Finding(artifacts.sbom(OF), artifacts.cosign3_bundle(OF))
    assert len(finding.run().referrers) == 2
    script = finding.upstream.script
    counts = [script.count(each) for each in ("list_referrers", "find_manifest", "get_manifest")]
    assert counts == [3, 3, 2]


def test_subjects_come_before_what_refers_to_them() -> None:
    bill = artifacts.sbom(OF)
    signature = artifacts.notation_signature(bill.root.descriptor)
    timestamp = artifacts.sbom(signature.root.descriptor, "application/vnd.example.timestamp")
    planned = Finding(timestamp, signature, bill).run()
    assert digests(planned) == [bill.digest, signature.digest, timestamp.digest]
    assert (planned.limits, planned.troubles) == ((), ())


def test_depth_is_limited_and_reported() -> None:
    chain = [IMAGE]
    for _ in range(limits.MAX_DEPTH + 1):
        chain.append(artifacts.sbom(chain[-1].root.descriptor))
    planned = Finding(*chain[1:]).run()
    assert digests(planned) == [each.digest for each in chain[1:-1]]
    assert planned.limits == (f"referrers of referrers are copied to a depth of {limits.MAX_DEPTH}",)


def test_signature_of_what_stands_under_a_tag_is_found_by_its_tag() -> None:
    finding = Finding()
    bill = artifacts.cosign2_sbom(OF)
    signature = artifacts.cosign2_signature(bill.root.descriptor)
    finding.tag(bill, IMAGE, ".sbom")
    finding.tag(signature, bill, ".sig")
    planned = finding.run()
    assert [(each.subject, each.tag) for each in planned.referrers] == [
        (IMAGE.digest, f"{fallback_tag(IMAGE.digest)}.sbom"),
        (bill.digest, f"{fallback_tag(bill.digest)}.sig"),
    ]


class TestTypes:
    BILL, BUNDLE, NOTARY = artifacts.sbom(OF), artifacts.cosign3_bundle(OF), artifacts.notation_signature(OF)

    @pytest.mark.parametrize(
        ("kind", "wanted"),
        [
            (artifacts.SPDX, BILL),
            (artifacts.NOTATION, NOTARY),
            ("application/vnd.cncf.*", NOTARY),
            (artifacts.SIGN_PREDICATE, BUNDLE),
            (artifacts.BUNDLE, BUNDLE),
        ],
    )
    def test_only_chosen_types_are_copied(self, kind: str, wanted: LocalImage) -> None:
        planned = Finding(self.BILL, self.BUNDLE, self.NOTARY).run(ReferrersPolicy((kind,)))
        assert (digests(planned), planned.excluded) == ([wanted.digest], 2)

    def test_excluded_types_are_left_out(self) -> None:
        finding = Finding(self.BILL, self.BUNDLE)
        finding.tag(artifacts.cosign2_attestation(OF), IMAGE, ".att")
        planned = finding.run(ReferrersPolicy(exclude=(artifacts.SPDX, artifacts.SLSA_PREDICATE)))
        assert (digests(planned), planned.excluded) == ([self.BUNDLE.digest], 2)

    def test_type_that_the_listing_names_is_excluded_without_a_read(self) -> None:
        finding = Finding(self.BILL)
        finding.upstream.listed_kinds = {self.BILL.digest: frozenset({artifacts.SPDX})}
        assert finding.run(ReferrersPolicy(exclude=(artifacts.SPDX,))).excluded == 1
        assert finding.upstream.script.count("get_manifest") == 0

    def test_what_refers_to_something_left_out_is_left_out(self) -> None:
        signature = artifacts.notation_signature(self.BILL.root.descriptor)
        planned = Finding(self.BILL, signature).run(ReferrersPolicy(exclude=(artifacts.SPDX,)))
        assert (digests(planned), planned.excluded) == ([], 2)

    def test_policy_is_part_of_the_fingerprint(self) -> None:
        finding = Finding(self.BILL)
        assert finding.run().fingerprint == finding.run().fingerprint
        assert finding.run().fingerprint != finding.run(ReferrersPolicy((artifacts.SPDX,))).fingerprint


class TestPlatforms:
    AMD, ARM = make_image(seed=2), make_image(seed=3, platform="linux/arm64")
    INDEX = make_index([AMD, ARM])

    def test_referrers_of_kept_children_follow_and_those_of_the_index_are_counted(self) -> None:
        kept, dropped = artifacts.sbom(self.AMD.root.descriptor), artifacts.sbom(self.ARM.root.descriptor)
        finding = Finding(kept, dropped, artifacts.cosign3_bundle(self.INDEX.root.descriptor), image=self.INDEX)
        finding.tag(artifacts.cosign2_signature(self.INDEX.root.descriptor), self.INDEX, ".sig")
        planned = finding.run(ALL, self.AMD)
        assert (digests(planned), planned.not_applicable) == ([kept.digest], 2)

    def test_nothing_is_not_applicable_where_the_index_is_copied(self) -> None:
        finding = Finding(artifacts.cosign3_bundle(self.INDEX.root.descriptor), image=self.INDEX)
        planned = finding.run(ALL, self.INDEX, self.AMD, self.ARM)
        assert (len(planned.referrers), planned.not_applicable) == (1, 0)


class TestTroubles:
    def test_listing_that_fails_is_reported_and_the_tags_are_found(self) -> None:
        finding = Finding(artifacts.sbom(OF))
        signature = artifacts.cosign2_signature(OF)
        finding.tag(signature, IMAGE, ".sig")
        finding.upstream.script.fail("list_referrers", failed(AccessDeniedError))
        planned = finding.run()
        assert digests(planned) == [signature.digest]
        assert [each.kind for each in planned.troubles] == ["AccessDeniedError"]

    def test_manifest_that_cannot_be_read_is_reported_and_the_others_are_copied(self) -> None:
        first, second = artifacts.sbom(OF), artifacts.cosign3_bundle(OF)
        finding = Finding(first, second)
        finding.upstream.script.fail("get_manifest", failed(RegistryUnavailableError))
        planned = finding.run()
        assert (len(planned.referrers), len(planned.troubles)) == (1, 1)

    def test_what_is_listed_for_another_subject_is_refused(self) -> None:
        finding = Finding()
        stray = artifacts.sbom(make_image(seed=9).root.descriptor)
        finding.push(stray)
        finding.upstream.false_referrers[IMAGE.digest] = [stray.root.descriptor]
        planned = finding.run()
        assert planned.referrers == ()
        assert stray.digest in planned.troubles[0].text
        assert IMAGE.digest in planned.troubles[0].text


class TestLimits:
    def test_number_is_limited_and_reported(self) -> None:
        many = [artifacts.sbom(OF, content=b"%d" % number) for number in range(limits.MAX_REFERRERS + 5)]
        planned = Finding(*many).run()
        assert len(planned.referrers) == limits.MAX_REFERRERS
        assert planned.limits == (
            f"it has more than {limits.MAX_REFERRERS} referrers; {limits.MAX_REFERRERS} are copied",
        )

    def test_bytes_are_limited_and_reported(self) -> None:
        small = artifacts.sbom(OF)
        huge = artifacts.huge_artifact(OF, limits.MAX_BYTES)
        planned = Finding(huge, small).run()
        assert digests(planned) == [small.digest]
        assert huge.digest in planned.limits[0]

    def test_subjects_are_limited_and_reported(self) -> None:
        images = [make_image([1], seed=seed) for seed in range(limits.MAX_SUBJECTS + 2)]
        finding = Finding(*images, image=make_index(images))
        planned = finding.run(ALL, finding.image, *images)
        assert finding.upstream.script.count("list_referrers") == limits.MAX_SUBJECTS
        assert f"the first {limits.MAX_SUBJECTS}" in planned.limits[0]
