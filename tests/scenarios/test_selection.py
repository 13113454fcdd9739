"""Tags that the rules choose rather than name, of some platforms, or that never move: through the whole stack."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from local.images import LocalImage, make_image, make_index
from pullahead.messages import ListRequest
from pullahead.mirrors.record import State
from tests.scenarios.deployment import ALERT_AFTER, CHECK_EVERY, SETTLED_AFTER, TAG, rules_text
from tests.scenarios.scene import Scene

AMD, ARM = make_image([20_000], seed=1), make_image([20_000], seed=2, platform="linux/arm64")
S390X = make_image([20_000], seed=3, platform="linux/s390x")
INDEX = make_index([AMD, ARM, S390X])
ALL = ("ScheduleChecks", "CheckFreshness", "PlanCopy", "RecordOutcome")
NEWEST = 'tags: [{semver: ">=1"}]\n    newest: 2\n    min_tags: 2'


@contextmanager
def ruled(scene: Scene, *lines: str, tags: str = f'tags: ["{TAG}"]') -> Iterator[None]:
    """Let the rules be the scene's own, with other tags and more lines."""
    text = rules_text(scene.mirror).replace(f'tags: ["{TAG}"]', "\n    ".join((tags, *lines)))
    with scene.deployment.rules(text, *ALL):
        yield


def serve(scene: Scene, *tags: str) -> dict[str, LocalImage]:
    """Let upstream have tags, each an image of its own."""
    images = {tag: make_image([1000], seed=int(tag.replace(".", ""))) for tag in tags}
    for tag, image in images.items():
        scene.upstream.push(image, scene.mirror.path, tag)
    return images


def in_ecr(scene: Scene) -> dict[str, str]:
    """Which tags ECR has, with their digests."""
    ecr = scene.aws.client("ecr")
    pages = ecr.get_paginator("describe_images").paginate(
        repositoryName=scene.repository, filter={"tagStatus": "TAGGED"}
    )
    return {tag: image["imageDigest"] for page in pages for image in page["imageDetails"] for tag in image["imageTags"]}


def alerts_of(scene: Scene) -> set[tuple[str, str]]:
    """Take the alerts: about what, and of which kind."""
    return {(alert.mirror, alert.kind) for alert in scene.deployment.alerts()}


class TestChosenTags:
    @pytest.fixture
    def chosen(self, scene: Scene) -> Iterator[Scene]:
        with ruled(scene, tags=NEWEST):
            serve(scene, "1.0", "1.1", "1.2", "0.9")
            scene.fire_schedule()
            yield scene

    def test_newest_are_mirrored_and_the_next_one_as_soon_as_upstream_has_it(self, chosen: Scene) -> None:
        before = in_ecr(chosen)
        assert before.keys() == {"1.1", "1.2"}
        added = serve(chosen, "1.3")
        chosen.fire_schedule()
        assert in_ecr(chosen) == before | {"1.3": added["1.3"].digest}  # the copy of 1.1 stays
        chosen.upstream.forget_requests()
        chosen.fire_schedule(SETTLED_AFTER)
        asked = [request.path.rpartition("/")[2] for request in chosen.upstream.requests]
        assert sorted(asked) == ["1.2", "1.3", "list"]

    def test_shrunk_listing_removes_no_mirror_and_is_alerted(self, chosen: Scene) -> None:
        before = in_ecr(chosen)
        chosen.upstream.delete_tag(chosen.mirror.path, "1.0")
        chosen.upstream.delete_tag(chosen.mirror.path, "1.1")
        chosen.fire_schedule()
        # What was chosen is checked all the same. The listing itself may be whole again in a moment.
        assert alerts_of(chosen) == {(f"{chosen.repository}:1.1", "GONE")}
        chosen.fire_schedule(ALERT_AFTER + CHECK_EVERY)
        ((listing, kind),) = alerts_of(chosen)
        assert kind == "UNLISTED"
        assert listing == f"{chosen.repository} ({chosen.mirror.host}/{chosen.mirror.path}):*"
        assert in_ecr(chosen) == before
        serve(chosen, "1.1", "1.4")
        chosen.fire_schedule()
        assert alerts_of(chosen) == {(listing, "RECOVERED")}
        assert in_ecr(chosen).keys() == {"1.1", "1.2", "1.4"}

    def test_push_of_a_matching_tag_that_is_not_selected_is_ignored(self, chosen: Scene) -> None:
        chosen.upstream.forget_requests()
        chosen.push_by_hand(AMD, tag="0.9")  # which upstream has too
        chosen.settle()
        assert chosen.upstream.requests == []
        assert in_ecr(chosen)["0.9"] == AMD.digest


class TestNamespace:
    def test_registry_without_a_catalog_is_alerted_once_by_the_stack(self, scene: Scene) -> None:
        scene.upstream.lists_repositories = False
        path = scene.mirror.path
        text = rules_text(scene.mirror._replace(path=f"{path}/*", repository=f"{scene.repository}/{{name}}"))
        with scene.deployment.rules(text, *ALL):
            for _ in range(3):
                scene.fire_schedule()
        (alert,) = scene.deployment.alerts()
        assert alert.kind == "UNLISTED"
        assert "does not list its repositories" in alert.text
        assert "Name its repositories" in alert.text

    def test_repositories_below_are_followed_and_new_ones_found(self, scene: Scene) -> None:
        path = scene.mirror.path
        text = rules_text(scene.mirror._replace(path=f"{path}/*", repository=f"{scene.repository}/{{name}}"))
        with scene.deployment.rules(text, *ALL):
            scene.upstream.push(AMD, f"{path}/one", TAG)
            scene.fire_schedule()
            scene.upstream.push(ARM, f"{path}/two", TAG)
            scene.fire_schedule()
        for name, image in (("one", AMD), ("two", ARM)):
            found = scene.aws.client("ecr").describe_images(repositoryName=f"{scene.repository}/{name}")["imageDetails"]
            assert [(each["imageDigest"], each["imageTags"]) for each in found] == [(image.digest, [TAG])]


class TestPlatforms:
    def test_smaller_index_is_published_and_stays_fresh(self, scene: Scene) -> None:
        scene.serve(INDEX)
        with ruled(scene, "platforms: [linux/amd64, linux/arm64]"):
            scene.check()
            published = scene.pull()
            assert published.digest != INDEX.digest
            assert (published.manifests, published.blobs) == (3, len({*AMD.blobs, *ARM.blobs}))
            record = scene.record()
            assert (record.state, record.upstream_digest) == (State.FRESH, INDEX.digest)
            assert record.published_digest == published.digest
            scene.upstream.forget_requests()
            scene.check(SETTLED_AFTER)
            assert [request.method for request in scene.upstream.requests] == ["HEAD"]
            assert scene.record() == record
        assert len(scene.executions()) == 1

    def test_changed_platforms_are_published_once(self, scene: Scene) -> None:
        scene.serve(INDEX)
        with ruled(scene, "platforms: [linux/amd64, linux/arm64]"):
            scene.check()
        with ruled(scene, "platforms: [linux/arm64]"):
            scene.check(CHECK_EVERY)
            scene.check(CHECK_EVERY)
            scene.serves(ARM)
        with ruled(scene):
            scene.check(CHECK_EVERY)
            scene.serves(INDEX)
        assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"] * 3

    def test_missing_platform_blocks_the_mirror_until_the_rules_are_corrected(self, scene: Scene) -> None:
        scene.serve(INDEX)
        with ruled(scene, "platforms: [linux/amd64, linux/riscv64]"):
            scene.check()
            (alert,) = scene.alerts()
            assert alert.kind == "BLOCKED"
            assert "has no platform linux/riscv64; it has linux/amd64, linux/arm64, linux/s390x" in alert.text
        with ruled(scene, "platforms: [linux/amd64]"):
            scene.check(CHECK_EVERY)
            scene.serves(AMD)
        assert [alert.kind for alert in scene.alerts()] == ["RECOVERED"]


class TestImmutable:
    def test_immutable_tag_is_requested_once_and_restored_when_deleted(self, scene: Scene) -> None:
        scene.serve(AMD)
        with ruled(scene, 'immutable_tags: ["1.*"]'):
            scene.check()
            scene.aws.clock.advance(SETTLED_AFTER.total_seconds())
            scene.upstream.forget_requests()
            for _ in range(5):
                scene.check(timedelta(hours=1))
            assert scene.upstream.requests == []
            scene.aws.client("ecr").batch_delete_image(repositoryName=scene.repository, imageIds=[{"imageTag": TAG}])
            scene.check(timedelta(hours=1))
            scene.serves(AMD)
            scene.upstream.forget_requests()
            scene.check(timedelta(hours=1))
            assert scene.upstream.requests == []


def test_repository_is_made_by_the_creation_template_of_its_prefix(scene: Scene) -> None:
    scene.aws.client("ecr").create_repository_creation_template(
        prefix="mirror", appliedFor=["PULL_THROUGH_CACHE"], imageTagMutability="IMMUTABLE"
    )
    scene.serve(AMD)
    scene.check()
    (made,) = scene.aws.client("ecr").describe_repositories(repositoryNames=[scene.repository])["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"


def test_listing_of_a_removed_rule_is_not_retried(scene: Scene) -> None:
    scene.send(ListRequest(rule="gone", asked_at=scene.aws.clock.now()).to_json())
    scene.settle()
    assert len(scene.runs("CheckFreshness")) == 1
    assert scene.deployment.dead_letters() == []
