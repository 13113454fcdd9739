"""ECR's small quotas: manifests and layers each at their own pace, and no wait without end."""

from collections.abc import Callable

import pytest

from local.images import make_image
from local.tests.ecr.harness import ecr_client
from pullahead.ecr.quotas import EcrPace
from pullahead.ecr.target import EcrTarget
from pullahead.errors import RateLimitedError, Side
from pullahead.oci.registries import Upload
from tests.unit.registry.harness import FakeTime

REFERENCE = "mirror/app:1.0"
IMAGE = make_image([b"layer"], seed=1)


def exhaust(turn: Callable[[str], None]) -> None:
    """Take turns, without waiting for them, until there are none to be had in time."""

    def take_all() -> None:
        for _ in range(10_000):
            turn(REFERENCE)

    with pytest.raises(RateLimitedError):
        take_all()


def test_put_image_goes_faster_than_ecr_takes_it() -> None:
    time = FakeTime()
    pace = EcrPace(time, time.sleep)
    for _ in range(90):
        pace.manifest(REFERENCE)
    assert time.slept == pytest.approx([1 / 8] * 80)


def test_layer_uploads_go_faster_than_ecr_takes_them_or_wait_for_manifests() -> None:
    time = FakeTime()
    pace = EcrPace(time, time.sleep)
    for _ in range(10):
        pace.manifest(REFERENCE)
    for _ in range(100):
        pace.layer(REFERENCE)
    assert sum(time.slept) == pytest.approx(80 / 80)


def test_call_waits_without_end() -> None:
    """Threads that all sleep at once are as many that have booked a turn each."""
    time = FakeTime()
    pace = EcrPace(time, lambda _: None)
    for _ in range(10 + 8 * 30):
        pace.manifest(REFERENCE)
    with pytest.raises(RateLimitedError, match="deferred, not sent: ECR is called") as caught:
        pace.manifest(REFERENCE)
    assert caught.value.side is Side.TARGET
    assert caught.value.retry_after_seconds == pytest.approx(30 + 1 / 8)


def test_target_calls_ecr_without_waiting_for_its_turn() -> None:
    pace = EcrPace(FakeTime(), lambda _: None)
    exhaust(pace.layer)
    target = EcrTarget(ecr_client("http://127.0.0.1:1"), pace)
    with pytest.raises(RateLimitedError):
        target.begin_upload("mirror/app")
    with pytest.raises(RateLimitedError):
        target.complete_upload("mirror/app", Upload("1", 10), IMAGE.root.descriptor)
    exhaust(pace.manifest)
    with pytest.raises(RateLimitedError):
        target.put_manifest("mirror/app", IMAGE.root, "1.0")
