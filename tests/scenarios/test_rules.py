"""Broken rules: the schedule fails, and every problem is reported at once."""

import json

from local.images import make_image
from tests.scenarios.deployment import rules_text
from tests.scenarios.scene import Scene

BROKEN = """\
version: 1
mirrors:
  - upstream: docker.io/library/alpine:3.20
    tags: ["3.20"]
    repository: mirror/alpine
  - upstream: quay.io/team/app
    tags: []
    repository: Mirror/App
    check_evry: 5m
"""
PROBLEMS = ("the tag does not belong here", "it is empty", "is not a valid ECR repository name", "check_evry")


def test_broken_rules_fail_the_schedule_with_every_problem(scene: Scene) -> None:
    with scene.deployment.rules(BROKEN, "ScheduleChecks"):
        answer = scene.aws.client("lambda").invoke(FunctionName=scene.deployment.function("ScheduleChecks"))
        error = json.loads(answer["Payload"].read())
        assert answer["FunctionError"] == "Unhandled"
        assert error["errorType"] == "RulesError"
        (run,) = scene.runs("ScheduleChecks")
        for problem in PROBLEMS:
            assert problem in run.logs
        for line in (3, 7, 8, 9):
            assert f"line {line}" in run.logs or f"rules.yaml:{line}" in run.logs
    assert scene.upstream.requests == []


def test_fixed_rules_are_followed_at_once(scene: Scene) -> None:
    image = make_image(seed=1)
    scene.serve(image)
    with scene.deployment.rules(BROKEN, "ScheduleChecks"):
        scene.fire_schedule()
        assert {run.outcome for run in scene.runs("ScheduleChecks")} == {"RulesError"}
        assert scene.runs("CheckFreshness") == []
    with scene.deployment.rules(rules_text(scene.mirror), "ScheduleChecks"):
        scene.fire_schedule()
        assert [run.payload for run in scene.runs("ScheduleChecks")[-1:]] == [{"mirrors": 1, "due": 1}]
    scene.serves(image)


def test_mirror_removed_from_the_rules_during_its_refresh_is_not_recorded(scene: Scene) -> None:
    image = make_image(seed=1)
    scene.serve(image)
    other = scene.deployment.next_mirror()
    with scene.deployment.rules(rules_text(other), "RecordOutcome"):
        scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    assert scene.record().last_refresh is None
    scene.keeps(image)
