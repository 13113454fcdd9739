"""Blobs that surely fit the function's time go in one stream: what that costs, and what a kill then costs."""

from datetime import timedelta

import pytest

from local.ecr.faults import Call
from local.images import SparseBlob, make_image
from tests.scenarios.deployment import rules_text
from tests.scenarios.scene import Scene

IMAGE = make_image([2_000_000, 300_000], seed=41)


def test_small_blobs_need_two_requests_each_and_no_parts(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.check()
    scene.serves(IMAGE)
    calls = scene.ecr.calls
    assert calls.count("v2:FinishUpload", scene.repository) == len(IMAGE.blobs)
    assert calls.count("InitiateLayerUpload", scene.repository) == calls.count("UploadLayerPart", scene.repository) == 0
    assert scene.blob_bytes_read() == sum(len(IMAGE.read_blob(digest)) for digest in IMAGE.blobs)


def test_copy_killed_in_the_middle_of_a_stream_is_finished_by_the_next_round(scene: Scene) -> None:
    scene.serve(IMAGE)
    killed: list[Call] = []

    def kill(call: Call) -> None:
        if not killed:
            killed.append(call)
            scene.kill_copy()

    scene.ecr.faults.before("v2:FinishUpload", kill)
    scene.check()
    assert [run.outcome for run in scene.runs("CopyBlobs")][:1] == ["Runtime.ExitError"]
    assert scene.runs("CopyBlobs")[-1].outcome == "Succeeded"
    scene.serves(IMAGE)


@pytest.mark.parametrize("operation", ["v2:StartUpload", "v2:FinishUpload"])
def test_stream_that_ecr_breaks_off_goes_by_parts_in_the_same_run(scene: Scene, operation: str) -> None:
    scene.serve(IMAGE)
    scene.ecr.faults.add(operation, "ServerException", times=20)
    scene.check()
    assert [run.outcome for run in scene.runs("CopyBlobs")] == ["Succeeded"]
    assert scene.ecr.calls.count("UploadLayerPart", scene.repository) == len(IMAGE.blobs)
    scene.serves(IMAGE)


def test_refused_login_to_ecr_is_blocked_at_once(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.ecr.faults.add("GetAuthorizationToken", "AccessDeniedException", times=20)
    scene.check(timedelta(hours=12))  # the process that copied for other scenarios is still logged in
    assert scene.published() is None
    scene.check()
    (alert,) = scene.alerts()
    assert (alert.kind, "log in of the registry at the target failed" in alert.text) == ("BLOCKED", True)


def test_layer_that_another_mirror_has_is_mounted(scene: Scene) -> None:
    other_scene = Scene(scene.deployment, scene.deployment.next_mirror(), scene.upstream)
    ecr = scene.aws.client("ecr")
    ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    scene.aws.clock.advance(timedelta(minutes=10).total_seconds())
    base = SparseBlob(3_000_000, seed=43)
    first, second = (make_image([base, 1000 + number], seed=44 + number) for number in range(2))
    both = rules_text(scene.mirror, other_scene.mirror)  # of hundreds, only the ten nearest by name are asked
    with scene.deployment.rules(both, "CheckFreshness", "PlanCopy", "RecordOutcome"):
        scene.serve(first)
        scene.check()
        scene.serves(first)
        read = scene.blob_bytes_read()
        other_scene.serve(second)
        other_scene.check()
        other_scene.serves(second)
    assert scene.blob_bytes_read() - read < base.size, "the common layer was mounted"
    ecr.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
