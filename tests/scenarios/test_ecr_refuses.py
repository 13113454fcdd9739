"""ECR refuses: it throttles, for a moment or for good, or the tag may not be moved."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from local.ecr.errors import EcrError
from local.ecr.faults import Call
from local.images import SparseBlob, make_image, make_index
from pullahead.freshness.records import State
from tests.scenarios.deployment import ALERT_AFTER, CHECK_EVERY
from tests.scenarios.scene import PART_BYTES, Scene

IMAGE, NEXT = make_image([SparseBlob(PART_BYTES + 1, seed=5)], seed=1), make_image(seed=2)
MORE_THAN_ONE_CALL_IS_TRIED = 6  # pullahead.wiring: 5 attempts
BLOCKED_RETRY = timedelta(hours=6)


def throttled(_: Call) -> None:
    raise EcrError("ThrottlingException", "Rate exceeded")


@pytest.mark.parametrize("operation", ["DescribeImages", "BatchCheckLayerAvailability", "UploadLayerPart", "PutImage"])
def test_ecr_throttles_for_a_while(scene: Scene, operation: str) -> None:
    scene.serve(IMAGE)
    scene.ecr.faults.add(operation, "ThrottlingException", times=MORE_THAN_ONE_CALL_IS_TRIED)
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    scene.serves(IMAGE)
    assert scene.alerts() == []
    assert scene.deployment.dead_letters() == []


def test_ecr_answers_500_for_a_moment(scene: Scene) -> None:
    index = make_index([make_image(seed=21), make_image(seed=22, platform="linux/arm64")])
    scene.serve(index)
    for operation in ("DescribeImages", "InitiateLayerUpload", "CompleteLayerUpload", "PutImage"):
        scene.ecr.faults.add(operation, "ServerException", after=True)  # it was done, and only the answer is lost
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    scene.serves(index)


def test_throttled_checks_are_put_aside_and_not_lost(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.ecr.faults.before("DescribeImages", throttled)
    scene.check()
    (letter,) = scene.deployment.dead_letters()
    assert scene.repository in letter
    assert scene.executions() == []

    scene.ecr.faults.clear()
    scene.send(letter)  # as a redrive of the dead-letter queue does
    scene.settle()
    scene.serves(IMAGE)


def test_throttled_publish_fails_is_told_and_is_tried_again(scene: Scene) -> None:
    scene.serve(NEXT)
    scene.ecr.faults.before("PutImage", throttled)
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["FAILED"]
    scene.is_not_published()
    assert scene.alerts() == []

    scene.ecr.faults.clear()
    scene.ecr.faults.before("PutImage", _refuse("LimitExceededException"))
    scene.aws.clock.advance(ALERT_AFTER.total_seconds())
    scene.check()
    assert scene.alert_kinds() == ["STALE"]

    scene.ecr.faults.clear()
    scene.check(ALERT_AFTER)
    scene.serves(NEXT)
    assert scene.alert_kinds() == ["RECOVERED"]


def test_tag_is_immutable_until_a_human_acts(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.check()
    _set_mutability(scene, "IMMUTABLE")
    scene.serve(NEXT)
    scene.check(CHECK_EVERY)
    assert scene.record().state is State.BLOCKED
    (alert,) = scene.alerts()
    assert alert.kind == "BLOCKED"
    assert "mutable" in alert.text
    attempts = len(scene.tag_moves())
    for _ in range(3):
        scene.check(CHECK_EVERY)
    assert len(scene.tag_moves()) == attempts
    scene.check(BLOCKED_RETRY)
    assert scene.alerts() == []
    scene.keeps(IMAGE)

    _set_mutability(scene, "MUTABLE")
    scene.check(BLOCKED_RETRY)
    scene.serves(NEXT)
    assert scene.alert_kinds() == ["RECOVERED"]


def test_repository_vanishes_between_checks(scene: Scene) -> None:
    scene.serve(NEXT)
    scene.check()
    scene.aws.client("ecr").delete_repository(repositoryName=scene.repository, force=True)
    scene.check(CHECK_EVERY)
    scene.serves(NEXT)
    assert scene.alerts() == []


def test_tag_is_deleted_in_ecr(scene: Scene) -> None:
    scene.serve(NEXT)
    scene.check()
    scene.aws.client("ecr").batch_delete_image(repositoryName=scene.repository, imageIds=[{"imageTag": "1.0"}])
    scene.is_not_published()
    scene.check(CHECK_EVERY)
    scene.serves(NEXT)


def test_access_to_ecr_is_denied(scene: Scene) -> None:
    scene.serve(NEXT)
    scene.ecr.faults.before("InitiateLayerUpload", _refuse("AccessDeniedException"))
    scene.check()
    assert scene.record().state is State.BLOCKED
    assert scene.alert_kinds() == ["BLOCKED"]
    scene.is_not_published()

    scene.ecr.faults.clear()
    scene.check(BLOCKED_RETRY)
    scene.serves(NEXT)
    assert scene.alert_kinds() == ["RECOVERED"]


def _refuse(code: str) -> Callable[[Call], None]:
    def refuse(_: Call) -> None:
        raise EcrError(code, "as scripted")

    return refuse


def _set_mutability(scene: Scene, mutability: str) -> None:
    scene.aws.client("ecr").put_image_tag_mutability(
        repositoryName=scene.repository, imageTagMutability=mutability
    )
