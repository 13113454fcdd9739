"""Upstream's content is broken: bytes that are not what they are called, or parts that are missing."""

from datetime import timedelta

import pytest

from local.images import LocalImage, make_image, make_index
from pullahead.mirrors.record import State
from tests.scenarios.deployment import ALERT_AFTER, CHECK_EVERY
from tests.scenarios.scene import Scene

GOOD, BAD = make_image([60_000], seed=1), make_image([60_000], seed=2)
BAD_LAYER = list(BAD.blobs)[-1]
BLOCKED_RETRY = timedelta(hours=6)


def lie(scene: Scene) -> None:
    """Serve wrong bytes of the right length under the digest of a layer."""
    true = BAD.read_blob(BAD_LAYER)
    scene.upstream.lie_blob(BAD_LAYER, true[:-1] + bytes([true[-1] ^ 1]))


def be_honest(scene: Scene) -> None:
    """Serve the true bytes again."""
    scene.upstream.lie_blob(BAD_LAYER, BAD.read_blob(BAD_LAYER))


@pytest.mark.parametrize("before", [None, GOOD], ids=["nothing-published-yet", "old-copy"])
def test_blob_with_wrong_bytes_is_blocked_and_publishes_nothing(scene: Scene, before: LocalImage | None) -> None:
    if before is not None:
        scene.serve(before)
        scene.check()
    scene.serve(BAD)
    lie(scene)
    scene.check(CHECK_EVERY)
    assert scene.record().state is State.BLOCKED
    _keeps(scene, before)
    (alert,) = scene.alerts()
    assert alert.kind == "BLOCKED"
    assert BAD_LAYER in alert.text

    tries = scene.upstream.count("GET")
    for _ in range(4):
        scene.check(CHECK_EVERY)
    assert scene.upstream.count("GET") == tries
    assert scene.alerts() == []

    scene.check(BLOCKED_RETRY)  # once more, and still no second alert
    assert scene.upstream.count("GET") > tries
    assert scene.alerts() == []
    _keeps(scene, before)

    be_honest(scene)
    scene.check(BLOCKED_RETRY)
    scene.serves(BAD)
    assert scene.alert_kinds() == ["RECOVERED"]


def test_mirror_with_wrong_bytes_recovers_when_upstream_moves(scene: Scene) -> None:
    scene.serve(BAD)
    lie(scene)
    scene.check()
    assert scene.alert_kinds() == ["BLOCKED"]
    scene.serve(GOOD)
    scene.check(CHECK_EVERY)  # at once, and not only after six hours
    scene.serves(GOOD)
    assert scene.alert_kinds() == ["RECOVERED"]


def test_blob_shorter_than_its_size_publishes_nothing(scene: Scene) -> None:
    scene.serve(BAD)
    scene.upstream.lie_blob(BAD_LAYER, BAD.read_blob(BAD_LAYER)[:-5])
    scene.check()
    assert scene.alert_kinds() == ["BLOCKED"]
    scene.is_not_published()


def test_connection_that_breaks_within_a_blob_is_resumed(scene: Scene) -> None:
    scene.serve(BAD)
    scene.upstream.cut(f"/blobs/{BAD_LAYER}", after_bytes=30_000, times=2)
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    scene.serves(BAD)


def test_blob_missing_upstream_publishes_nothing(scene: Scene) -> None:
    scene.serve(BAD)
    scene.upstream.content.delete_blob(scene.mirror.path, BAD_LAYER)
    scene.check()
    assert scene.executions()[0]["status"] == "FAILED"
    scene.is_not_published()
    scene.upstream.push(BAD, scene.mirror.path)
    scene.check(CHECK_EVERY)
    scene.serves(BAD)
    assert scene.alerts() == []


@pytest.mark.parametrize("before", [None, GOOD], ids=["nothing-published-yet", "old-copy"])
def test_index_with_a_missing_child_publishes_nothing(scene: Scene, before: LocalImage | None) -> None:
    if before is not None:
        scene.serve(before)
        scene.check()
    arm = make_image(seed=12, platform="linux/arm64")
    index = make_index([make_image(seed=11), arm])
    scene.serve(index)
    scene.upstream.content.delete_manifest(scene.mirror.path, arm.digest)
    scene.check(CHECK_EVERY)
    assert scene.executions()[0]["status"] == "FAILED"
    _keeps(scene, before)
    assert scene.alerts() == []  # upstream may be in the middle of a push

    scene.check(ALERT_AFTER)
    (alert,) = scene.alerts()
    assert alert.kind == "STALE"
    assert arm.digest in alert.text
    scene.check(CHECK_EVERY)
    assert scene.alerts() == []
    _keeps(scene, before)
    assert scene.ecr.calls.count("PutImage", scene.repository) == (0 if before is None else 1)

    scene.upstream.push(arm, scene.mirror.path)
    scene.check(BLOCKED_RETRY)
    scene.serves(index)
    assert scene.alert_kinds() == ["RECOVERED"]


def _keeps(scene: Scene, before: LocalImage | None) -> None:
    if before is None:
        scene.is_not_published()
    else:
        scene.keeps(before)
