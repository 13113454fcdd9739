"""What comes into the checks queue, good or bad: every message ends in a check, in nothing, or in the DLQ."""

import json

from local.images import make_image, make_index
from pullahead.messages import CheckRequest
from tests.scenarios.deployment import TAG, rules_text
from tests.scenarios.scene import Scene

IMAGE = make_image(seed=1)
INDEX = make_index([make_image(seed=2), make_image(seed=3, platform="linux/arm64")])


def test_only_the_tag_of_a_pushed_index_is_checked(scene: Scene) -> None:
    scene.aws.client("ecr").create_repository(repositoryName=scene.repository)
    scene.push_by_hand(INDEX)
    scene.settle()
    assert scene.ecr.calls.count("v2:PutManifest", scene.repository) == len(INDEX.manifests)
    assert [digest_in(body) for body in checked(scene)] == [INDEX.digest]
    assert scene.upstream.count("HEAD") == 1


def test_children_that_a_refresh_publishes_are_not_checked(scene: Scene) -> None:
    scene.serve(INDEX)
    scene.check()
    assert scene.ecr.calls.count("PutImage", scene.repository) == len(INDEX.manifests)
    # What was asked for, and then the root's own push.
    assert [digest_in(body) for body in checked(scene)] == [None, INDEX.digest]
    scene.serves(INDEX)


def test_push_to_a_repository_without_a_rule_causes_no_request(scene: Scene) -> None:
    scene.aws.client("ecr").create_repository(repositoryName="team/own")
    scene.push_by_hand(IMAGE, "team/own")
    scene.settle()
    assert len(scene.runs("CheckFreshness")) == 1
    assert scene.upstream.requests == []
    assert scene.ecr.calls.count("DescribeImages") == 0


def test_check_of_a_mirror_without_a_rule_causes_no_request(scene: Scene) -> None:
    scene.send(check_of(scene, "mirror/no-longer"))
    scene.settle()
    assert len(scene.runs("CheckFreshness")) == 1
    assert scene.upstream.requests == []
    assert scene.deployment.dead_letters() == []


def test_schedule_checks_and_refreshes_a_due_mirror(scene: Scene) -> None:
    scene.serve(IMAGE)
    with scene.deployment.rules(rules_text(scene.mirror), "ScheduleChecks"):
        scene.fire_schedule()
        assert [run.payload for run in scene.runs("ScheduleChecks")] == [{"mirrors": 1, "due": 1}]
    scene.serves(IMAGE)


def checked(scene: Scene) -> list[str]:
    """List the messages that check_freshness was given in this scenario, as often as it was given them.

    That a refresh has ended is none of those that are checked.
    """
    bodies = [record["body"] for run in scene.runs("CheckFreshness") for record in run.event["Records"]]
    return [body for body in bodies if '"fill"' not in body]


def digest_in(body: str) -> str | None:
    """Name the digest that a message is about: what an event of ECR says was pushed, or nothing for our own check."""
    message = json.loads(body)
    digest: str | None = message["detail"]["image-digest"] if "detail" in message else message.get("digest")
    return digest


def check_of(scene: Scene, repository: str) -> str:
    request = CheckRequest(reason="schedule", repository=repository, tags=(TAG,), asked_at=scene.aws.clock.now())
    return request.to_json()
