"""Upstream's tag moves while it is copied. In the end ECR serves what upstream served last."""

import threading
from contextlib import nullcontext

import pytest

from local.ecr.faults import Call
from local.images import make_image
from tests.polling import until
from tests.scenarios.deployment import CHECK_EVERY
from tests.scenarios.scene import Scene

FIRST, SECOND = make_image([50_000], seed=1), make_image([50_000], seed=2)
FIRST_LAYER = list(FIRST.blobs)[-1]
_PATIENCE_SECONDS = 8  # less than copy_blobs may take: nothing is to be killed here


def hold_back(scene: Scene) -> threading.Event:
    """Let the first image's copy wait at its layer until the event is set."""
    go_on = threading.Event()
    scene.upstream.before("GET", f"/blobs/{FIRST_LAYER}", lambda: _wait(go_on))
    return go_on


def _wait(event: threading.Event) -> None:
    if not event.wait(_PATIENCE_SECONDS):
        raise TimeoutError("the scenario did not go on")


def test_tag_that_moves_during_a_copy_is_found_by_the_next_check(scene: Scene) -> None:
    scene.serve(FIRST)
    scene.upstream.before("GET", f"/blobs/{FIRST_LAYER}", lambda: scene.serve(SECOND))
    scene.check()
    scene.check(CHECK_EVERY)
    assert scene.tag_moves() == [FIRST.digest, SECOND.digest]
    scene.serves(SECOND)
    assert scene.alerts() == []


def test_slow_copy_of_an_older_digest_does_not_move_the_tag_back(scene: Scene) -> None:
    scene.serve(FIRST)
    go_on = hold_back(scene)
    scene.ask_check()
    until(lambda: scene.upstream.count("GET", FIRST_LAYER) == 1, "the first copy is on its way")
    scene.serve(SECOND)
    scene.ask_check()
    until(lambda: scene.published() == SECOND.digest, "the second one is published")
    go_on.set()
    scene.settle()
    assert scene.tag_moves() == [SECOND.digest]  # never moved back, not even for a moment
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED", "SUCCEEDED"]
    scene.serves(SECOND)


@pytest.mark.parametrize("event_comes", ["at once", "after all is recorded"])
def test_older_digest_put_last_is_corrected_by_its_push_event(scene: Scene, event_comes: str) -> None:
    """ECR has no conditional PutImage, so this window cannot be closed; it has to heal by itself."""
    scene.serve(FIRST)
    go_on = threading.Event()

    def wait_with_the_first(call: Call) -> None:
        if call.parameters.get("imageDigest") == FIRST.digest:
            _wait(go_on)

    scene.ecr.faults.before("PutImage", wait_with_the_first)
    scene.ask_check()
    until(lambda: scene.tag_moves() == [FIRST.digest], "the first one is about to be put")
    scene.serve(SECOND)
    scene.ask_check()
    until(lambda: len(scene.runs("RecordOutcome")) == 1, "the second one is published and recorded")
    assert scene.tag_moves() == [FIRST.digest, SECOND.digest]
    with scene.checks_held_back() if event_comes == "after all is recorded" else nullcontext():
        go_on.set()
        until(lambda: len(scene.runs("RecordOutcome")) == 2, "the first one is put and recorded")
    scene.settle()
    assert scene.tag_moves()[:2] == [FIRST.digest, SECOND.digest]
    scene.serves(SECOND)


def test_tag_that_moves_back_is_published_three_times(scene: Scene) -> None:
    for image in (FIRST, SECOND, FIRST):
        scene.serve(image)
        scene.check(CHECK_EVERY)
    assert scene.tag_moves() == [FIRST.digest, SECOND.digest, FIRST.digest]
    scene.serves(FIRST)
