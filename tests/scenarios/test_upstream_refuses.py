"""Upstream does not answer, or refuses: ECR keeps its copy, with one alert and one recovery."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.mirrors.record import State
from tests.scenarios.deployment import ALERT_AFTER, CHECK_EVERY
from tests.scenarios.scene import Scene

IMAGE, NEXT = make_image(seed=1), make_image(seed=2)
FOR_GOOD = 10_000
LEFT_ALONE = timedelta(hours=1)
"""For how long an upstream that limits us wants to be left alone."""


def go_down(upstream: FakeRegistry) -> None:
    upstream.down = True


def break_down(upstream: FakeRegistry) -> None:
    upstream.fail(None, "/v2/", 503, times=FOR_GOOD)


def refuse(upstream: FakeRegistry) -> None:
    upstream.fail(None, "/v2/", 401, times=FOR_GOOD)


def forbid(upstream: FakeRegistry) -> None:
    upstream.fail(None, "/v2/", 403, times=FOR_GOOD)


def limit(upstream: FakeRegistry) -> None:
    retry_after = str(int(LEFT_ALONE.total_seconds()))
    upstream.fail(None, "/v2/", 429, times=FOR_GOOD, headers={"Retry-After": retry_after})


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [(go_down, "UPSTREAM_UNREACHABLE"), (break_down, "UPSTREAM_UNREACHABLE"), (limit, "RATE_LIMITED")],
)
def test_unreachable_upstream_is_one_alert_and_ecr_keeps_its_copy(
    scene: Scene, trouble: Callable[[FakeRegistry], None], kind: str
) -> None:
    scene.serve(IMAGE)
    scene.check()
    trouble(scene.upstream)
    scene.check(CHECK_EVERY)
    assert scene.record().state is State.UNKNOWN
    assert scene.alerts() == []
    scene.check(ALERT_AFTER)
    assert scene.alert_kinds() == [kind]
    scene.check(CHECK_EVERY)
    assert scene.alerts() == []
    assert scene.deployment.dead_letters() == []  # trouble of upstream's is no failure of ours
    scene.keeps(IMAGE)

    scene.upstream.down = False
    scene.upstream.clear_faults()
    scene.serve(NEXT)
    scene.check(LEFT_ALONE)
    scene.serves(NEXT)
    assert scene.alert_kinds() == ["RECOVERED"]


@pytest.mark.parametrize("trouble", [refuse, forbid])
def test_denied_access_is_one_alert_at_once_and_ecr_keeps_its_copy(
    scene: Scene, trouble: Callable[[FakeRegistry], None]
) -> None:
    scene.serve(IMAGE)
    scene.check()
    trouble(scene.upstream)
    scene.check(CHECK_EVERY)
    (alert,) = scene.alerts()
    assert alert.kind == "ACCESS_DENIED"
    assert "sent without a credential" in alert.text
    assert "ECR serves the last copy meanwhile" in alert.text
    scene.check(ALERT_AFTER)
    assert scene.alerts() == []
    scene.keeps(IMAGE)

    scene.upstream.clear_faults()
    scene.check(CHECK_EVERY)
    assert scene.alert_kinds() == ["RECOVERED"]


def test_copy_succeeds_after_five_429s_in_its_middle(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.upstream.fail("GET", "/blobs/", 429, times=5)
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    scene.serves(IMAGE)


def test_retry_after_of_an_hour_is_obeyed_for_an_hour(scene: Scene) -> None:
    scene.serve(IMAGE)
    limit(scene.upstream)
    for _ in range(3):
        scene.check(CHECK_EVERY)
        assert scene.record().state is State.UNKNOWN
    assert scene.upstream.count("HEAD") == 1  # Retry-After of an hour is obeyed
    scene.upstream.clear_faults()
    scene.check(LEFT_ALONE)
    scene.serves(IMAGE)


def test_tag_that_upstream_deleted_is_one_alert_and_ecr_keeps_its_copy(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.check()
    scene.upstream.delete_tag(scene.mirror.path, "1.0")
    scene.check(CHECK_EVERY)
    assert scene.alert_kinds() == ["GONE"]
    assert scene.record().state is State.GONE
    for _ in range(3):
        scene.check(CHECK_EVERY)
    assert scene.alerts() == []
    scene.keeps(IMAGE)

    scene.serve(NEXT)
    scene.check(CHECK_EVERY)
    scene.serves(NEXT)
    assert scene.alert_kinds() == ["RECOVERED"]


def test_tag_that_upstream_never_had_is_told_as_such_and_starts_no_refresh(scene: Scene) -> None:
    scene.check()
    (alert,) = scene.alerts()
    assert alert.kind == "NOT_FOUND"
    assert "upstream has no tag `1.0`; check its spelling" in alert.text
    assert scene.executions() == []
    scene.is_not_published()


def test_token_that_expires_during_the_copy_is_renewed(scene: Scene) -> None:
    scene.upstream.token_auth = True
    scene.serve(IMAGE)
    scene.upstream.before("GET", "/blobs/", scene.upstream.expire_tokens)
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    scene.serves(IMAGE)
