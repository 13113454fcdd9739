"""Many mirrors are deployed for the first time in an account that runs ten functions at once, with our defaults."""

import os
from collections.abc import Iterator

import pytest

from local.aws.concurrency import AccountConcurrency
from local.images import make_image
from pullahead.mirrors.record import State
from tests.scenarios.deployment import CHECK_EVERY, MirrorRule, rules_text
from tests.scenarios.scene import Scene

MIRRORS = int(os.environ.get("MIRRORS", "32"))
"""`make first-deployment` deploys 200, for which two cores take some four minutes."""
LIMIT = 10
_IDLE_SECONDS = 900.0


@pytest.fixture
def concurrency(scene: Scene) -> Iterator[AccountConcurrency]:
    limited = scene.aws.concurrency
    limited.limit = LIMIT
    yield limited
    limited.limit = None


def first_deployment(scene: Scene) -> list[Scene]:
    """Let the schedule find many mirrors that ECR lacks, and wait for all that follows."""
    deployment = scene.deployment
    scenes = [scene, *(Scene(deployment, deployment.next_mirror(), scene.upstream) for _ in range(MIRRORS - 1))]
    for number, each in enumerate(scenes):
        each.serve(make_image([200, 100], seed=number))
    mirrors: list[MirrorRule] = [each.mirror for each in scenes]
    with deployment.rules(rules_text(*mirrors), "ScheduleChecks"):
        scene.aws.clock.advance(CHECK_EVERY.total_seconds())
        scene.aws.ticker.run_due()
        scene.aws.wait_idle(_IDLE_SECONDS)
    return scenes


def ends(scenes: list[Scene]) -> list[str]:
    """Say how the refreshes of these mirrors ended."""
    states = scenes[0].aws.client("stepfunctions")
    machine = scenes[0].deployment.stack.outputs["RefreshStateMachineArn"]
    ours = tuple(f"{each.repository}-".replace("/", "-") for each in scenes)
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=machine)
    return [each["status"] for page in pages for each in page["executions"] if each["name"].startswith(ours)]


@pytest.mark.timeout(1200)
def test_first_deployment_ends_without_an_alarm_though_lambda_throttles(
    scene: Scene, concurrency: AccountConcurrency
) -> None:
    deployment, before = scene.deployment, dict(concurrency.throttles)
    runs_before = len(scene.aws.invocations)

    scenes = first_deployment(scene)

    assert [each.key for each in scenes if each.record().state is not State.FRESH] == []
    throttled = {name for name, count in concurrency.throttles.items() if count > before.get(name, 0)}
    assert {deployment.function("CheckFreshness"), deployment.function("CopyBlobs")} <= throttled
    # What alarms watch: dead letters, executions that ended otherwise, functions that failed.
    assert deployment.dead_letters() == []
    assert ends(scenes) == ["SUCCEEDED"] * MIRRORS
    runs = scene.aws.invocations[runs_before:]
    assert {run.outcome for run in runs} == {"Succeeded"}
    assert deployment.alerts() == []
