"""How a copy is published: never in part, never over a newer one, never with other bytes."""

from functools import partial

import msgspec
import pytest

from local.images import LocalImage, make_image, make_index
from pullahead.errors import (
    ConflictError,
    MissingContentError,
    NoLongerWantedError,
    RateLimitedError,
    StorageError,
    TagImmutableError,
)
from pullahead.messages import PublishRequest, PublishResult
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import Digest, parse_reference
from pullahead.refresh.plan import CopyPlan, manifest_key, plan_copy, plan_key
from pullahead.refresh.publish import publish_image
from pullahead.rules.model import NO_REFERRERS, Rules
from tests.fakes.memory import FakeClock, FakePlanStore, FakeRecords
from tests.fakes.refreshes import BEGAN, refresh_request
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, digest, failed, mirror, rules
from tests.fakes.script import Killed, Script
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream

AMD, ARM = make_image(seed=1), make_image(seed=2, platform="linux/arm64")
INDEX = make_index([AMD, ARM])


class Publishing:
    """An index that was planned and whose blobs were copied."""

    def __init__(self, image: LocalImage = INDEX, platforms: tuple[str, ...] = ()) -> None:
        self.script = Script()
        self.image = image
        self.request = refresh_request(image.root.descriptor, episode=3, platforms=platforms)
        self.target, self.plans = FakeTarget(self.script), FakePlanStore(self.script)
        self.records = FakeRecords(self.script)
        self.waits: list[int] = []
        known = MirrorRecord(
            KEY, UPSTREAM, State.STALE, BEGAN, BEGAN, upstream_digest=image.digest, published_digest=None, episode=3
        )
        self.records.stored[KEY] = known.with_changes(platforms=platforms)
        upstream = FakeUpstream()
        upstream.serve(image, UPSTREAM)
        self.rules = rules([mirror(platforms=platforms)._replace(referrers=NO_REFERRERS)])
        self.target.ensure_repository(REPOSITORY)
        self.planned = plan_copy(self.request, self.rules, upstream, self.target, self.plans)
        self.target.hold(REPOSITORY, {digest: image.read_blob(digest) for digest in image.blobs})
        self.script.resume()

    def run(self) -> PublishResult:
        asked = PublishRequest(self.request, self.planned.root)
        return publish_image(
            asked, self.rules, self.target, self.plans, self.records, FakeClock(BEGAN), self.waits.append
        )

    def show_tag(self, shown: Digest) -> None:
        self.target.move_tag(REPOSITORY, "1.0", shown)

    @property
    def served(self) -> str | None:
        return self.target.published_digests(REPOSITORY, ["1.0"]).get("1.0")


def test_children_are_put_before_the_root_and_only_the_root_has_the_tag() -> None:
    publishing = Publishing()
    assert publishing.run() == PublishResult(INDEX.digest)
    assert publishing.target.pushes == [(AMD.digest, None), (ARM.digest, None), (INDEX.digest, "1.0")]
    stored = publishing.target.manifests(REPOSITORY)
    assert {d: m.content for d, m in stored.items()} == {d: m.content for d, m in INDEX.manifests.items()}


def test_kill_before_any_call_never_publishes_a_part_and_is_retried() -> None:
    publishing = Publishing()
    publishing.run()
    for call in range(len(publishing.script.calls)):
        publishing = Publishing()
        publishing.target.move_tag(REPOSITORY, "1.0", digest("old"))
        publishing.script.kill_at = call
        with pytest.raises(Killed):
            publishing.run()
        publishing.script.resume()
        assert publishing.served in (digest("old"), INDEX.digest)
        assert publishing.run() == PublishResult(INDEX.digest)
        assert publishing.served == INDEX.digest


def test_image_can_be_published_again() -> None:
    publishing = Publishing()
    assert publishing.run() == publishing.run()


class TestSuperseded:
    def test_tag_is_not_moved_back_from_a_newer_digest(self) -> None:
        publishing = Publishing()
        publishing.target.move_tag(REPOSITORY, "1.0", digest("newer"))
        known = publishing.records.stored[KEY]
        publishing.records.stored[KEY] = known.with_changes(upstream_digest=digest("newer"), episode=4)
        assert publishing.run() == PublishResult(INDEX.digest, superseded=True)
        assert publishing.served == digest("newer")

    def test_record_is_read_between_the_children_and_the_root(self) -> None:
        publishing = Publishing()
        known = publishing.records.stored[KEY]

        def upstream_moves() -> None:
            publishing.records.stored[KEY] = known.with_changes(upstream_digest=digest("newer"), episode=4)

        publishing.script.before("put_manifest", upstream_moves, passing=1)
        assert publishing.run().superseded
        assert publishing.served is None

    @pytest.mark.parametrize("change", [{"state": State.UNKNOWN}, {"alerted": ("STALE",)}, {"upstream_digest": None}])
    def test_unrelated_change_of_the_record_does_not_stop_it(self, change: dict[str, object]) -> None:
        publishing = Publishing()
        publishing.records.stored[KEY] = publishing.records.stored[KEY].with_changes(episode=9, **change)
        assert not publishing.run().superseded

    def test_record_that_is_no_newer_than_the_request_does_not_stop_it(self) -> None:
        publishing = Publishing()
        known = publishing.records.stored[KEY]
        publishing.records.stored[KEY] = known.with_changes(upstream_digest=digest("older"))
        assert not publishing.run().superseded

    def test_missing_record_does_not_stop_it(self) -> None:
        publishing = Publishing()
        publishing.records.stored.clear()
        assert not publishing.run().superseded


class TestPlatforms:
    LARGE = make_index([AMD, ARM, make_image(seed=3, platform="linux/s390x")])
    TWO = ("linux/amd64", "linux/arm64")

    def test_smaller_index_is_published_and_its_digest_returned(self) -> None:
        publishing = Publishing(self.LARGE, self.TWO)
        result = publishing.run()
        assert result.digest == publishing.served != self.LARGE.digest
        assert publishing.target.pushes == [(AMD.digest, None), (ARM.digest, None), (result.digest, "1.0")]

    def test_one_platform_is_published_under_its_own_digest(self) -> None:
        publishing = Publishing(self.LARGE, ("linux/arm64",))
        assert publishing.run() == PublishResult(ARM.digest)
        assert publishing.target.pushes == [(ARM.digest, "1.0")]

    def test_tag_is_not_moved_where_other_platforms_were_requested_meanwhile(self) -> None:
        publishing = Publishing(self.LARGE, self.TWO)
        known = publishing.records.stored[KEY]
        publishing.records.stored[KEY] = known.with_changes(platforms=("linux/amd64",), episode=4)
        assert publishing.run().superseded
        assert publishing.served is None


class TestTampered:
    def test_manifest_with_other_bytes_is_refused_and_the_tag_does_not_move(self) -> None:
        publishing = Publishing()
        key = manifest_key(publishing.request.name, INDEX.digest)
        publishing.plans.objects[key] = publishing.plans.objects[key].replace(b"linux", b"minix")
        with pytest.raises(StorageError, match="does not have its digest"):
            publishing.run()
        assert publishing.served is None

    def test_plan_that_ends_in_another_manifest_is_refused_before_anything_is_put(self) -> None:
        publishing = Publishing()
        key = plan_key(publishing.request.name)
        plan = msgspec.json.decode(publishing.plans.objects[key], type=CopyPlan)
        publishing.plans.objects[key] = msgspec.json.encode(msgspec.structs.replace(plan, manifests=plan.manifests[:1]))
        with pytest.raises(StorageError, match=f"does not end in {INDEX.digest}"):
            publishing.run()
        assert publishing.target.pushes == []

    def test_plan_of_another_image_for_a_rule_with_platforms_is_refused(self) -> None:
        """Of what upstream has, only the plan says what is published; so the state machine carries its digest."""
        platforms = ("linux/amd64",)
        publishing, theirs = Publishing(INDEX, platforms), Publishing(ARM)
        plan = theirs.plans.objects[plan_key(theirs.request.name)]
        publishing.plans.objects[plan_key(publishing.request.name)] = plan
        stored = theirs.plans.objects[manifest_key(theirs.request.name, ARM.digest)]
        publishing.plans.objects[manifest_key(publishing.request.name, ARM.digest)] = stored
        with pytest.raises(StorageError, match=f"does not end in {AMD.digest}"):
            publishing.run()
        assert publishing.target.pushes == []

    def test_root_that_is_not_upstreams_is_refused_for_a_rule_without_platforms(self) -> None:
        publishing = Publishing()
        key = plan_key(publishing.request.name)
        plan = msgspec.json.decode(publishing.plans.objects[key], type=CopyPlan)
        publishing.plans.objects[key] = msgspec.json.encode(msgspec.structs.replace(plan, manifests=plan.manifests[:1]))
        publishing.planned = msgspec.structs.replace(publishing.planned, root=AMD.digest)
        with pytest.raises(StorageError, match=f"does not end in {INDEX.digest}"):
            publishing.run()
        assert publishing.target.pushes == []

    @pytest.mark.parametrize("content", [b"", b"{}", b'{"manifests":[],"units":[],"bytesMissing":0}', b"\xff"])
    def test_plan_that_cannot_be_read_is_refused(self, content: bytes) -> None:
        publishing = Publishing()
        publishing.plans.objects[plan_key(publishing.request.name)] = content
        with pytest.raises(StorageError):
            publishing.run()

    def test_empty_plan_is_refused(self) -> None:
        publishing = Publishing()
        publishing.plans.objects[plan_key(publishing.request.name)] = msgspec.json.encode(CopyPlan((), (), 0, 0))
        with pytest.raises(StorageError):
            publishing.run()


def test_missing_blob_is_refused_and_the_tag_does_not_move() -> None:
    publishing = Publishing()
    publishing.target.drop_repository(REPOSITORY)
    publishing.target.ensure_repository(REPOSITORY)
    with pytest.raises(MissingContentError):
        publishing.run()
    assert publishing.target.pushes == []


def test_immutable_tag_is_not_moved() -> None:
    publishing = Publishing()
    publishing.target.move_tag(REPOSITORY, "1.0", digest("old"))
    publishing.target.make_immutable(REPOSITORY)
    with pytest.raises(TagImmutableError):
        publishing.run()
    assert publishing.served == digest("old")


def test_tag_that_is_overwritten_at_once_is_an_error() -> None:
    publishing = Publishing()
    publishing.script.before(
        "published_digests", lambda: publishing.target.move_tag(REPOSITORY, "1.0", digest("theirs"))
    )
    with pytest.raises(ConflictError, match="Find out who else writes this tag"):
        publishing.run()
    assert publishing.waits == [1, 2, 3]


@pytest.mark.parametrize("stale_looks", [1, 3])
def test_tag_that_is_seen_late_is_looked_at_again(stale_looks: int) -> None:
    publishing = Publishing()
    publishing.target.move_tag(REPOSITORY, "1.0", digest("old"))
    for _ in range(stale_looks):
        publishing.script.before("published_digests", partial(publishing.show_tag, digest("old")))
    publishing.script.before("published_digests", partial(publishing.show_tag, INDEX.digest))
    assert publishing.run() == PublishResult(INDEX.digest)
    assert publishing.waits == list(range(1, stale_looks + 1))


def test_interrupted_publish_puts_only_what_is_missing() -> None:
    images = [make_image(seed=seed, platform=f"linux/{seed}") for seed in range(20)]
    publishing = Publishing(make_index(images))
    for _ in range(5):
        publishing.script.fail("put_manifest", failed(RateLimitedError), passing=4)
        with pytest.raises(RateLimitedError):
            publishing.run()
    assert publishing.run() == PublishResult(publishing.image.digest)
    wanted = [*(each.digest for each in images), publishing.image.digest]
    assert [pushed for pushed, _ in publishing.target.pushes] == wanted


def test_throttled_put_succeeds_when_it_is_retried() -> None:
    publishing = Publishing()
    publishing.script.fail("put_manifest", failed(RateLimitedError), after=True, passing=1)
    with pytest.raises(RateLimitedError):
        publishing.run()
    assert publishing.run() == PublishResult(INDEX.digest)


class TestNoLongerWanted:
    """The rules have changed since the refresh was requested."""

    @pytest.mark.parametrize(
        "known",
        [
            rules([]),
            rules([mirror("2.0")]),
            rules([mirror(repository="mirror/other")]),
            rules([mirror(platforms=("linux/amd64",))]),
            rules([mirror()._replace(upstream=parse_reference("ghcr.io/other/app:1.0"))]),
        ],
    )
    def test_nothing_is_published(self, known: Rules) -> None:
        publishing = Publishing()
        publishing.rules = known
        with pytest.raises(NoLongerWantedError, match=r"mirror/app:1\.0 is no longer wanted"):
            publishing.run()
        assert publishing.script.calls == []

    def test_newly_cached_tag_is_published_before_the_rules_name_it(self) -> None:
        publishing = Publishing()
        asked = PublishRequest(publishing.request, publishing.planned.root)
        result = publish_image(
            asked,
            rules([]),
            publishing.target,
            publishing.plans,
            publishing.records,
            FakeClock(BEGAN),
            publishing.waits.append,
            lambda _repository, _tag: mirror(),
        )
        assert result == PublishResult(INDEX.digest)
