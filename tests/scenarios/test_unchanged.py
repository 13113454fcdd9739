"""Nothing changed, so next to nothing may be spent: one HEAD, one question to ECR, no write."""

from pathlib import Path

from local.images import make_image
from pullahead.messages import CheckRequest
from tests.scenarios.deployment import CHECK_EVERY, TAG, rules_text
from tests.scenarios.recorded import AwsCall, recorded_calls
from tests.scenarios.scene import Scene

IMAGE = make_image(seed=1)
READ_RECORD = AwsCall("DynamoDB", "BatchGetItem")
DESCRIBE = AwsCall("AmazonEC2ContainerRegistry", "DescribeImages")


def test_unchanged_tag_costs_one_head_and_no_write(scene: Scene, tmp_path: Path) -> None:
    scene.serve(IMAGE)
    scene.check()
    scene.upstream.forget_requests()
    scene.ecr.calls.clear()
    before = scene.record()
    with recorded_calls(scene.aws.url, tmp_path) as calls:
        scene.check(CHECK_EVERY)
    assert [request.method for request in scene.upstream.requests] == ["HEAD"]
    assert scene.ecr.calls.operations() == ["DescribeImages"]
    assert [call for call in calls if call.service != "AmazonSQS"] == [READ_RECORD, DESCRIBE]
    assert scene.record() == before


def test_recorder_sees_the_writes_of_a_changed_tag(scene: Scene, tmp_path: Path) -> None:
    """What the test above relies on: writes, executions and alerts are seen when there are any."""
    scene.serve(IMAGE)
    scene.check()
    scene.serve(make_image(seed=2))
    with recorded_calls(scene.aws.url, tmp_path) as calls:
        scene.check(CHECK_EVERY)
    assert AwsCall("DynamoDB", "PutItem") in calls
    assert AwsCall("AWSStepFunctions", "StartExecution") in calls
    assert any(call.service == "other" and "plans/" in call.operation for call in calls)


def test_tags_of_one_repository_share_one_question_to_ecr(scene: Scene) -> None:
    tags = ("1.0", "1.1", "1.2")
    rules = rules_text(scene.mirror).replace(f'["{TAG}"]', str(list(tags)).replace("'", '"'))
    request = CheckRequest(
        reason="schedule", repository=scene.repository, tags=tags, asked_at=scene.aws.clock.now()
    ).to_json()
    for number, tag in enumerate(tags):
        scene.upstream.push(make_image(seed=number), scene.mirror.path, tag)
    with scene.deployment.rules(rules, "CheckFreshness", "RecordOutcome"):
        scene.send(request)
        scene.settle()
        scene.upstream.forget_requests()
        scene.ecr.calls.clear()
        scene.send(request)
        scene.settle()
    assert [request.method for request in scene.upstream.requests] == ["HEAD"] * 3
    assert scene.ecr.calls.operations() == ["DescribeImages"]


def test_upstream_that_stays_down_is_written_once(scene: Scene, tmp_path: Path) -> None:
    scene.serve(IMAGE)
    scene.check()
    scene.upstream.down = True
    scene.check(CHECK_EVERY)
    with recorded_calls(scene.aws.url, tmp_path) as calls:
        scene.check(CHECK_EVERY)
        scene.check(CHECK_EVERY)
    assert AwsCall("DynamoDB", "PutItem") not in calls
    assert calls.count(READ_RECORD) == 2
