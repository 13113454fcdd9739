"""An upstream whose limit is nearly used up: the oldest stale goes first, the rest is put off, and nothing fails."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest

from local.images import LocalImage, make_image, make_index
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import State
from tests.scenarios.deployment import CHECK_EVERY, TAG, rules_text
from tests.scenarios.scene import Scene

TAGS = ("1.0", "2.0", "3.0")
IMAGE, NEXT = make_image([1000], seed=1), make_image([1000], seed=2)
INDEX = make_index([IMAGE, make_image([1000], seed=3, platform="linux/arm64")])
WINDOW = timedelta(hours=1)
FOR_GOOD = 10_000


def serve(scene: Scene, image: LocalImage, *tags: str) -> None:
    for tag in tags:
        scene.upstream.push(image, scene.mirror.path, tag)


def say(scene: Scene, served: Mapping[str, LocalImage], remaining: int) -> None:
    """Let upstream say with each HEAD what is left of a hundred requests, of which ten are the reserve."""
    scene.upstream.clear_faults()
    for tag, image in served.items():
        headers = limit_headers(image, remaining)
        scene.upstream.fail("HEAD", f"/manifests/{tag}$", 200, times=FOR_GOOD, headers=headers)


def limit_headers(image: LocalImage, remaining: int) -> dict[str, str]:
    descriptor, seconds = image.root.descriptor, int(WINDOW.total_seconds())
    return {
        "Content-Type": descriptor.media_type,
        "Docker-Content-Digest": descriptor.digest,
        "Content-Length": str(descriptor.size),  # a HEAD that says 0 is not believed, and a GET is asked
        "ratelimit-limit": f"100;w={seconds}",
        "ratelimit-remaining": f"{remaining};w={seconds}",
    }


def check(scene: Scene, after: timedelta = CHECK_EVERY) -> None:
    """Let time pass, and check all three tags in one batch."""
    scene.aws.clock.advance(after.total_seconds())
    now = scene.aws.clock.now()
    request = CheckRequest(reason="schedule", repository=scene.repository, tags=TAGS, asked_at=now)
    scene.send(request.to_json())
    scene.settle()


def in_ecr(scene: Scene) -> dict[str, str]:
    wanted = [{"imageTag": tag} for tag in TAGS]
    found = scene.aws.client("ecr").describe_images(repositoryName=scene.repository, imageIds=wanted)["imageDetails"]
    return {tag: image["imageDigest"] for image in found for tag in image["imageTags"]}


class TestThreeStaleTags:
    @pytest.fixture
    def near(self, scene: Scene) -> Iterator[Scene]:
        """Three mirrors that are fresh, of an upstream that is near its reserve."""
        names = ", ".join(f'"{tag}"' for tag in TAGS)
        text = rules_text(scene.mirror).replace(f'["{TAG}"]', f"[{names}]")
        with scene.deployment.rules(text, "CheckFreshness", "PlanCopy", "RecordOutcome"):
            serve(scene, IMAGE, *TAGS)
            check(scene)
            assert in_ecr(scene) == dict.fromkeys(TAGS, IMAGE.digest)
            yield scene

    def test_longest_stale_is_refreshed_first_and_the_others_after_the_window(self, near: Scene) -> None:
        serve(near, NEXT, "2.0")
        say(near, {"1.0": IMAGE, "2.0": NEXT, "3.0": IMAGE}, remaining=10)
        check(near)
        assert near.record("2.0").state is State.STALE
        serve(near, NEXT, "1.0", "3.0")
        say(near, dict.fromkeys(TAGS, NEXT), remaining=11)
        check(near)
        assert in_ecr(near) == {"1.0": IMAGE.digest, "2.0": NEXT.digest, "3.0": IMAGE.digest}
        assert len(near.executions()) == 4

        put_off = [near.record(tag) for tag in ("1.0", "3.0")]
        say(near, dict.fromkeys(TAGS, NEXT), remaining=10)
        check(near)
        assert [near.record(tag) for tag in ("1.0", "3.0")] == put_off
        assert [record.failure for record in put_off] == [None, None]
        assert len(near.executions()) == 4

        near.upstream.clear_faults()
        check(near, WINDOW)
        assert in_ecr(near) == dict.fromkeys(TAGS, NEXT.digest)
        assert {execution["status"] for execution in near.executions()} == {"SUCCEEDED"}
        assert near.deployment.dead_letters() == []


def test_refresh_that_meets_the_reserve_is_deferred_and_is_no_failure(scene: Scene) -> None:
    scene.serve(INDEX)
    headers = limit_headers(INDEX, remaining=10)
    scene.upstream.fail("GET", "/manifests/", 200, headers=headers, body=INDEX.root.content)
    scene.check()
    assert (scene.upstream.count("GET", "/manifests/"), len(scene.plans())) == (1, 1)
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    record = scene.record()
    assert record.failure is not None
    assert (record.state, record.failure.kind, record.failure.count) == (State.MISSING, "DeferredError", 0)
    scene.check(CHECK_EVERY)
    assert len(scene.executions()) == 1
    assert scene.alerts() == []
    scene.check(WINDOW)
    scene.serves(INDEX)
    assert scene.alerts() == []  # `alert_after` is an hour, but the mirror recovered before the alert was sent
