"""A tag that is fresh and stays fresh costs one HEAD upstream and one question to ECR, and is not written about."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from local.images import make_image, make_index
from pullahead.aws.s3 import COMPILED_RULES_KEY, DECLARED_RULES_KEY, RULES_STATE_KEY
from pullahead.messages import CheckRequest
from pullahead.mirrors.review_index import SHARDS
from tests.scenarios.deployment import CHECK_EVERY, SETTLED_AFTER, TAG, rules_text
from tests.scenarios.recorded import AwsCall, recorded_calls
from tests.scenarios.scene import Scene

INDEX = make_index([make_image(seed=1), make_image(seed=2, platform="linux/arm64")])
READ, WRITE = AwsCall("DynamoDB", "BatchGetItem"), AwsCall("DynamoDB", "PutItem")
HEARTBEAT = AwsCall("DynamoDB", "UpdateItem")
LOOK = AwsCall("DynamoDB", "Query")
DESCRIBE = AwsCall("AmazonEC2ContainerRegistry", "DescribeImages")
QUEUE = AwsCall("AmazonSQS", "SendMessageBatch")
START = AwsCall("AWSStepFunctions", "StartExecution")
RULES = tuple(f"/{key}" for key in (RULES_STATE_KEY, DECLARED_RULES_KEY, COMPILED_RULES_KEY))
SOURCES = {"DescribePullThroughCacheRules", "DescribeRepositories", "GetResources"}
"""How the schedule looks for rules elsewhere than in the file, every few minutes."""


def without_rules(calls: list[AwsCall]) -> list[AwsCall]:
    """Leave out the reads of the rules in force: one a minute at most in each process, and no writes."""
    rules = [call for call in calls if call.operation.endswith(RULES)]
    assert {call.operation.partition(" ")[0] for call in rules} <= {"GET"}
    return [call for call in calls if call not in rules and call.operation not in SOURCES]


def keys_read(call: AwsCall) -> list[str]:
    """List the keys of the items that a BatchGetItem asks for."""
    (asked,) = call.parameters["RequestItems"].values()
    return [key["pk"]["S"] for key in asked["Keys"]]


@pytest.fixture
def fresh(scene: Scene) -> Iterator[Scene]:
    """Keep one mirror alone in the schedule's rules, checked once and found fresh, with all counts at zero.

    So much time has passed that late referrers are looked for once a day only, and not now.
    """
    with scene.deployment.rules(rules_text(scene.mirror), "ScheduleChecks"):
        scene.serve(INDEX)
        scene.fire_schedule()
        scene.serves(INDEX)
        scene.fire_schedule(SETTLED_AFTER)
        scene.fire_schedule()
        scene.upstream.forget_requests()
        scene.ecr.calls.clear()
        yield scene


def test_check_costs_one_head_and_no_get_and_no_write(fresh: Scene, tmp_path: Path) -> None:
    before = fresh.record()
    fresh.approach_check(asks_ecr=True)
    with recorded_calls(fresh.aws.url, tmp_path) as calls:
        fresh.check(CHECK_EVERY)
    assert [request.method for request in fresh.upstream.requests] == ["HEAD"]
    assert fresh.ecr.calls.operations() == ["DescribeImages"]
    # The first is ours; then what is paused, once a minute, and what is remembered.
    assert without_rules(calls) == [QUEUE, READ, READ, DESCRIBE]
    assert fresh.record() == before


def test_ecr_is_asked_every_half_an_hour(fresh: Scene) -> None:
    before = fresh.record()
    fresh.approach_check(asks_ecr=False)
    fresh.check(CHECK_EVERY)
    assert [request.method for request in fresh.upstream.requests] == ["HEAD"]
    assert fresh.ecr.calls.operations() == []
    assert fresh.record() == before


def test_tick_writes_the_heartbeat_and_nothing_else(fresh: Scene, tmp_path: Path) -> None:
    before = fresh.record()
    fresh.approach_check(asks_ecr=True)
    with recorded_calls(fresh.aws.url, tmp_path) as calls:
        fresh.fire_schedule()
    # The schedule reads what is paused and its heartbeat, queues, and writes it anew. The check reads what is paused
    # and remembered, and may begin before that is written. The look at what waits reads the counts of the slots twice,
    # first to compare them with the slots, and the registries with lines; and queries the slots twice, by age and to
    # count them, and the lines of the one registry of the rules and of version 0.1. The review queries the shards of
    # its index, and reads the pauses, the open incidents and how far the daily scan is.
    counted = [call for call in without_rules(calls) if call.service != "other"]  # that is the schedule's own call
    assert sorted(call for call in counted if call != READ) == sorted(
        [*[LOOK] * (4 + len(SHARDS)), QUEUE, HEARTBEAT, DESCRIBE]
    )
    read = Counter(key for call in counted if call == READ for key in keys_read(call))
    assert 2 <= read.pop("service#pauses") <= 6  # three functions, each again after a minute
    assert read.pop("service#heartbeat") == read.pop("service#slot-counts") == 2
    assert read == Counter(
        [
            f"mirror#{fresh.key}",
            "service#waiting-hosts",
            "service#scan",
            *(f"incident#{kind}##" for kind in ("RULES_BROKEN", "RULES_SKIPPED", "NOT_CHECKED")),
        ]
    )
    assert [request.method for request in fresh.upstream.requests] == ["HEAD"]
    assert fresh.record() == before


def test_ten_checks_write_nothing(fresh: Scene, tmp_path: Path) -> None:
    with recorded_calls(fresh.aws.url, tmp_path) as calls:
        for _ in range(10):
            fresh.check(CHECK_EVERY)
    assert set(without_rules(calls)) == {QUEUE, READ, DESCRIBE}
    assert calls.count(DESCRIBE) in (1, 2)  # in 50 minutes
    assert fresh.upstream.count("HEAD") == len(fresh.upstream.requests) == 10


def test_upstream_that_stays_down_is_written_once(fresh: Scene, tmp_path: Path) -> None:
    fresh.upstream.down = True
    fresh.check(CHECK_EVERY)
    with recorded_calls(fresh.aws.url, tmp_path) as calls:
        fresh.check(CHECK_EVERY)
    assert WRITE not in calls
    assert READ in calls


def test_recorder_sees_writes_when_there_are_any(fresh: Scene, tmp_path: Path) -> None:
    """Without this, the tests above would pass with a recorder that sees nothing."""
    fresh.serve(make_image(seed=3))
    with recorded_calls(fresh.aws.url, tmp_path) as calls:
        fresh.check(CHECK_EVERY)
    assert calls.count(START) == 1
    assert calls.count(WRITE) >= 2  # found stale, refreshed
    assert any(call.service == "other" and "plans/" in call.operation for call in calls)


def test_tags_of_one_repository_share_one_call_to_ecr(scene: Scene) -> None:
    tags = ("1.0", "1.1", "1.2")
    for number, tag in enumerate(tags):
        scene.upstream.push(make_image(seed=number), scene.mirror.path, tag)
    check = CheckRequest(reason="schedule", repository=scene.repository, tags=tags, asked_at=scene.aws.clock.now())
    rules = rules_text(scene.mirror).replace(f'["{TAG}"]', '["1.0", "1.1", "1.2"]')
    with scene.deployment.rules(rules, "CheckFreshness", "RecordOutcome"):
        scene.send(check.to_json())
        scene.settle()
        for wait in (SETTLED_AFTER, CHECK_EVERY):  # the first check may be the one of the day that looks for referrers
            scene.approach_check(asks_ecr=True)
            scene.aws.clock.advance(wait.total_seconds())
            scene.upstream.forget_requests()
            scene.ecr.calls.clear()
            scene.send(structs.replace(check, asked_at=scene.aws.clock.now()).to_json())
            scene.settle()
    assert [request.method for request in scene.upstream.requests] == ["HEAD"] * 3
    assert scene.ecr.calls.operations() == ["DescribeImages"]
