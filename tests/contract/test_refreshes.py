"""Executions of refreshes: the fake and the local Step Functions behave the same."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from botocore.stub import Stubber

from local.aws.server import LocalAws
from pullahead.aws.stepfunctions import StepFunctionsRefreshes
from pullahead.errors import StorageError
from pullahead.messages import RefreshRequest
from pullahead.refresh.ports import RefreshExecutions, StartResult
from tests.contract.local_services import ACCOUNT_ID, REGION, new_name
from tests.fakes.memory import FakeRefreshExecutions
from tests.fakes.refreshes import refresh_request
from tests.fakes.samples import root
from tests.polling import until

REQUEST, OTHER = refresh_request(root("new")), refresh_request(root("other"))
ARN = f"arn:aws:states:{REGION}:{ACCOUNT_ID}:stateMachine:refresh"


class Bench(NamedTuple):
    """A state machine, its executions, and a hand that stops one."""

    refreshes: RefreshExecutions
    inputs: Callable[[], list[RefreshRequest]]
    stop: Callable[[RefreshRequest], object]


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with LocalAws(tmp_path_factory.mktemp("aws")) as aws:
        yield aws.client("stepfunctions")


@pytest.fixture(params=["fake", "stepfunctions"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "fake":
        fake = FakeRefreshExecutions()
        return Bench(
            fake,
            lambda: list(fake.requests.values()),
            lambda stopped: fake.statuses.update({stopped.name: StartResult.ENDED}),
        )
    return step_functions_bench(request.getfixturevalue("states"))


def step_functions_bench(states: Any) -> Bench:
    # Its one state waits for hours, so that an execution runs until it is stopped.
    waits = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 7200, "End": True}}}
    role = f"arn:aws:iam::{ACCOUNT_ID}:role/refresh"
    arn = states.create_state_machine(name=new_name("refresh"), definition=json.dumps(waits), roleArn=role)[
        "stateMachineArn"
    ]

    def executions() -> list[str]:
        return [found["executionArn"] for found in states.list_executions(stateMachineArn=arn)["executions"]]

    def inputs() -> list[RefreshRequest]:
        described = [states.describe_execution(executionArn=execution) for execution in executions()]
        return [RefreshRequest.from_json(execution["input"]) for execution in described]

    def stop(request: RefreshRequest) -> None:
        execution = next(e for e in executions() if e.endswith(f":{request.name}"))
        states.stop_execution(executionArn=execution)
        # The interpreter notices a moment later; AWS has stopped it when it answers.
        until(lambda: states.describe_execution(executionArn=execution)["status"] != "RUNNING", "the execution stops")

    return Bench(StepFunctionsRefreshes(states, arn), inputs, stop)


def test_execution_starts_with_the_request_as_input(bench: Bench) -> None:
    assert bench.refreshes.start(REQUEST) is StartResult.STARTED
    assert bench.inputs() == [REQUEST]
    bench.stop(REQUEST)


def test_same_refresh_started_twice_runs_once(bench: Bench) -> None:
    bench.refreshes.start(REQUEST)
    assert bench.refreshes.start(REQUEST) in (StartResult.STARTED, StartResult.RUNNING)
    assert bench.inputs() == [REQUEST]
    bench.stop(REQUEST)


def test_running_execution_keeps_its_input(bench: Bench) -> None:
    bench.refreshes.start(REQUEST)
    changed = RefreshRequest.from_event({**REQUEST.to_event(), "tag": "2.0"})
    assert bench.refreshes.start(changed) is StartResult.RUNNING
    assert bench.inputs() == [REQUEST]
    bench.stop(REQUEST)


def test_stopped_execution_is_not_run_again_under_its_name(bench: Bench) -> None:
    bench.refreshes.start(REQUEST)
    bench.stop(REQUEST)
    assert bench.refreshes.start(REQUEST) is StartResult.ENDED
    assert bench.inputs() == [REQUEST]


def test_other_refreshes_run_in_parallel(bench: Bench) -> None:
    assert bench.refreshes.start(REQUEST) is StartResult.STARTED
    assert bench.refreshes.start(OTHER) is StartResult.STARTED
    assert sorted(request.name for request in bench.inputs()) == sorted([REQUEST.name, OTHER.name])
    bench.stop(REQUEST)
    bench.stop(OTHER)


def test_execution_is_running_from_its_start_to_its_end(bench: Bench) -> None:
    assert not bench.refreshes.is_running(REQUEST.name)
    assert bench.refreshes.state_of(REQUEST.name) is None
    bench.refreshes.start(REQUEST)
    assert bench.refreshes.is_running(REQUEST.name)
    assert bench.refreshes.state_of(REQUEST.name) is StartResult.RUNNING
    bench.stop(REQUEST)
    assert not bench.refreshes.is_running(REQUEST.name)
    assert bench.refreshes.state_of(REQUEST.name) is StartResult.ENDED


class TestStepFunctions:
    @pytest.mark.parametrize(
        ("status", "started"),
        [
            ("RUNNING", StartResult.RUNNING),
            ("SUCCEEDED", StartResult.SUCCEEDED),
            ("FAILED", StartResult.ENDED),
            ("TIMED_OUT", StartResult.ENDED),
            ("ABORTED", StartResult.ENDED),
            ("PENDING_REDRIVE", StartResult.ENDED),
        ],
    )
    def test_start_under_a_used_name_returns_its_status(self, states: Any, status: str, started: StartResult) -> None:
        execution = f"arn:aws:states:{REGION}:{ACCOUNT_ID}:execution:refresh:{REQUEST.name}"
        described = {
            "executionArn": execution,
            "stateMachineArn": ARN,
            "status": status,
            "startDate": REQUEST.stale_since,
        }
        asked = {"stateMachineArn": ARN, "name": REQUEST.name, "input": REQUEST.to_json()}
        with Stubber(states) as stub:
            stub.add_client_error("start_execution", "ExecutionAlreadyExists", expected_params=asked)
            stub.add_response("describe_execution", described, {"executionArn": execution})
            assert StepFunctionsRefreshes(states, ARN).start(REQUEST) is started

    def test_failed_describe_is_a_storage_error(self, states: Any) -> None:
        with Stubber(states) as stub:
            stub.add_client_error("describe_execution", "ThrottlingException")
            with pytest.raises(StorageError, match="ThrottlingException"):
                StepFunctionsRefreshes(states, ARN).is_running(REQUEST.name)

    @pytest.mark.parametrize("code", ["StateMachineDoesNotExist", "ExecutionLimitExceeded", "ThrottlingException"])
    def test_other_refusals_are_storage_errors(self, states: Any, code: str) -> None:
        with Stubber(states) as stub:
            stub.add_client_error("start_execution", code)
            with pytest.raises(StorageError, match=code):
                StepFunctionsRefreshes(states, ARN).start(REQUEST)
