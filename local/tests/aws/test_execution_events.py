"""Executions tell EventBridge that they began and how they ended, in the shape of the Step Functions documentation."""

import json
from typing import Any

import pytest

from local.tests.aws.stack import WholeStack
from tests.polling import until


@pytest.fixture
def listening(whole: WholeStack) -> WholeStack:
    """Let a queue hear what the state machine's executions do."""
    events, queue = whole.aws.client("events"), whole.stack.resources["Seen"].rsplit("/", 1)[1]
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [whole.stack.resources["Machine"]]},
    }
    events.put_rule(Name="executions", EventPattern=json.dumps(pattern))
    events.put_targets(
        Rule="executions", Targets=[{"Id": "seen", "Arn": f"arn:aws:sqs:eu-west-1:123456789012:{queue}"}]
    )
    return whole


def events_of(listening: WholeStack) -> list[dict[str, Any]]:
    listening.aws.wait_idle(20)
    found = [json.loads(body) for body in listening.taken("Seen")]
    return sorted(
        (event for event in found if "detail" in event), key=lambda event: event["detail"]["status"] != "RUNNING"
    )


def test_execution_that_succeeds_sends_events_of_its_start_and_its_end(listening: WholeStack) -> None:
    arn = listening.execution([], {"do": "echo"}, "one-that-succeeds")
    began, ended = events_of(listening)
    described = listening.result(arn)
    assert ended["source"] == "aws.states"
    assert ended["resources"] == [arn]
    assert ended["time"].endswith("Z")
    detail = ended["detail"]
    assert (detail["name"], detail["status"]) == ("one-that-succeeds", "SUCCEEDED")
    assert (detail["executionArn"], detail["stateMachineArn"]) == (arn, listening.stack.resources["Machine"])
    assert json.loads(detail["input"]) == json.loads(described["input"])
    assert json.loads(detail["output"]) == json.loads(described["output"])
    assert detail["stopDate"] == int(described["stopDate"].timestamp() * 1000)
    assert (began["detail"]["status"], began["detail"]["stopDate"]) == ("RUNNING", None)
    assert began["detail"]["startDate"] == detail["startDate"]


def test_execution_that_fails_sends_an_event_with_its_cause(listening: WholeStack) -> None:
    listening.execution([], {"do": "fail", "how": "down"}, "one-that-fails")
    _, ended = events_of(listening)
    assert (ended["detail"]["status"], ended["detail"]["output"]) == ("FAILED", None)
    assert ended["detail"]["error"] == "UpstreamDownError"


def test_execution_that_is_stopped_sends_an_event_at_its_end(listening: WholeStack) -> None:
    states = listening.aws.client("stepfunctions")
    arn = listening.execution([{"wanted": 10_000}], {"do": "echo"}, "one-that-is-stopped")
    until(lambda: len(listening.runs("Worker")) > 0, "the execution works")
    states.stop_execution(executionArn=arn)
    _, ended = events_of(listening)
    assert ended["detail"]["status"] == "ABORTED"
    assert listening.result(arn)["status"] == "ABORTED"
