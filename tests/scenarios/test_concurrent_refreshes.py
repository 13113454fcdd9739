"""Many mirrors are stale at once: three refreshes run at a time, by age; a slot is freed however a refresh ends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from local.images import make_image
from pullahead.aws.refresh_queue import DynamoRefreshSlots, DynamoWaitingRefreshes
from pullahead.messages import StartWaitingRequest
from pullahead.mirrors.record import State
from pullahead.refresh.ports import Slot, SlotLimits
from pullahead.refresh.queue import SLOT_DURATION
from tests.polling import until
from tests.scenarios.scene import Scene

LIMIT = 3
MIRRORS = 40
_LIMIT_SECONDS = 150
HOLDERS = [f"holder-{number}" for number in range(LIMIT)]


class ConcurrentRefreshes:
    """Mirrors of one upstream, their refreshes, and the slots and waiting refreshes in the table."""

    def __init__(self, scene: Scene, count: int) -> None:
        self.scene = scene
        others = (scene.deployment.next_mirror() for _ in range(count - 1))
        self.scenes = [scene, *(Scene(scene.deployment, other, scene.upstream) for other in others)]
        table, dynamodb = scene.deployment.stack.outputs["RecordsTableName"], scene.aws.client("dynamodb")
        self.slots, self.line = DynamoRefreshSlots(dynamodb, table), DynamoWaitingRefreshes(dynamodb, table)

    def take_all_slots(self) -> None:
        """Let others hold all slots, for a long time."""
        now = self.scene.aws.clock.now()
        for name in HOLDERS:
            self.slots.take(Slot(name, "holder.example", now + timedelta(days=1)), now, SlotLimits(LIMIT, LIMIT))

    @property
    def host(self) -> str:
        """The upstream registry, whose line is looked at."""
        return self.scene.upstream.host

    def waiting(self) -> int:
        """Count the waiting refreshes."""
        return self.line.count(self.host)

    def holders(self) -> set[str]:
        """Return the executions that hold a slot."""
        return {slot.name for slot in self.slots.oldest(100)}

    def check(self) -> None:
        """Check every mirror once, and wait for all that follows."""
        for each in self.scenes:
            each.ask_check()
        self.scene.settle()

    def executions(self) -> list[dict[str, Any]]:
        """List the refreshes of these mirrors, the first one first."""
        states = self.scene.aws.client("stepfunctions")
        machine = self.scene.deployment.stack.outputs["RefreshStateMachineArn"]
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=machine)
        ours = {f"{each.repository}-1-0-".replace("/", "-") for each in self.scenes}
        listed = (execution for page in pages for execution in page["executions"])
        found = [each for each in listed if any(each["name"].startswith(prefix) for prefix in ours)]
        return sorted(found, key=lambda execution: execution["startDate"])

    def running(self) -> list[dict[str, Any]]:
        """List those that run."""
        return [execution for execution in self.executions() if execution["status"] == "RUNNING"]


@pytest.fixture
def _three_at_once(scene: Scene) -> Iterator[None]:
    with scene.deployment.variables("CheckFreshness", MAX_CONCURRENT_REFRESHES=str(LIMIT)):
        yield


@contextmanager
def ends_told_to_nobody(scene: Scene) -> Iterator[None]:
    """Lose the events of Step Functions, which AWS delivers as well as it can and no better."""
    events, rule = scene.aws.client("events"), scene.deployment.stack.resources["RefreshEndedRule"]
    events.disable_rule(Name=rule)
    try:
        yield
        scene.settle()
    finally:
        events.enable_rule(Name=rule)


def most_at_once(executions: list[dict[str, Any]]) -> int:
    changes: list[tuple[datetime, int]] = []
    for execution in executions:
        changes += [(execution["startDate"], 1), (execution["stopDate"], -1)]
    running, most = 0, 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most


@pytest.mark.usefixtures("_three_at_once")
def test_forty_stale_mirrors_never_run_more_refreshes_than_the_limit(scene: Scene) -> None:
    refreshes_scene = ConcurrentRefreshes(scene, MIRRORS)
    for number, each in enumerate(refreshes_scene.scenes):
        each.serve(make_image([100], seed=number))
    refreshes_scene.take_all_slots()
    refreshes_scene.check()
    assert refreshes_scene.waiting() == MIRRORS
    assert refreshes_scene.executions() == []
    by_age = [entry.name for entry in refreshes_scene.line.oldest_first(refreshes_scene.host, MIRRORS)]
    scene.send(*(StartWaitingRequest(name).to_json() for name in HOLDERS))
    scene.settle()
    executions = refreshes_scene.executions()
    assert {execution["status"] for execution in executions} == {"SUCCEEDED"}
    assert len(executions) == MIRRORS
    assert most_at_once(executions) == LIMIT
    for place, execution in enumerate(executions):  # who fills at the same moment may be quicker by one step
        assert abs(by_age.index(execution["name"]) - place) < LIMIT
    assert {each.record().state for each in refreshes_scene.scenes} == {State.FRESH}
    assert (refreshes_scene.waiting(), refreshes_scene.holders()) == (0, set())


@pytest.mark.usefixtures("_three_at_once")
def test_slot_of_a_stopped_refresh_goes_to_a_waiting_one(scene: Scene) -> None:
    refreshes_scene = ConcurrentRefreshes(scene, LIMIT + 1)
    with copies_held_up(refreshes_scene) as go_on:
        crowd_is_full(refreshes_scene)
        stopped, waiting = (
            refreshes_scene.running()[0],
            next(refreshes_scene.line.oldest_first(refreshes_scene.host, 1)),
        )
        scene.aws.client("stepfunctions").stop_execution(executionArn=stopped["executionArn"])
        until(lambda: waiting.name in [each["name"] for each in refreshes_scene.running()], "who waited runs")
        assert stopped["name"] not in refreshes_scene.holders()
        go_on.set()
        scene.settle()
    assert refreshes_scene.holders() == set()


@pytest.mark.usefixtures("_three_at_once")
def test_only_the_slot_of_an_unreported_end_expires(scene: Scene) -> None:
    refreshes_scene = ConcurrentRefreshes(scene, LIMIT + 1)
    with ends_told_to_nobody(scene), copies_held_up(refreshes_scene) as go_on:
        crowd_is_full(refreshes_scene)
        stopped, waiting = (
            refreshes_scene.running()[0],
            next(refreshes_scene.line.oldest_first(refreshes_scene.host, 1)),
        )
        scene.aws.client("stepfunctions").stop_execution(executionArn=stopped["executionArn"])
        until(lambda: len(refreshes_scene.running()) == LIMIT - 1, "it has stopped")
        fill(refreshes_scene)
        assert len(refreshes_scene.running()) == LIMIT - 1
        scene.aws.clock.advance(SLOT_DURATION.total_seconds())
        fill(refreshes_scene)
        until(lambda: waiting.name in [each["name"] for each in refreshes_scene.running()], "who waited runs")
        assert len(refreshes_scene.running()) == len(refreshes_scene.holders()) == LIMIT
        go_on.set()


def crowd_is_full(refreshes_scene: ConcurrentRefreshes) -> None:
    """Let as many copies begin as may, and another mirror wait."""
    for number, each in enumerate(refreshes_scene.scenes):
        each.serve(make_image([100], seed=number))
        each.ask_check()
    until(
        lambda: len(refreshes_scene.running()) == LIMIT and refreshes_scene.waiting() == 1,
        "three run, and one waits",
    )


def fill(refreshes_scene: ConcurrentRefreshes) -> None:
    """Ask for a look at the line as the schedule does, and wait until it is over."""
    runs = len(refreshes_scene.scene.runs("CheckFreshness"))
    refreshes_scene.scene.send(StartWaitingRequest().to_json())
    until(lambda: len(refreshes_scene.scene.runs("CheckFreshness")) > runs, "the line is looked at")


@contextmanager
def copies_held_up(refreshes_scene: ConcurrentRefreshes) -> Iterator[threading.Event]:
    """Block upstream's blobs until the context ends."""
    go_on = threading.Event()
    refreshes_scene.scene.upstream.before("GET", "/blobs/", lambda: _wait(go_on), times=100)
    try:
        yield go_on
    finally:
        go_on.set()


def _wait(event: threading.Event) -> None:
    if not event.wait(_LIMIT_SECONDS):
        raise TimeoutError("the scenario did not go on")
