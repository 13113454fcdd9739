"""The same thing is asked twice: by messages that come twice, or by two checks at the same moment."""

import threading

from local.images import make_image, make_index
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import State
from pullahead.oci import Digest
from tests.polling import until
from tests.scenarios.deployment import TAG
from tests.scenarios.scene import Scene

_LIMIT_SECONDS = 150


def push_message(scene: Scene, digest: Digest) -> str:
    """Write the message that the push rule makes of ECR's event."""
    request = CheckRequest(
        reason="push", repository=scene.repository, tags=(TAG,), asked_at=scene.aws.clock.now(), digest=digest
    )
    return request.to_json()


def test_check_twice_in_one_batch_starts_one_refresh(scene: Scene) -> None:
    image = make_image(seed=1)
    scene.serve(image)
    scene.check(times=2)
    assert len(scene.executions()) == 1
    assert scene.tag_moves() == [image.digest]
    scene.serves(image)


def test_check_delivered_again_starts_no_refresh(scene: Scene) -> None:
    image = make_image(seed=1)
    scene.serve(image)
    scene.check()
    scene.check()
    scene.check()
    assert len(scene.executions()) == 1
    scene.serves(image)


def test_second_check_while_the_copy_runs_starts_no_second_refresh(scene: Scene) -> None:
    image = make_image(seed=1)
    scene.serve(image)
    checked = threading.Event()
    scene.upstream.before("GET", "/blobs/", lambda: _wait(checked))
    scene.ask_check()
    until(lambda: scene.upstream.count("GET", "/blobs/") > 0, "the copy runs")
    scene.ask_check()
    until(lambda: len(scene.runs("CheckFreshness")) > 1, "the second check is done")
    checked.set()
    scene.settle()
    assert len(scene.executions()) == 1
    assert scene.tag_moves() == [image.digest]
    scene.serves(image)


def test_two_checks_at_the_same_moment_start_one_refresh(scene: Scene) -> None:
    image = make_index([make_image(seed=1), make_image(seed=2, platform="linux/arm64")])
    scene.serve(image)
    both_look = threading.Barrier(2)
    scene.upstream.before("HEAD", "/manifests/", lambda: _meet(both_look), times=2)
    scene.ask_check()
    until(lambda: scene.upstream.count("HEAD", "/manifests/") == 1, "the first check looks")
    scene.ask_check()
    scene.settle()
    assert not both_look.broken  # both looked before either wrote
    checks = scene.runs("CheckFreshness")[:2]
    assert len({check.process_id for check in checks}) == 2
    assert len(scene.executions()) == 1
    assert scene.tag_moves() == [image.digest]
    assert scene.record().state is State.FRESH
    scene.serves(image)


def test_push_event_delivered_twice_starts_one_refresh(scene: Scene) -> None:
    image, intruder = make_image(seed=1), make_image(seed=666)
    scene.serve(image)
    scene.check()
    scene.ecr.calls.clear()
    scene.push_by_hand(intruder)
    scene.send(push_message(scene, intruder.digest))
    scene.settle()
    assert len(scene.executions()) == 2  # the first copy, and the one that made it right again
    assert scene.tag_moves() == [image.digest]
    scene.serves(image)


def test_late_push_event_of_an_own_copy_causes_no_upstream_request(scene: Scene) -> None:
    image = make_image(seed=1)
    scene.serve(image)
    scene.check()
    heads = scene.upstream.count("HEAD")
    scene.send(push_message(scene, image.digest))
    scene.settle()
    assert scene.upstream.count("HEAD") == heads
    assert len(scene.executions()) == 1
    scene.serves(image)


def _wait(event: threading.Event) -> None:
    if not event.wait(_LIMIT_SECONDS):
        raise TimeoutError("the scenario did not go on")


def _meet(barrier: threading.Barrier) -> None:
    barrier.wait(_LIMIT_SECONDS)
