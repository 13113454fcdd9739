"""Queues and functions as Lambda's pollers connect them."""

import json

import pytest

from local.aws.lambda_sandbox import InvocationOutcome
from local.aws.queues import failed_messages
from local.aws.server import NotIdleError
from local.tests.aws.stack import WholeStack

VISIBILITY_SECONDS = 61  # the template says 60


def test_messages_come_in_batches_and_are_deleted(whole: WholeStack) -> None:
    before = len(whole.runs("Consumer"))
    whole.send("Jobs", *(f"job {number}" for number in range(10)))
    whole.aws.wait_idle(20)

    batches = [len(run.event["Records"]) for run in whole.runs("Consumer")[before:]]
    assert sum(batches) == 10
    assert max(batches) <= 5
    assert sorted(whole.taken("Seen")) == sorted(f"job {number} 1" for number in range(10))


def test_record_is_what_lambda_delivers(whole: WholeStack) -> None:
    whole.send("Jobs", "one")
    whole.aws.wait_idle(20)

    [record] = whole.runs("Consumer")[-1].event["Records"]
    assert record["eventSource"] == "aws:sqs"
    assert record["awsRegion"] == "eu-west-1"
    assert record["eventSourceARN"].endswith(whole.stack.resources["Jobs"].rsplit("/", 1)[1])
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert int(record["attributes"]["SentTimestamp"]) > 1_700_000_000_000


def test_only_the_message_that_failed_comes_back_when_its_time_is_over(whole: WholeStack) -> None:
    whole.send("Jobs", "good", "bad")
    whole.aws.wait_idle(20, hidden_ok=True)
    assert sorted(whole.taken("Seen")) == ["bad 1", "good 1"]
    with pytest.raises(NotIdleError, match="waiting to be visible again"):
        whole.aws.wait_idle(0.2)

    whole.aws.clock.advance(VISIBILITY_SECONDS)
    whole.aws.wait_idle(20, hidden_ok=True)

    assert whole.taken("Seen") == ["bad 2"]
    _let_go(whole)


def test_delayed_message_comes_when_it_is_due_and_nobody_waits_for_it_before(whole: WholeStack) -> None:
    queue = whole.stack.resources["Jobs"]
    whole.aws.client("sqs").send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=300)
    whole.aws.wait_idle(20)
    assert whole.taken("Seen") == []

    whole.aws.clock.advance(301)
    whole.aws.wait_idle(20)
    assert whole.taken("Seen") == ["later 1"]


def test_message_that_always_fails_ends_in_the_dead_letter_queue(whole: WholeStack) -> None:
    whole.send("Jobs", "bad apple")
    _let_go(whole)

    assert whole.taken("Seen") == ["bad apple 1", "bad apple 2", "bad apple 3"]  # maxReceiveCount: 3
    assert whole.taken("JobsDead") == ["bad apple"]


def test_batch_whose_function_fails_comes_back_as_a_whole(whole: WholeStack) -> None:
    before = len(whole.runs("Consumer"))
    whole.send("Jobs", "invalid")
    _let_go(whole)

    assert [run.outcome for run in whole.runs("Consumer")[before:]] == ["InvalidMessageError"] * 3
    assert whole.taken("JobsDead") == ["invalid"]


def test_long_poll_ends_although_the_clock_is_stopped(whole: WholeStack) -> None:
    sqs, queue = whole.aws.client("sqs"), whole.stack.resources["JobsDead"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, {"a"}),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, {"a", "b"}),
        ({"batchItemFailures": [{"wrong": "a"}]}, {"a", "b"}),
        ({"batchItemFailures": ["a"]}, {"a", "b"}),
        ({"wrong": []}, {"a", "b"}),
        ("text", {"a", "b"}),
    ],
)
def test_partial_batch_responses_are_read_as_lambda_reads_them(answer: object, failed: set[str]) -> None:
    assert failed_messages(_outcome(json.dumps(answer).encode()), {"a", "b"}, partial=True) == failed


def test_response_is_ignored_unless_the_mapping_requests_it() -> None:
    named = json.dumps({"batchItemFailures": [{"itemIdentifier": "a"}]}).encode()

    assert failed_messages(_outcome(named), {"a"}, partial=False) == set()
    assert failed_messages(_outcome(b"{}", "SomeError"), {"a"}, partial=False) == {"a"}


def _outcome(payload: bytes, error: str | None = None) -> InvocationOutcome:
    return InvocationOutcome("id", payload, error, "", 0.0, cold=False, max_memory_megabytes=None)


def _let_go(whole: WholeStack) -> None:
    """Let hidden messages come back until none is left."""
    for _ in range(4):
        whole.aws.wait_idle(20, hidden_ok=True)
        whole.aws.clock.advance(VISIBILITY_SECONDS)
    whole.aws.wait_idle(20)
