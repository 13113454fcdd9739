"""ECR's small quotas: a rate for manifests, another for layers, and a bounded wait."""

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
    """Take turns without waiting until none is left in time."""

    def take_all() -> None:
        for _ in range(10_000):
            turn(REFERENCE)

    with pytest.raises(RateLimitedError):
        take_all()


def test_put_image_is_called_eight_times_a_second_after_a_burst() -> None:
    time = FakeTime()
    pace = EcrPace(time, time.sleep)
    for _ in range(90):
        pace.manifest(REFERENCE)
    assert time.slept == pytest.approx([1 / 8] * 80)


def test_layer_uploads_have_a_rate_of_their_own() -> None:
    time = FakeTime()
    pace = EcrPace(time, time.sleep)
    for _ in range(10):
        pace.manifest(REFERENCE)
    for _ in range(100):
        pace.layer(REFERENCE)
    assert sum(time.slept) == pytest.approx(80 / 80)


def test_call_that_would_wait_half_a_minute_is_refused() -> None:
    """Each of the threads that wait at the same time has taken a turn."""
    time = FakeTime()
    pace = EcrPace(time, lambda _: None)
    for _ in range(10 + 8 * 30):
        pace.manifest(REFERENCE)
    with pytest.raises(RateLimitedError, match="not sent: this process is at ECR's quota") as caught:
        pace.manifest(REFERENCE)
    assert caught.value.side is Side.TARGET
    assert caught.value.retry_after_seconds == pytest.approx(30 + 1 / 8)


def test_target_does_not_call_ecr_beyond_its_quotas() -> None:
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
