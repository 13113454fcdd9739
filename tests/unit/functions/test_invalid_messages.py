"""Failed messages of check_freshness: which are retried, which go to the dead-letter queue, what is counted."""

from typing import Any

import pytest
from aws_lambda_powertools import Metrics

from functions.check_freshness import app as check_freshness
from pullahead.errors import ConfigError, StorageError
from pullahead.messages import CheckRequest
from tests.fakes.application import MAX_RECEIVE_COUNT, InMemoryService
from tests.fakes.checks import FIRST
from tests.fakes.lambda_context import lambda_context
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, rules

INVALID = '{"reason": "hunch"}'


@pytest.fixture
def service() -> InMemoryService:
    made = InMemoryService(rules())
    made.upstream.serve(FIRST, UPSTREAM)
    return made


def received(service: InMemoryService, *bodies: str, tries: int = 1) -> list[str]:
    """Handle a batch, and return the ids of the messages that are retried."""
    records = [
        {
            "messageId": str(number),
            "receiptHandle": f"receipt {number}",
            "body": body,
            "attributes": {"ApproximateReceiveCount": str(tries)},
            "eventSource": "aws:sqs",
        }
        for number, body in enumerate(bodies)
    ]
    answer: Any = check_freshness.handle({"Records": records}, lambda_context(), service.app)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def good(service: InMemoryService) -> str:
    return CheckRequest(reason="schedule", repository=REPOSITORY, tags=("1.0",), asked_at=service.clock()).to_json()


def measured() -> dict[str, float]:
    return {name: sum(metric["Value"]) for name, metric in Metrics().metric_set.items()}


@pytest.mark.parametrize("invalid", [INVALID, "{", "null", '"\\ud800"', '{"kind": "list"}'])
def test_undecodable_message_goes_to_the_dead_letter_queue_at_once(service: InMemoryService, invalid: str) -> None:
    assert received(service, invalid, good(service), invalid) == []
    assert service.records.stored.keys() == {KEY}
    assert [letter.body for letter in service.dead_letters.letters.values()] == [invalid, invalid]
    assert service.dead_letters.reasons == ["InvalidEventError"] * 2
    assert measured() == {"CheckFailures": 2, "DeadLetters": 2, "Checks": 1}


def test_dead_letter_names_the_decoding_error(service: InMemoryService) -> None:
    assert received(service, INVALID) == []
    (letter,) = service.dead_letters.letters.values()
    assert "$.reason" in letter.text or "hunch" in letter.text
    assert (letter.tries, letter.since) == (1, service.clock())


@pytest.mark.parametrize("error", [StorageError("the table is busy"), ConfigError("no rules"), KeyError("defect")])
@pytest.mark.parametrize("operation", ["load", "published_digests"])
def test_failed_message_is_retried_alone_until_its_last_try(
    service: InMemoryService, error: Exception, operation: str
) -> None:
    for tries in range(1, MAX_RECEIVE_COUNT):
        service.script.fail(operation, error)
        assert received(service, good(service), tries=tries) == ["0"]
    assert service.dead_letters.letters == {}
    service.script.fail(operation, error)
    assert received(service, good(service), good(service), tries=MAX_RECEIVE_COUNT) == []
    (letter,) = service.dead_letters.letters.values()
    assert (letter.body, letter.reason, letter.tries) == (good(service), type(error).__name__, MAX_RECEIVE_COUNT)
    assert service.records.stored.keys() == {KEY}  # of the other message of this batch


def test_message_with_one_failing_mirror_is_dead_lettered_after_its_last_try(
    service: InMemoryService,
) -> None:
    service.script.fail("save", StorageError("no"))
    assert received(service, good(service), tries=MAX_RECEIVE_COUNT) == []
    assert service.dead_letters.reasons == ["StorageError"]
    assert measured() == {"CheckFailures": 1, "DeadLetters": 1}


def test_message_that_cannot_be_dead_lettered_is_retried(service: InMemoryService) -> None:
    service.script.fail("send_dead_letter", StorageError("no"))
    assert received(service, INVALID, good(service)) == ["0"]
    assert measured() == {"CheckFailures": 1, "Checks": 1}
    assert received(service, INVALID) == []
    assert service.dead_letters.reasons == ["InvalidEventError"]
