"""ECR throttles or refuses: temporary errors are retried, others alerted, and no partial image is published."""

from datetime import timedelta

import pytest

from local.ecr.faults import Call
from local.images import LocalImage, make_image, make_index
from pullahead.mirrors.record import State
from tests.scenarios.deployment import ALERT_AFTER, CHECK_EVERY, TAG
from tests.scenarios.scene import Scene

OLD, NEW = make_image([60_000], seed=1), make_image([60_000], seed=2)
BLOCKED_RETRY = timedelta(hours=6)
SDK_TRIES = 5
FOR_GOOD = 1000
NOT_RETRIED_BY_THE_SDK = "RequestAbortedException"
"""Amazon ECR API reference, "Common error types"; botocore's standard mode passes it on at once."""


def keep_old_copy(scene: Scene) -> None:
    scene.serve(OLD)
    scene.check()
    scene.serve(NEW)


@pytest.mark.parametrize("operation", ["DescribeImages", "BatchCheckLayerAvailability", "UploadLayerPart", "PutImage"])
def test_refresh_succeeds_after_two_throttled_calls(scene: Scene, operation: str) -> None:
    scene.serve(NEW)
    scene.ecr.faults.add(operation, "ThrottlingException", times=2)
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    scene.serves(NEW)
    assert scene.alerts() == []


@pytest.mark.parametrize("operation", ["DescribeImages", "PutImage"])
def test_function_is_retried_when_throttling_outlasts_the_sdk(scene: Scene, operation: str) -> None:
    scene.serve(NEW)
    scene.ecr.faults.add(operation, "ThrottlingException", times=SDK_TRIES)
    scene.check()
    function = {"DescribeImages": "CheckFreshness", "PutImage": "PublishImage"}[operation]
    assert len(scene.runs(function)) > 1
    scene.serves(NEW)
    assert scene.deployment.dead_letters() == []
    assert scene.alerts() == []


def test_refresh_that_failed_is_retried_at_its_time_without_the_schedule(scene: Scene) -> None:
    scene.serve(NEW)
    scene.ecr.faults.add("PutImage", NOT_RETRIED_BY_THE_SDK, times=FOR_GOOD)
    scene.check()
    scene.ecr.faults.clear()
    failure = scene.record().failure
    assert failure is not None
    assert not failure.blocking
    scene.aws.clock.advance((failure.retry_at - scene.aws.clock.now()).total_seconds() + 2)
    scene.settle()
    scene.serves(NEW)


def test_check_that_ecr_never_answers_is_a_dead_letter_that_can_be_redriven(scene: Scene) -> None:
    keep_old_copy(scene)
    scene.ecr.faults.add("DescribeImages", NOT_RETRIED_BY_THE_SDK, times=FOR_GOOD)
    scene.check(CHECK_EVERY)
    (letter,) = scene.deployment.dead_letters()
    assert scene.repository in letter
    scene.ecr.faults.clear()
    scene.keeps(OLD)

    scene.send(letter)  # as a redrive of the queue does
    scene.settle()
    scene.serves(NEW)


@pytest.mark.parametrize("before", [None, OLD], ids=["nothing-published-yet", "old-copy"])
def test_manifest_that_ecr_never_accepts_is_stale_once_and_recovers(scene: Scene, before: LocalImage | None) -> None:
    if before is not None:
        scene.serve(before)
        scene.check()
    scene.serve(NEW)
    scene.ecr.faults.add("PutImage", NOT_RETRIED_BY_THE_SDK, times=FOR_GOOD)
    scene.check(CHECK_EVERY)
    assert scene.executions()[0]["status"] == "FAILED"
    assert scene.alerts() == []
    scene.check(ALERT_AFTER)
    assert scene.alert_kinds() == ["STALE"]
    assert scene.published() == (before.digest if before is not None else None)

    scene.ecr.faults.clear()
    scene.check(BLOCKED_RETRY)
    scene.serves(NEW)
    assert scene.alert_kinds() == ["RECOVERED"]


@pytest.mark.parametrize("operation", ["UploadLayerPart", "CompleteLayerUpload", "PutImage"])
def test_lost_answer_of_ecr_is_retried_and_published_once(scene: Scene, operation: str) -> None:
    scene.serve(NEW)
    scene.ecr.faults.add(operation, "ServerException", after=True)
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    scene.serves(NEW)


def test_immutable_tag_is_blocked_and_not_retried_until_it_is_mutable(scene: Scene) -> None:
    keep_old_copy(scene)
    ecr = scene.aws.client("ecr")
    ecr.put_image_tag_mutability(repositoryName=scene.repository, imageTagMutability="IMMUTABLE")
    scene.check(CHECK_EVERY)
    assert scene.record().state is State.BLOCKED
    (alert,) = scene.alerts()
    assert alert.kind == "BLOCKED"
    assert "immutab" in alert.text
    puts = scene.ecr.calls.count("PutImage", scene.repository)
    for _ in range(3):
        scene.check(CHECK_EVERY)
    scene.check(ALERT_AFTER)
    assert scene.alerts() == []
    assert scene.ecr.calls.count("PutImage", scene.repository) == puts  # ECR is not asked the same again and again
    scene.keeps(OLD)

    ecr.put_image_tag_mutability(repositoryName=scene.repository, imageTagMutability="MUTABLE")
    scene.check(BLOCKED_RETRY)
    scene.serves(NEW)
    assert scene.alert_kinds() == ["RECOVERED"]


def test_tag_excluded_from_immutability_is_refreshed(scene: Scene) -> None:
    keep_old_copy(scene)
    scene.aws.client("ecr").put_image_tag_mutability(
        repositoryName=scene.repository,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "1.*"}],
    )
    scene.check(CHECK_EVERY)
    scene.serves(NEW)
    assert scene.alerts() == []


@pytest.mark.parametrize("operation", ["DescribeImages", "v2:StartUpload", "PutImage"])
def test_denied_access_is_one_blocked_alert_and_no_dead_letter(scene: Scene, operation: str) -> None:
    keep_old_copy(scene)
    scene.ecr.faults.add(operation, "AccessDeniedException", times=FOR_GOOD)
    scene.check(CHECK_EVERY)
    scene.check(CHECK_EVERY)
    assert scene.alert_kinds() == ["BLOCKED"]
    assert scene.deployment.dead_letters() == []
    scene.ecr.faults.clear()
    scene.keeps(OLD)

    scene.check(BLOCKED_RETRY)
    scene.serves(NEW)
    assert scene.alert_kinds() == ["RECOVERED"]


def test_repository_deleted_after_the_copy_is_created_and_filled_again(scene: Scene) -> None:
    scene.serve(NEW)
    scene.check()
    scene.aws.client("ecr").delete_repository(repositoryName=scene.repository, force=True)
    scene.approach_check(asks_ecr=True)
    scene.check(CHECK_EVERY)
    scene.serves(NEW)
    assert scene.alerts() == []


def test_tag_deleted_in_ecr_is_published_again(scene: Scene) -> None:
    scene.serve(NEW)
    scene.check()
    sent = scene.ecr.calls.count("UploadLayerPart", scene.repository)
    scene.aws.client("ecr").batch_delete_image(repositoryName=scene.repository, imageIds=[{"imageTag": TAG}])
    scene.check(CHECK_EVERY)
    scene.serves(NEW)
    assert scene.ecr.calls.count("UploadLayerPart", scene.repository) >= sent


def test_blobs_deleted_before_the_manifest_is_put_are_copied_again(scene: Scene) -> None:
    index = make_index([NEW, make_image(seed=3, platform="linux/arm64")])
    scene.serve(index)
    ecr = scene.aws.client("ecr")

    def empty_repository(_: Call) -> None:
        ecr.delete_repository(repositoryName=scene.repository, force=True)
        ecr.create_repository(repositoryName=scene.repository)

    scene.ecr.faults.before("PutImage", empty_repository, times=1)
    scene.check()
    assert scene.executions()[0]["status"] == "FAILED"
    scene.is_not_published()
    scene.check(CHECK_EVERY)
    scene.serves(index)
    assert scene.alerts() == []
