"""The rules are broken: nothing is guessed, and all that is wrong with them is said at once."""

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


def test_broken_rules_fail_the_schedule_with_every_problem(scene: Scene) -> None:
    with scene.deployment.rules(BROKEN, "ScheduleChecks"):
        answer = scene.aws.client("lambda").invoke(FunctionName=scene.deployment.function("ScheduleChecks"))
        error = json.loads(answer["Payload"].read())
        assert answer["FunctionError"] == "Unhandled"
        assert error["errorType"] == "RulesError"
        (run,) = scene.runs("ScheduleChecks")
        for line, words in ((3, "tag does not belong here"), (7, "no tag"), (8, "no name that ECR allows"), (9, "check_evry")):
            assert f"rules.yaml:{line}" in run.logs or f"line {line}" in run.logs, run.logs
            assert words in run.logs
    assert scene.upstream.requests == []


def test_mirror_taken_out_of_the_rules_during_its_refresh_is_left_alone(scene: Scene) -> None:
    image = make_image(seed=1)
    scene.serve(image)
    other = scene.deployment.next_mirror()
    with scene.deployment.rules(rules_text(other), "RecordOutcome"):
        scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    assert scene.record().last_refresh is None
    scene.keeps(image)
