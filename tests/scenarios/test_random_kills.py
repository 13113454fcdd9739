"""copy_blobs killed at random moments, again and again: ECR serves all of the new image or all of the old one.

PULLAHEAD_KILLS says how often; the project's goal is 200 without a fault. PULLAHEAD_SEED repeats the moments of a run,
as far as time can be repeated. ECR counts the parts that came whole; one that broke off with the process is not among
them, and is sent again as its only repetition.
"""

import os
import random
import time
from typing import NamedTuple

import pytest

from local.images import LocalImage, SparseBlob, make_image
from pullahead.oci import Digest
from tests.polling import until
from tests.scenarios.deployment import CHECK_EVERY
from tests.scenarios.scene import PART_BYTES, Scene

KILLS = int(os.environ.get("PULLAHEAD_KILLS", "6"))
SEED = int(os.environ.get("PULLAHEAD_SEED", time.time_ns() % 1_000_000))
SIZE = 4 * PART_BYTES + 5_000_000
LATEST_SECONDS = 1.5
"""About as long as a process takes to start and to copy the layer at the pace that upstream has here."""
SURVIVED = 5
"""Retries of a state in statemachines/refresh.asl.yaml: one kill more, and the refresh has failed."""
COPIES_FOR_EACH_KILL = 3


class Killed(NamedTuple):
    """One refresh that was not left in peace."""

    status: str
    kills: int
    bytes_sent: int


@pytest.mark.timeout(120 + 6 * KILLS)
def test_copies_killed_at_random_moments_publish_whole_images(scene: Scene) -> None:
    print(f"PULLAHEAD_KILLS={KILLS} PULLAHEAD_SEED={SEED}")
    chance = random.Random(SEED)  # noqa: S311
    scene.upstream.limit_bytes_per_second = 5 * PART_BYTES // 2
    before: LocalImage | None = None
    refreshes: list[Killed] = []
    for number in range(COPIES_FOR_EACH_KILL * KILLS):
        left = KILLS - sum(refresh.kills for refresh in refreshes)
        if left <= 0:
            break
        image = make_image([SparseBlob(SIZE, seed=number)], seed=number)
        allowed = {image.digest, None if before is None else before.digest}
        scene.serve(image)
        refreshes.append(kill_refresh(scene, chance, min(left, chance.randint(2, SURVIVED + 1)), allowed))
        check_end(scene, refreshes[-1], image, before)
        before = image
    report(refreshes)
    assert sum(refresh.kills for refresh in refreshes) >= KILLS


def kill_refresh(scene: Scene, chance: random.Random, kills: int, allowed: set[Digest | None]) -> Killed:
    """Ask for a check, and kill what copies at random moments until it is over or was killed so many times."""
    scene.ecr.calls.clear()
    runs_before, refreshes_before = len(scene.runs("CopyBlobs")), len(scene.executions())
    scene.ask_check()
    while kills > 0 and not is_over(scene, refreshes_before):
        let_pass(chance.uniform(0.0, LATEST_SECONDS))
        kills -= scene.aws.kill_function(scene.deployment.function("CopyBlobs"))
        assert scene.published() in allowed
    scene.settle()
    outcomes = [run.outcome for run in scene.runs("CopyBlobs")[runs_before:]]
    assert set(outcomes) <= {"Succeeded", "Runtime.ExitError"}
    assert len(scene.executions()) == refreshes_before + 1
    sent = sum(part.size for part in scene.parts(SIZE) if part.size > 1_000_000)  # the config has a part of its own
    return Killed(scene.executions()[0]["status"], outcomes.count("Runtime.ExitError"), sent)


def let_pass(seconds: float) -> None:
    """Wait for a random moment: whatever the process is at then."""
    moment = time.monotonic() + seconds
    until(lambda: time.monotonic() >= moment, "the moment comes")


def is_over(scene: Scene, refreshes_before: int) -> bool:
    """Tell whether the refresh that was asked for has ended."""
    executions = scene.executions()
    return len(executions) > refreshes_before and executions[0]["status"] != "RUNNING"


def check_end(scene: Scene, refresh: Killed, image: LocalImage, before: LocalImage | None) -> None:
    """Claim that the new image is there or the old one still is, and that the next check brings what is missing."""
    assert refresh.bytes_sent - SIZE <= refresh.kills * PART_BYTES
    if refresh.status == "SUCCEEDED":
        assert refresh.bytes_sent >= SIZE  # by parts: only there is the bound on what is sent again
    else:
        assert refresh.status == "FAILED"
        assert refresh.kills > SURVIVED
        if before is None:
            scene.is_not_published()
        else:
            scene.keeps(before)
        scene.check(CHECK_EVERY)
    scene.serves(image)


def report(refreshes: list[Killed]) -> None:
    """Print what the run found."""
    kills = sum(refresh.kills for refresh in refreshes)
    again = sum(max(0, refresh.bytes_sent - SIZE) for refresh in refreshes)
    failed = sum(refresh.status != "SUCCEEDED" for refresh in refreshes)
    print(f"{kills} kills in {len(refreshes)} refreshes of {SIZE:,} bytes, {failed} of which failed in the end")
    print(f"re-sent: {again:,} bytes, {again / kills / PART_BYTES:.2f} of a part for each kill")
