"""State machines as the service runs them: loops, retries, error names, repeated names, times."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from local.tests.aws.stack import WholeStack

DONE = {"do": "echo"}


def _units(*wanted: int) -> list[dict[str, int]]:
    return [{"wanted": rounds} for rounds in wanted]


def test_map_goes_round_until_every_unit_is_done(whole: WholeStack) -> None:
    arn = whole.execution(_units(1, 3, 2), DONE)
    whole.aws.wait_idle(20)

    described = whole.result(arn)
    assert described["status"] == "SUCCEEDED"
    assert [unit["rounds"] for unit in json.loads(described["output"])["copied"]] == [1, 3, 2]


def test_context_object_names_the_execution_and_its_times_by_the_local_clock(whole: WholeStack) -> None:
    whole.aws.clock.advance(86_400)

    arn = whole.execution([], DONE)
    whole.aws.wait_idle(20)

    plan = json.loads(whole.result(arn)["output"])["plan"]
    assert plan["name"] == arn.rsplit(":", 1)[1]
    for moment in (plan["started"], plan["entered"]):
        assert moment.endswith("Z")
        assert abs(datetime.fromisoformat(moment) - whole.aws.clock.now()) < timedelta(minutes=1)
    assert whole.result(arn)["startDate"] - datetime.now(UTC) > timedelta(hours=23)


def test_retry_waits_are_scaled_and_the_error_is_the_exceptions_class(whole: WholeStack) -> None:
    before = len(whole.runs("Worker"))
    arn = whole.execution([], {"do": "fail_until", "counter": "retry", "times": 3})
    whole.aws.wait_idle(20)

    runs = whole.runs("Worker")[before:]
    assert [run.outcome for run in runs] == ["Succeeded", "UpstreamDownError", "UpstreamDownError", "Succeeded"]
    assert whole.result(arn)["status"] == "SUCCEEDED"


def test_error_that_is_not_retried_is_caught_by_its_name(whole: WholeStack) -> None:
    before = len(whole.runs("Worker"))
    arn = whole.execution([], {"do": "fail", "how": "broken"})
    whole.aws.wait_idle(20)

    assert [run.outcome for run in whole.runs("Worker")[before:]] == ["Succeeded", "BrokenForeverError"]
    assert json.loads(whole.result(arn)["output"])["error"]["Error"] == "BrokenForeverError"


def test_retries_that_are_used_up_fail_the_execution(whole: WholeStack) -> None:
    arn = whole.execution([], {"do": "fail", "how": "down"})
    whole.aws.wait_idle(20)

    described = whole.result(arn)
    assert described["status"] == "FAILED"
    assert described["error"] == "UpstreamDownError"


def test_dead_process_reaches_the_state_machine_by_lambdas_name(whole: WholeStack) -> None:
    arn = whole.execution([], {"do": "crash"})
    whole.aws.wait_idle(20)

    assert whole.result(arn)["error"] == "Runtime.ExitError"


def test_executions_without_a_name_do_not_collide(whole: WholeStack) -> None:
    first, second = (whole.execution([], DONE) for _ in range(2))

    assert first != second
    whole.aws.wait_idle(20)


def test_same_name_and_input_at_once_run_once(whole: WholeStack) -> None:
    before = len(whole.runs("Worker"))
    last = {"do": "sleep", "seconds": 1}
    with ThreadPoolExecutor(4) as executor:
        arns = set(executor.map(lambda _: whole.execution([], last, name="same"), range(4)))
    whole.aws.wait_idle(20)

    assert len(arns) == 1
    assert len(whole.runs("Worker")) - before == 2  # its two tasks


def test_same_name_with_other_input_is_refused_while_it_runs(whole: WholeStack) -> None:
    whole.execution([], {"do": "sleep", "seconds": 1}, name="other")

    with pytest.raises(ClientError) as refused:
        whole.execution([], DONE, name="other")

    assert refused.value.response["Error"]["Code"] == "ExecutionAlreadyExists"
    whole.aws.wait_idle(20)


def test_same_name_and_input_are_refused_when_it_has_ended(whole: WholeStack) -> None:
    whole.execution([], DONE, name="ended")
    whole.aws.wait_idle(20)

    with pytest.raises(ClientError) as refused:
        whole.execution([], DONE, name="ended")

    assert refused.value.response["Error"]["Code"] == "ExecutionAlreadyExists"


def test_name_that_aws_would_refuse_is_refused(whole: WholeStack) -> None:
    with pytest.raises(ClientError) as refused:
        whole.execution([], DONE, name="a/b")

    assert refused.value.response["Error"]["Code"] == "InvalidName"
