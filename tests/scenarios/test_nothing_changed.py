"""A tag that is fresh and stays fresh: what the whole round of schedule, queue and check costs then."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from local.images import make_image, make_index
from pullahead.freshness.records import State
from tests.scenarios.deployment import CHECK_EVERY, rules_text
from tests.scenarios.scene import Scene

INDEX = make_index([make_image(seed=1), make_image(seed=2, platform="linux/arm64")])


@contextmanager
def recorded(scene: Scene) -> Iterator[Counter[str]]:
    """Count, by name, every call of an AWS operation by JSON protocol (all of DynamoDB, Step Functions, SQS)."""
    calls: Counter[str] = Counter()
    recorder = f"{scene.aws.url}/moto-api/recorder"
    for action in ("reset-recording", "start-recording"):
        requests.post(f"{recorder}/{action}", timeout=10).raise_for_status()
    try:
        yield calls
    finally:
        requests.post(f"{recorder}/stop-recording", timeout=10).raise_for_status()
        recording = requests.get(f"{recorder}/download-recording", timeout=10).text
        headers = [json.loads(line)["headers"] for line in recording.splitlines()]
        calls.update(header["X-Amz-Target"].rpartition(".")[2] for header in headers if "X-Amz-Target" in header)


@pytest.fixture
def fresh(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Keep one mirror alone in the rules, checked by the schedule and found fresh; moto records into a folder of ours."""
    monkeypatch.chdir(tmp_path)
    with scene.deployment.rules(rules_text(scene.mirror), "ScheduleChecks", "CheckFreshness", "RecordOutcome"):
        scene.serve(INDEX)
        tick(scene)
        scene.serves(INDEX)
        yield scene


def tick(scene: Scene, after: timedelta = CHECK_EVERY) -> None:
    scene.aws.clock.advance(after.total_seconds())
    fired = scene.aws.ticker.run_due()
    assert len(fired) == 1
    scene.settle()


def test_check_costs_one_head_and_no_get_and_no_write(fresh: Scene) -> None:
    before = fresh.record()
    fresh.upstream.forget_requests()
    fresh.ecr.calls.clear()
    executions = len(fresh.executions())
    with recorded(fresh) as calls:
        tick(fresh)
    assert [request.method for request in fresh.upstream.requests] == ["HEAD"]
    assert fresh.ecr.calls.operations() == ["DescribeImages"]
    # schedule_checks reads and writes its heartbeat; check_freshness reads the record.
    assert {name: calls[name] for name in calls if "Item" in name} == {"PutItem": 1, "BatchGetItem": 2}
    assert calls["SendMessageBatch"] == 1
    assert "StartExecution" not in calls
    assert len(fresh.executions()) == executions
    assert fresh.record() == before


def test_ten_checks_write_nothing_of_the_mirror(fresh: Scene) -> None:
    before = fresh.record()
    with recorded(fresh) as calls:
        for _ in range(10):
            fresh.check()
    assert {name for name in calls if "Item" in name} == {"BatchGetItem"}
    assert fresh.record() == before
    assert fresh.record().state is State.FRESH


def test_recording_does_see_writes(fresh: Scene) -> None:
    """Without this, the two tests above would pass with a recorder that sees nothing."""
    fresh.serve(make_image(seed=3))
    with recorded(fresh) as calls:
        tick(fresh)
    assert calls["StartExecution"] == 1
    assert calls["PutItem"] >= 3  # the heartbeat, the mirror found stale, the mirror refreshed
