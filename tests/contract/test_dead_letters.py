"""Dead letters: the fake and SQS (moto) behave the same; messages of SQS and EventBridge are read as well."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import pytest
from botocore.stub import Stubber

from pullahead.aws.sqs import SqsDeadLetters
from pullahead.dead_letters import DeadLetterMessage, DeadLetterQueue, DeadLetterQueues
from pullahead.errors import StorageError
from tests.contract.local_services import client, moto_server, new_name
from tests.fakes.dead_letters import FakeDeadLetters

NOW = datetime(2026, 11, 24, 9, 5, 0, 500_000, tzinfo=UTC)


class SourceDeadLetters(DeadLetterQueue, Protocol):
    """The whole queue, as those who send and those who receive see it."""

    def send(self, message: DeadLetterMessage) -> None:
        """Send a message."""
        ...


class Bench(NamedTuple):
    """A place for dead letters, and what a consumer finds in the queue that they came from."""

    place: SourceDeadLetters
    queued: Callable[[], list[str]]


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "sqs")


def in_memory(_sqs: Any) -> tuple[Any, Callable[[], list[str]]]:
    fake = FakeDeadLetters()
    return fake, lambda: fake.queued


def in_sqs(sqs: Any) -> tuple[Any, Callable[[], list[str]]]:
    place, source = queue(sqs), queue(sqs)
    return SqsDeadLetters(sqs, place, source), lambda: bodies(sqs, source)


@pytest.fixture(params=[in_memory, in_sqs])
def bench(request: pytest.FixtureRequest, sqs: Any) -> Bench:
    return Bench(*request.param(sqs))


def queue(sqs: Any, **attributes: str) -> str:
    url: str = sqs.create_queue(QueueName=new_name("aside"), Attributes=attributes)["QueueUrl"]
    return url


def bodies(sqs: Any, url: str) -> list[str]:
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [message["Body"] for message in messages]


def dead_letter(body: str = "{", **changes: Any) -> DeadLetterMessage:
    return DeadLetterMessage(body, "InvalidEventError", "größer: no `tags`", NOW, 1)._replace(**changes)


def test_message_is_received_as_it_was_sent(bench: Bench) -> None:
    bench.place.send(dead_letter(tries=5))
    (letter,), more = bench.place.take(10)
    fields = (letter.body, letter.reason, letter.text, letter.since, letter.tries, more)
    assert fields == ("{", "InvalidEventError", "größer: no `tags`", NOW, 5, 0)


def test_messages_are_received_oldest_first_up_to_the_limit(bench: Bench) -> None:
    for number in range(25):
        bench.place.send(dead_letter(f"{number}", failed_at=NOW.replace(minute=59 - number)))
    taken = bench.place.take(23)
    assert [letter.since for letter in taken.letters] == sorted(letter.since for letter in taken.letters)
    assert (len({letter.body for letter in taken.letters}), taken.more) == (23, 2)
    assert len(bench.place.take(10).letters) == 2


def test_received_messages_are_invisible_until_they_are_released(bench: Bench) -> None:
    for number in range(12):
        bench.place.send(dead_letter(f"{number}"))
    taken = bench.place.take(100).letters
    assert bench.place.take(100).letters == ()
    bench.place.release(taken)
    assert {letter.id for letter in bench.place.take(100).letters} == {letter.id for letter in taken}


def test_redriven_message_is_in_its_source_queue_only(bench: Bench) -> None:
    for body in ("first", "second"):
        bench.place.send(dead_letter(body))
    taken = bench.place.take(10).letters
    (first,) = (letter for letter in taken if letter.body == "first")
    bench.place.put_back(first)
    assert bench.queued() == ["first"]
    bench.place.release([letter for letter in taken if letter != first])
    assert [letter.body for letter in bench.place.take(10).letters] == ["second"]


def test_dropped_message_is_deleted(bench: Bench) -> None:
    bench.place.send(dead_letter())
    taken = bench.place.take(10).letters
    bench.place.drop(taken[0])
    assert bench.queued() == []
    bench.place.release(())
    assert bench.place.take(10).letters == ()


@pytest.mark.parametrize("make", [in_memory, in_sqs])
def test_message_of_either_queue_is_redriven_to_its_own_source_queue(sqs: Any, make: Callable[[Any], Any]) -> None:
    checks, pulls = Bench(*make(sqs)), Bench(*make(sqs))
    both = DeadLetterQueues({"checks": checks.place, "pulls": pulls.place})
    checks.place.send(dead_letter("check"))
    pulls.place.send(dead_letter("pull", failed_at=NOW.replace(minute=1)))
    pulls.place.send(dead_letter("invalid", failed_at=NOW.replace(minute=2)))
    (pull, invalid, check), more = both.take(10)
    assert [(letter.body, letter.queue) for letter in (pull, invalid, check)] == [
        ("pull", "pulls"),
        ("invalid", "pulls"),
        ("check", "checks"),
    ]
    both.put_back(pull)
    both.drop(invalid)
    both.release([check])
    assert (checks.queued(), pulls.queued(), more) == ([], ["pull"], 0)
    assert [letter.body for letter in both.take(10).letters] == ["check"]


class TestSqs:
    def test_message_that_sqs_moved_has_no_reason(self, sqs: Any) -> None:
        place = queue(sqs)
        arn = sqs.get_queue_attributes(QueueUrl=place, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        source = queue(
            sqs, VisibilityTimeout="0", RedrivePolicy=f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1}}'
        )
        sqs.send_message(QueueUrl=source, MessageBody="always fails")
        assert bodies(sqs, source) == ["always fails"]
        assert bodies(sqs, source) == []
        (letter,) = SqsDeadLetters(sqs, place).take(10).letters
        assert (letter.body, letter.reason, letter.text, letter.tries) == ("always fails", None, "", None)
        assert abs((letter.since - datetime.now(UTC)).total_seconds()) < 60

    def test_message_of_eventbridge_has_the_reason_of_eventbridge(self, sqs: Any) -> None:
        place = queue(sqs)
        said = {
            "RULE_ARN": "arn:aws:events:eu-west-1:123456789012:rule/pullahead-EcrPushRule",
            "TARGET_ARN": "arn:aws:sqs:eu-west-1:123456789012:pullahead-ChecksQueue",
            "ERROR_CODE": "NO_PERMISSIONS",
            "ERROR_MESSAGE": "not authorized",
            "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
            "RETRY_ATTEMPTS": "185",
        }
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in said.items()}
        sqs.send_message(QueueUrl=place, MessageBody="{}", MessageAttributes=attributes)
        (letter,) = SqsDeadLetters(sqs, place).take(10).letters
        assert (letter.reason, letter.text, letter.tries) == ("NO_PERMISSIONS", "not authorized", 185)

    @pytest.mark.parametrize("failed_at", ["yesterday", "2026-11-24T09:05:00"])
    def test_unknown_attributes_are_ignored(self, sqs: Any, failed_at: str) -> None:
        place = queue(sqs)
        said = {"failed_at": failed_at, "tries": "many", "reason": "x"}
        attributes: dict[str, Any] = {n: {"DataType": "String", "StringValue": value} for n, value in said.items()}
        attributes["text"] = {"DataType": "Binary", "BinaryValue": b"\x00"}
        sqs.send_message(QueueUrl=place, MessageBody="{}", MessageAttributes=attributes)
        (letter,) = SqsDeadLetters(sqs, place).take(10).letters
        assert (letter.reason, letter.text, letter.tries) == ("x", "", None)
        assert letter.since.tzinfo is not None

    def test_body_too_large_for_a_reason_is_a_storage_error(self, sqs: Any) -> None:
        limit = queue(sqs, MaximumMessageSize="1024")
        with pytest.raises(StorageError, match="send of a dead letter failed"):
            SqsDeadLetters(sqs, limit).send(dead_letter("x" * 1025))

    def test_missing_queue_is_a_storage_error_of_every_method(self, sqs: Any) -> None:
        missing = SqsDeadLetters(sqs, f"{sqs.meta.endpoint_url}/123456789012/nowhere", queue(sqs))
        SqsDeadLetters(sqs, place := queue(sqs)).send(dead_letter())
        letters = SqsDeadLetters(sqs, place).take(1).letters
        for act in (
            lambda: missing.send(dead_letter()),
            lambda: missing.take(1),
            lambda: missing.release(letters),
            lambda: missing.drop(letters[0]),
        ):
            with pytest.raises(StorageError, match="dead letter"):
                act()

    def test_message_that_cannot_be_redriven_is_kept(self, sqs: Any) -> None:
        place = SqsDeadLetters(sqs, queue(sqs), f"{sqs.meta.endpoint_url}/123456789012/nowhere")
        place.send(dead_letter())
        taken = place.take(10).letters
        with pytest.raises(StorageError, match="send of a dead letter to its queue failed"):
            place.put_back(taken[0])
        place.release(taken)
        assert len(place.take(10).letters) == 1

    def test_receive_uses_long_polling(self, sqs: Any) -> None:
        expected = {
            "QueueUrl": "https://sqs/q",
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": 1,
            "VisibilityTimeout": 300,
            "MessageSystemAttributeNames": ["SentTimestamp"],
            "MessageAttributeNames": ["All"],
        }
        with Stubber(sqs) as stub:
            stub.add_response("receive_message", {}, expected)
            assert SqsDeadLetters(sqs, "https://sqs/q").take(100) == ((), 0)
