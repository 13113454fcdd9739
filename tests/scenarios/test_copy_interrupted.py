"""The copy is interrupted: its process is killed, hangs or is aborted, or ECR forgets what it had."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from local.ecr.errors import EcrError
from local.ecr.faults import Call
from local.images import LocalImage, SparseBlob, make_image, make_index
from tests.polling import until
from tests.scenarios.scene import PART_BYTES, Scene

LARGE = SparseBlob(3 * PART_BYTES + 5_000_000, seed=7)
RETRY_AFTER = timedelta(minutes=5)


def large_image() -> LocalImage:
    return make_image([LARGE], seed=1)


def on_part(number: int, act: Callable[[], None]) -> Callable[[Call], None]:
    """Act before the part of this number, counted from 1, comes in for the first time."""
    first_byte = (number - 1) * PART_BYTES
    done: list[Call] = []

    def hook(call: Call) -> None:
        if call.parameters["partFirstByte"] == first_byte and not done:
            done.append(call)
            act()

    return hook


def resent(scene: Scene) -> int:
    """Count the bytes of the large blob that were sent to ECR more than once, and print what was sent and read."""
    sent = sum(part.size for part in scene.parts(LARGE.size) if part.size > 1_000_000)
    again = sent - LARGE.size
    print(f"{LARGE.size:,} bytes: re-sent {again:,}, read from upstream {scene.blob_bytes_read():,}")
    return again


def failed_rounds(scene: Scene) -> list[str]:
    """How each round of copying that failed ended. A slow machine takes more good rounds, which say nothing here."""
    return [run.outcome for run in scene.runs("CopyBlobs") if run.outcome != "Succeeded"]


def kill_and_lose(scene: Scene) -> None:
    """The process dies while its part is on the way, so that ECR never has the whole part."""
    scene.kill_copy()
    raise EcrError("ServerException", "the connection broke")


def test_copy_killed_in_the_middle_of_a_part_sends_one_part_again(scene: Scene) -> None:
    scene.serve(large_image())
    scene.ecr.faults.before("UploadLayerPart", on_part(3, lambda: kill_and_lose(scene)))
    scene.check()
    assert failed_rounds(scene) == ["Runtime.ExitError"]
    assert resent(scene) == PART_BYTES
    scene.serves(large_image())


def test_upload_is_begun_anew_where_ecr_does_not_say_how_far_it_is(scene: Scene) -> None:
    refused: list[Call] = []

    def refuse_the_offer(call: Call) -> None:
        if call.parameters["partFirstByte"] > LARGE.size:
            refused.append(call)
            raise EcrError("InvalidParameterException", "partFirstByte is out of range")

    scene.serve(large_image())
    scene.ecr.faults.before("UploadLayerPart", refuse_the_offer)
    scene.ecr.faults.before("UploadLayerPart", on_part(3, scene.kill_copy))
    scene.check()
    assert len(refused) == 1
    assert resent(scene) > 0
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    scene.serves(large_image())


def test_copy_killed_before_ecr_answered_a_part_sends_nothing_again(scene: Scene) -> None:
    scene.serve(large_image())
    scene.ecr.faults.before("UploadLayerPart", on_part(3, scene.kill_copy))
    scene.check()
    assert failed_rounds(scene) == ["Runtime.ExitError"]
    assert resent(scene) == 0
    scene.serves(large_image())


def test_copy_killed_between_parts_sends_nothing_again(scene: Scene) -> None:
    scene.serve(large_image())
    scene.upstream.limit_bytes_per_second = 2 * PART_BYTES
    scene.ask_check()
    until(
        lambda: bool(scene.parts(LARGE.size)) and scene.blob_bytes_read() > 2.5 * PART_BYTES,
        "a part is sent, and half of the third one is read",  # several connections read ahead
    )
    scene.kill_copy()
    before = len(scene.blob_reads(LARGE.digest))
    scene.settle()
    assert failed_rounds(scene) == ["Runtime.ExitError"]
    assert resent(scene) == 0
    reads = scene.blob_reads(LARGE.digest)
    assert reads[0] == 0
    assert min(reads[before:]) in (PART_BYTES, 2 * PART_BYTES, 3 * PART_BYTES), "it goes on where ECR stood"
    scene.serves(large_image())


def test_copy_killed_while_ecr_completes_the_layer_sends_at_most_one_part_again(scene: Scene) -> None:
    scene.serve(large_image())
    scene.ecr.faults.before("CompleteLayerUpload", lambda _: scene.kill_copy(), times=1)
    scene.check()
    assert failed_rounds(scene) == ["Runtime.ExitError"]
    assert resent(scene) <= PART_BYTES
    scene.serves(large_image())


def test_copy_killed_before_ecr_completed_the_layer_sends_at_most_one_part_again(scene: Scene) -> None:
    scene.serve(large_image())
    scene.ecr.faults.before("CompleteLayerUpload", lambda _: kill_and_lose(scene), times=1)
    scene.check()
    assert failed_rounds(scene) == ["Runtime.ExitError"]
    assert resent(scene) <= PART_BYTES
    scene.serves(large_image())


def test_publishing_killed_before_the_root_is_finished_by_a_retry(scene: Scene) -> None:
    index = make_index([make_image(seed=1), make_image(seed=2, platform="linux/arm64")])
    scene.serve(index)
    killed: list[int] = []

    def kill(call: Call) -> None:
        if "imageTag" in call.parameters and not killed:
            killed.append(scene.aws.kill_function(scene.deployment.function("PublishImage")))
            raise EcrError("ServerException", "the connection broke")

    scene.ecr.faults.before("PutImage", kill)
    scene.check()
    assert killed == [1]
    assert [run.outcome for run in scene.runs("PublishImage")] == ["Runtime.ExitError", "Succeeded"]
    scene.serves(index)


def test_upload_that_ecr_lost_begins_again_in_the_same_round(scene: Scene) -> None:
    ended_rounds: list[int] = []

    def forget() -> None:
        scene.ecr.forget_uploads()
        ended_rounds.append(len(scene.runs("CopyBlobs")))
        scene.ecr.faults.before("InitiateLayerUpload", lambda _: begin_again(), times=1)

    def begin_again() -> None:
        ended_rounds.append(len(scene.runs("CopyBlobs")))

    scene.serve(large_image())
    scene.ecr.faults.before("UploadLayerPart", on_part(3, forget))
    scene.check()
    assert failed_rounds(scene) == []
    assert len(ended_rounds) == 2
    assert ended_rounds[0] == ended_rounds[1], "no round ends between the loss and the new upload"
    scene.serves(large_image())


def test_upload_that_ecr_lost_after_a_kill_begins_again(scene: Scene) -> None:
    scene.serve(large_image())

    def kill_and_forget() -> None:
        scene.kill_copy()
        scene.ecr.forget_uploads()

    scene.ecr.faults.before("UploadLayerPart", on_part(3, kill_and_forget))
    scene.check()
    assert failed_rounds(scene) == ["Runtime.ExitError"]
    scene.serves(large_image())


def test_copy_that_timed_out_is_finished_by_the_next_round(scene: Scene) -> None:
    image = make_image([200_000], seed=3)
    scene.serve(image)
    scene.upstream.before("GET", "/blobs/", lambda: until(lambda: bool(scene.runs("CopyBlobs")), "copy_blobs ends"))
    scene.check()
    assert failed_rounds(scene) == ["Sandbox.Timedout"]
    scene.serves(image)


def test_slow_layer_is_copied_over_several_rounds_without_sending_a_part_twice(scene: Scene) -> None:
    blob = SparseBlob(2 * PART_BYTES, seed=8)
    image = make_image([blob], seed=4)
    scene.serve(image)
    scene.upstream.limit_bytes_per_second = PART_BYTES // 4
    scene.check()
    rounds = scene.runs("CopyBlobs")
    assert [run.outcome for run in rounds] == ["Succeeded"] * len(rounds)
    assert len(rounds) > 1
    assert [part.first_byte for part in scene.parts(blob.size) if part.size > 1_000_000] == [0, PART_BYTES]
    scene.serves(image)


def test_repository_deleted_during_the_copy_is_created_and_filled_by_the_next_refresh(scene: Scene) -> None:
    scene.serve(large_image())

    def delete() -> None:
        scene.aws.client("ecr").delete_repository(repositoryName=scene.repository, force=True)

    scene.ecr.faults.before("UploadLayerPart", on_part(2, delete))
    scene.check()
    assert scene.executions()[0]["status"] == "FAILED"
    scene.is_not_published()
    scene.check(RETRY_AFTER)
    scene.serves(large_image())
    assert scene.alerts() == []


def test_aborted_execution_is_followed_by_another_refresh(scene: Scene) -> None:
    scene.serve(large_image())

    def abort() -> None:
        running = scene.executions()[0]["executionArn"]
        scene.aws.client("stepfunctions").stop_execution(executionArn=running)

    scene.ecr.faults.before("UploadLayerPart", on_part(2, abort))
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["ABORTED"]
    scene.is_not_published()
    scene.check(RETRY_AFTER)  # finds that it ended without a word
    scene.check(RETRY_AFTER)
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED", "ABORTED"]
    scene.serves(large_image())


@pytest.mark.parametrize(
    ("function", "method", "path"),
    [("CheckFreshness", "HEAD", "/manifests/"), ("PlanCopy", "GET", "/manifests/sha256:")],
)
def test_function_killed_while_it_reads_upstream_is_retried(
    scene: Scene, function: str, method: str, path: str
) -> None:
    image = make_image(seed=5)
    scene.serve(image)
    killed: list[int] = []
    kill = scene.aws.kill_function
    scene.upstream.before(method, path, lambda: killed.append(kill(scene.deployment.function(function))))
    scene.check()
    assert killed == [1]
    runs = scene.plans() if function == "PlanCopy" else scene.runs(function)
    assert runs[0].outcome == "Runtime.ExitError"
    assert len(scene.executions()) == 1
    scene.serves(image)
