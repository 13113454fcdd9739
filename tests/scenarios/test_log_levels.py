"""What a function writes at each LogLevel, metrics included, as it reaches the log group."""

import json
from typing import Any

import pytest

from local.images import make_image
from tests.scenarios.deployment import CHECK_EVERY
from tests.scenarios.scene import Scene

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"]
IMAGE, NEW = make_image([100], seed=1), make_image([100], seed=2)
NOT_RETRIED_BY_THE_SDK = "RequestAbortedException"


def lines(scene: Scene) -> list[dict[str, Any]]:
    """Read what check_freshness wrote; a line that is no JSON fails the test."""
    return [json.loads(line) for run in scene.runs("CheckFreshness") for line in run.logs.splitlines()]


@pytest.mark.parametrize("level", LEVELS)
def test_function_writes_the_levels_from_loglevel_on_and_all_metrics(scene: Scene, level: str) -> None:
    with scene.deployment.variables("CheckFreshness", POWERTOOLS_LOG_LEVEL=level):
        scene.serve(IMAGE)
        scene.check()  # INFO: something changed
        scene.check(CHECK_EVERY)  # DEBUG: nothing did
        scene.serve(NEW)
        scene.ecr.faults.add("DescribeImages", NOT_RETRIED_BY_THE_SDK)
        scene.check(CHECK_EVERY)  # ERROR: the check failed; WARNING: its message comes back
        written = lines(scene)
    assert {line["level"] for line in written if "level" in line} == set(LEVELS[LEVELS.index(level) :])
    metrics = [line for line in written if "_aws" in line]
    assert {line["service"] for line in metrics} == {"pullahead"}  # the stack's name
    assert sum(sum(line["Checks"]) for line in metrics if "Checks" in line) >= 3
    assert [line["Failures"] for line in metrics if "Failures" in line] == [[1.0]]
