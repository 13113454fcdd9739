"""Referrers at the target: after their image and before its tag; what fails is reported; nothing of others is lost."""

import itertools
from collections.abc import Callable

import pytest

from local import artifacts
from local.images import LocalImage, make_image, make_index
from pullahead.errors import (
    AccessDeniedError,
    ConflictError,
    ManifestRefusedError,
    RegistryUnavailableError,
    Side,
)
from pullahead.messages import PublishRequest, PublishResult, ReferrersOutcome
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import Digest, InvalidManifestError
from pullahead.oci.referrers import entries_of, fallback_tag, listing_entry, with_entries
from pullahead.refresh.copy_unit import CopyUnit
from pullahead.refresh.plan import plan_copy
from pullahead.refresh.publish import publish_image
from pullahead.refresh.publish_referrers import keep_fallback_tag
from tests.fakes.memory import FakeClock, FakePlanStore, FakeRecords
from tests.fakes.refreshes import BEGAN, refresh_request
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, digest, failed, mirror, rules
from tests.fakes.script import Killed, Script
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream

IMAGE = make_image(seed=1)
OF = IMAGE.root.descriptor
BILL, BUNDLE = artifacts.sbom(OF), artifacts.cosign3_bundle(OF)
SIGNATURE = artifacts.cosign2_signature(OF, "release")
SIG_TAG = f"{fallback_tag(IMAGE.digest)}.sig"


class Refresh:
    """A refresh of one image with all that belongs to it, from its plan to its publish."""

    def __init__(self, *referrers: LocalImage, image: LocalImage = IMAGE, platforms: tuple[str, ...] = ()) -> None:
        self.script, self.image = Script(), image
        self.upstream, self.target, self.plans = FakeUpstream(), FakeTarget(self.script), FakePlanStore(self.script)
        self.records = FakeRecords(self.script)
        self.records.stored[KEY] = MirrorRecord(KEY, UPSTREAM, State.STALE, BEGAN, BEGAN, upstream_digest=image.digest)
        self.upstream.serve(image, UPSTREAM)
        for each in referrers:
            self.push(each)
        self.request = refresh_request(image.root.descriptor, platforms=platforms)
        self.rules = rules([mirror(platforms=platforms)])
        self.waits: list[int] = []

    def push(self, artifact: LocalImage, tag: str | None = None) -> None:
        self.upstream.serve(artifact, f"ghcr.io/team/app{f':{tag}' if tag else f'@{artifact.digest}'}")

    def copy(self) -> None:
        self.target.ensure_repository(REPOSITORY)
        self.planned = planned = plan_copy(self.request, self.rules, self.upstream, self.target, self.plans)
        copy_unit = CopyUnit(self.upstream, self.target, self.plans, self.waits.append)
        for unit in (*planned.units, *planned.referrer_units):
            assert copy_unit(unit, lambda: 900.0).done

    def publish(self) -> PublishResult:
        asked = PublishRequest(self.request, self.planned.root)
        return publish_image(
            asked, self.rules, self.target, self.plans, self.records, FakeClock(BEGAN), self.waits.append
        )

    def run(self) -> ReferrersOutcome:
        self.copy()
        self.script.resume()
        self.target.pushes.clear()
        outcome = self.publish().referrers
        assert outcome is not None
        return outcome

    @property
    def served(self) -> str | None:
        return self.target.published_digests(REPOSITORY, ["1.0"]).get("1.0")

    def index(self, subject: LocalImage = IMAGE) -> list[Digest]:
        held = self.target.read_manifest(REPOSITORY, fallback_tag(subject.digest))
        return [] if held is None else list(entries_of(held.manifest.content))


def test_image_is_put_without_its_tag_then_referrers_then_the_tag() -> None:
    refresh = Refresh(BILL)
    refresh.push(SIGNATURE, SIG_TAG)
    outcome = refresh.run()
    assert refresh.target.pushes == [
        (IMAGE.digest, None),
        (BILL.digest, None),
        (SIGNATURE.digest, SIG_TAG),
        (IMAGE.digest, "1.0"),
    ]
    size = sum(len(each.root.content) + sum(map(len, map(each.read_blob, each.blobs))) for each in (BILL, SIGNATURE))
    assert (outcome.copied, outcome.bytes, outcome.failed) == (2, size, 0)
    assert outcome.subjects == (IMAGE.digest,)


def test_image_without_referrers_is_put_once() -> None:
    refresh = Refresh()
    assert refresh.run().copied == 0
    assert refresh.target.pushes == [(IMAGE.digest, "1.0")]


def test_exact_bytes_are_put() -> None:
    refresh = Refresh(BILL, BUNDLE)
    refresh.run()
    manifests = refresh.target.manifests(REPOSITORY)
    assert {each.digest: each.root.content for each in (BILL, BUNDLE)} == {
        each.digest: manifests[each.digest].content for each in (BILL, BUNDLE)
    }


def test_kill_before_any_call_is_retried_and_ends_the_same() -> None:
    refresh = Refresh(BILL, BUNDLE)
    refresh.target.has_referrers_api = False
    expected = refresh.run()
    for call in range(len(refresh.script.calls)):
        refresh = Refresh(BILL, BUNDLE)
        refresh.target.has_referrers_api = False
        refresh.copy()
        refresh.script.resume()
        refresh.script.kill_at = call
        with pytest.raises(Killed):
            refresh.publish()
        refresh.script.resume()
        assert refresh.served in (None, IMAGE.digest)
        assert refresh.publish().referrers == expected
        assert refresh.served == IMAGE.digest
        assert set(refresh.index()) == {BILL.digest, BUNDLE.digest}


class TestFailures:
    def test_refused_referrer_holds_nothing_back_and_is_reported(self) -> None:
        refresh = Refresh(BILL, BUNDLE)
        refresh.copy()
        refused = failed(ManifestRefusedError, "not supported", side=Side.TARGET)
        refresh.script.fail("put_manifest", refused, passing=1)
        outcome = refresh.publish().referrers
        assert outcome is not None
        assert refresh.served == IMAGE.digest
        assert (outcome.copied, outcome.failed) == (1, 1)
        assert [each.kind for each in outcome.troubles] == ["ManifestRefusedError"]

    def test_missing_blob_of_a_referrer_is_reported_with_its_cause(self) -> None:
        refresh = Refresh(BILL)
        refresh.upstream.forget_blob(list(BILL.blobs)[-1])
        outcome = refresh.run()
        assert refresh.served == IMAGE.digest
        assert (outcome.copied, outcome.failed) == (0, 1)
        assert outcome.troubles[0].kind == "NotFoundError"
        assert BILL.digest in outcome.troubles[0].text

    def test_wrong_blob_of_a_referrer_is_not_stored(self) -> None:
        refresh = Refresh(BILL)
        layer = list(BILL.blobs)[-1]
        refresh.upstream.serve_blob(layer, BILL.read_blob(layer)[:-1] + b"!")
        outcome = refresh.run()
        assert outcome.troubles[0].kind == "DigestMismatchError"
        assert layer not in refresh.target.blobs(REPOSITORY)
        assert refresh.served == IMAGE.digest

    def test_what_refers_to_something_that_failed_is_not_put(self) -> None:
        notary = artifacts.notation_signature(BILL.root.descriptor)
        refresh = Refresh(BILL, notary)
        refresh.upstream.forget_blob(list(BILL.blobs)[-1])
        outcome = refresh.run()
        assert (outcome.copied, outcome.failed) == (0, 2)
        assert notary.digest not in refresh.target.manifests(REPOSITORY)

    def test_failing_target_is_not_asked_for_every_referrer(self) -> None:
        many = [artifacts.sbom(OF, content=b"%d" % number) for number in range(20)]
        refresh = Refresh(*many)
        refresh.copy()
        down = failed(RegistryUnavailableError, side=Side.TARGET)
        refresh.script.fail("put_manifest", down, times=3, passing=1)
        refresh.script.resume()
        outcome = refresh.publish().referrers
        assert outcome is not None
        assert (outcome.copied, outcome.failed) == (0, 20)
        assert refresh.script.count("put_manifest") == 5
        assert refresh.served == IMAGE.digest

    def test_target_that_does_not_answer_about_referrers_holds_nothing_back(self) -> None:
        refresh = Refresh(BILL)
        refresh.copy()
        refresh.script.fail("present_manifests", failed(AccessDeniedError, side=Side.TARGET))
        outcome = refresh.publish().referrers
        assert outcome is not None
        assert (outcome.copied, outcome.failed, refresh.served) == (0, 1, IMAGE.digest)

    def test_troubles_are_bounded(self) -> None:
        many = [artifacts.sbom(OF, content=b"%d" % number) for number in range(50)]
        refresh = Refresh(*many)
        for each in many:
            refresh.upstream.forget_blob(list(each.blobs)[-1])
        outcome = refresh.run()
        assert (outcome.failed, len(outcome.troubles)) == (50, 3)


class TestTagsOfCosign:
    def test_tag_that_gained_a_signature_is_moved(self) -> None:
        refresh = Refresh()
        refresh.push(SIGNATURE, SIG_TAG)
        refresh.run()
        more = artifacts.cosign2_signature(OF, "release", "security")
        refresh.push(more, SIG_TAG)
        refresh.request = refresh_request(OF, episode=2)
        assert refresh.run().failed == 0
        assert refresh.target.published_digests(REPOSITORY, [SIG_TAG]) == {SIG_TAG: more.digest}

    def test_signature_that_others_put_there_is_not_lost(self) -> None:
        refresh = Refresh()
        own = artifacts.cosign2_signature(OF, "our team")
        refresh.push(own, SIG_TAG)
        refresh.run()
        refresh.push(SIGNATURE, SIG_TAG)
        refresh.request = refresh_request(OF, episode=2)
        outcome = refresh.run()
        assert refresh.target.published_digests(REPOSITORY, [SIG_TAG]) == {SIG_TAG: own.digest}
        assert [each.kind for each in outcome.troubles] == ["ConflictError"]
        assert "not overwritten" in outcome.troubles[0].text

    def test_mirror_of_such_a_tag_looks_for_no_referrers(self) -> None:
        assert not rules().referrers_of(REPOSITORY, SIG_TAG).copies_any


class TestFallbackTag:
    def test_tag_is_kept_where_the_target_has_no_api(self) -> None:
        notary = artifacts.notation_signature(BILL.root.descriptor)
        refresh = Refresh(BILL, BUNDLE, notary)
        refresh.target.has_referrers_api = False
        assert refresh.run().failed == 0
        assert refresh.index() == [BILL.digest, BUNDLE.digest]
        assert refresh.index(BILL) == [notary.digest]

    def test_no_tag_is_made_where_the_target_has_the_api(self) -> None:
        refresh = Refresh(BILL)
        refresh.run()
        assert refresh.index() == []

    def test_index_that_is_complete_is_not_written(self) -> None:
        refresh = Refresh(BILL)
        refresh.target.has_referrers_api = False
        refresh.run()
        refresh.request = refresh_request(OF, episode=2)
        refresh.run()
        assert [tag for _, tag in refresh.target.pushes if tag == fallback_tag(IMAGE.digest)] == []

    def test_tag_that_is_no_index_is_left_as_it_is(self) -> None:
        refresh = Refresh(BILL)
        refresh.target.has_referrers_api = False
        refresh.copy()
        refresh.target.put_manifest(REPOSITORY, IMAGE.root, fallback_tag(IMAGE.digest))
        outcome = refresh.publish().referrers
        assert outcome is not None
        assert [each.kind for each in outcome.troubles] == ["InvalidManifestError"]
        assert refresh.target.published_digests(REPOSITORY, [fallback_tag(IMAGE.digest)]) == {
            fallback_tag(IMAGE.digest): IMAGE.digest
        }


class Writers:
    """A target without the API, with others who write the same index."""

    def __init__(self, *, knows_versions: bool = False) -> None:
        self.target = FakeTarget()
        self.target.ensure_repository(REPOSITORY)
        self.target.knows_versions = knows_versions
        self.tag = fallback_tag(IMAGE.digest)
        for each in (BILL, BUNDLE, *OTHERS):
            self.target.hold(REPOSITORY, {blob: each.read_blob(blob) for blob in each.blobs})
            self.target.put_manifest(REPOSITORY, each.root, None)
        self.target.script.resume()

    def keep(self, wait: Callable[[int], None] = lambda _number: None) -> None:
        entries = {BILL.digest: listing_entry(BILL.root)}
        keep_fallback_tag(REPOSITORY, IMAGE.digest, entries, self.target, wait)

    def write(self, *artifacts_: LocalImage, forgetting: bool = False) -> None:
        """Write as a client that read the index before, or (`forgetting`) when it was empty."""
        held = None if forgetting else self.target.peek(REPOSITORY, self.tag)
        made = with_entries(
            held.content if held is not None else None, {each.digest: listing_entry(each.root) for each in artifacts_}
        )
        if made is not None:
            self.target.hold_manifest(REPOSITORY, made, self.tag)

    @property
    def index(self) -> set[Digest]:
        held = self.target.peek(REPOSITORY, self.tag)
        return set() if held is None else set(entries_of(held.content))


OTHERS = tuple(artifacts.sbom(OF, content=b"other %d" % number) for number in range(8))


class TestConcurrentWriters:
    def test_entries_of_others_are_kept(self) -> None:
        writers = Writers()
        writers.write(OTHERS[0])
        writers.keep()
        assert writers.index == {OTHERS[0].digest, BILL.digest}

    def test_entry_that_comes_between_read_and_write_is_kept_by_a_target_with_versions(self) -> None:
        writers = Writers(knows_versions=True)
        writers.write(OTHERS[0])
        writers.target.script.before("put_manifest", lambda: writers.write(OTHERS[1]))
        writers.keep()
        assert writers.index == {OTHERS[0].digest, OTHERS[1].digest, BILL.digest}

    def test_write_that_others_overwrite_at_once_is_repeated(self) -> None:
        writers = Writers()
        writers.target.script.before("read_manifest", lambda: writers.write(OTHERS[0], forgetting=True), passing=1)
        writers.keep()
        assert writers.index == {OTHERS[0].digest, BILL.digest}

    def test_write_that_others_overwrite_a_moment_later_is_repeated(self) -> None:
        writers = Writers()
        moments = itertools.count()
        writers.keep(lambda _: writers.write(OTHERS[0], forgetting=True) if next(moments) == 0 else None)
        assert writers.index == {OTHERS[0].digest, BILL.digest}

    def test_entry_that_was_seen_once_is_put_back(self) -> None:
        writers = Writers()
        writers.write(OTHERS[0])
        writers.target.script.before("read_manifest", lambda: writers.write(OTHERS[1], forgetting=True), passing=1)
        writers.keep()
        assert writers.index == {OTHERS[0].digest, OTHERS[1].digest, BILL.digest}

    def test_others_that_never_stop_are_reported(self) -> None:
        writers = Writers()
        numbers = itertools.count()
        for _ in range(20):
            writers.target.script.before(
                "read_manifest", lambda: writers.write(OTHERS[next(numbers) % 8], forgetting=True)
            )
        with pytest.raises(ConflictError, match="6 times"):
            writers.keep()

    def test_broken_index_is_not_overwritten(self) -> None:
        writers = Writers()
        broken = make_index([])
        content = broken.root.content.replace(b'"manifests": []', b'"manifests": 3')
        raw = broken.root._replace(content=content)
        writers.target.hold_manifest(REPOSITORY, raw, writers.tag)
        with pytest.raises(InvalidManifestError):
            writers.keep()


class TestPlatforms:
    AMD, ARM, S390 = (
        make_image(seed=seed, platform=platform)
        for seed, platform in ((5, "linux/amd64"), (6, "linux/arm64"), (7, "linux/s390x"))
    )
    INDEX = make_index([AMD, ARM, S390])

    def test_referrers_of_the_replaced_index_are_not_applicable(self) -> None:
        kept = artifacts.sbom(self.ARM.root.descriptor)
        of_index, of_dropped = (
            artifacts.cosign3_bundle(self.INDEX.root.descriptor),
            artifacts.sbom(self.S390.root.descriptor),
        )
        for platforms in (("linux/amd64", "linux/arm64"), ("linux/arm64",)):
            refresh = Refresh(kept, of_index, of_dropped, image=self.INDEX, platforms=platforms)
            outcome = refresh.run()
            assert (outcome.copied, outcome.not_applicable, outcome.failed) == (1, 1, 0)
            assert kept.digest in refresh.target.manifests(REPOSITORY)
            assert of_index.digest not in refresh.target.manifests(REPOSITORY)
            assert self.INDEX.digest not in outcome.subjects


class TestLate:
    def test_late_referrers_are_copied_alone_and_the_tag_is_left_alone(self) -> None:
        refresh = Refresh()
        refresh.run()
        refresh.target.move_tag(REPOSITORY, "1.0", digest("somebody else's"))
        refresh.push(BILL)
        refresh.request = refresh_request(OF, episode=1, late="x-0")
        refresh.upstream.script.resume()
        outcome = refresh.run()
        assert refresh.target.pushes == [(BILL.digest, None)]
        assert (outcome.copied, refresh.served) == (1, digest("somebody else's"))
        assert refresh.upstream.script.count("get_manifest") == 2  # the image's root, and the referrer

    def test_children_are_found_without_reading_them(self) -> None:
        refresh = Refresh(image=TestPlatforms.INDEX)
        refresh.run()
        refresh.push(artifacts.sbom(TestPlatforms.ARM.root.descriptor))
        refresh.request = refresh_request(TestPlatforms.INDEX.root.descriptor, late="x-0")
        refresh.upstream.script.resume()
        outcome = refresh.run()
        assert outcome.copied == 1
        assert set(outcome.subjects) == set(TestPlatforms.INDEX.manifests)
        assert refresh.upstream.script.count("get_manifest") == 2
