"""The checks queue: the fake and SQS (moto) behave the same."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from botocore.stub import Stubber

from pullahead.aws.sqs import SqsCheckQueue, SqsReceivedMessages
from pullahead.checks.ports import CheckQueue
from pullahead.errors import StorageError
from pullahead.messages import CheckRequest
from tests.contract.local_services import client, moto_server, new_name
from tests.fakes.memory import FakeCheckQueue

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
URL = "https://sqs/q"


def check(number: int, path: str = "mirror/app", tags: int = 1) -> CheckRequest:
    """Make a check; tags as long as they may be."""
    return CheckRequest(
        reason="schedule", repository=f"{path}{number}", tags=tuple(f"{n:0128}" for n in range(tags)), asked_at=NOW
    )


class Bench(NamedTuple):
    """A queue, and what a consumer finds in it."""

    queue: CheckQueue
    received: Callable[[], list[CheckRequest]]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def sqs(moto: str) -> Any:
    return client(moto, "sqs")


@pytest.fixture(params=["fake", "sqs"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "fake":
        fake = FakeCheckQueue()
        return Bench(fake, lambda: fake.sent)
    sqs = request.getfixturevalue("sqs")
    url = sqs.create_queue(QueueName=new_name("checks"))["QueueUrl"]
    return Bench(SqsCheckQueue(sqs, url), lambda: received(sqs, url))


def received(sqs: Any, url: str) -> list[CheckRequest]:
    found = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [CheckRequest.from_json(message["Body"]) for message in messages]
    return found


def entries(*numbers: int) -> list[dict[str, Any]]:
    """Write some checks as entries of a call."""
    return [{"Id": str(number), "MessageBody": check(number).to_json(), "DelaySeconds": 0} for number in numbers]


def refusal(*numbers: int) -> dict[str, Any]:
    """Answer a call of which SQS did not take some entries, by a fault of its own."""
    return {
        "Successful": [],
        "Failed": [{"Id": str(number), "SenderFault": False, "Code": "InternalError"} for number in numbers],
    }


def by_repository(requests: list[CheckRequest]) -> list[CheckRequest]:
    return sorted(requests, key=lambda request: request.repository)


@pytest.mark.parametrize("count", [0, 1, 10, 11, 25])
def test_every_check_is_sent_once(bench: Bench, count: int) -> None:
    sent = [check(n) for n in range(count)]
    bench.queue.send(sent)
    assert by_repository(bench.received()) == by_repository(sent)


class TestSqs:
    @pytest.mark.parametrize("path", ["mirror/app", "m" * 30_000])
    def test_no_call_exceeds_the_limits_of_sqs(self, moto: str, path: str) -> None:
        """Ten of the largest checks are 135 KB. Were they larger, they would still go in calls of 256 KiB at most."""
        sqs, sizes = client(moto, "sqs"), list[int]()

        def measure(params: dict[str, Any], **_: object) -> None:
            sizes.append(sum(len(entry["MessageBody"]) for entry in params["Entries"]))

        sqs.meta.events.register("provide-client-params.sqs.SendMessageBatch", measure)
        url = sqs.create_queue(QueueName=new_name("checks"))["QueueUrl"]
        sent = [check(n, path, tags=100) for n in range(20)]
        SqsCheckQueue(sqs, url).send(sent)
        assert max(sizes) <= 256 * 1024
        assert by_repository(received(sqs, url)) == by_repository(sent)

    @pytest.mark.parametrize(("asked", "sent"), [(0, 0), (61, 61), (900, 900), (3600, 900)])
    def test_delay_is_cut_to_what_sqs_allows(self, moto: str, asked: int, sent: int) -> None:
        sqs, delays = client(moto, "sqs"), list[int]()

        def measure(params: dict[str, Any], **_: object) -> None:
            delays.extend(entry["DelaySeconds"] for entry in params["Entries"])

        sqs.meta.events.register("provide-client-params.sqs.SendMessageBatch", measure)
        url = sqs.create_queue(QueueName=new_name("checks"))["QueueUrl"]
        SqsCheckQueue(sqs, url).send([check(1), check(2)], asked)
        assert delays == [sent, sent]

    def test_no_checks_make_no_call(self, sqs: Any) -> None:
        with Stubber(sqs):
            SqsCheckQueue(sqs, "https://sqs/q").send([])

    def test_entry_that_sqs_did_not_take_is_sent_again_alone(self, sqs: Any) -> None:
        waits = list[int]()
        with Stubber(sqs) as stub:
            stub.add_response("send_message_batch", refusal(0, 2), {"QueueUrl": URL, "Entries": entries(0, 1, 2)})
            stub.add_response("send_message_batch", refusal(2), {"QueueUrl": URL, "Entries": entries(0, 2)})
            stub.add_response("send_message_batch", refusal(), {"QueueUrl": URL, "Entries": entries(2)})
            SqsCheckQueue(sqs, URL, waits.append).send([check(0), check(1), check(2)])
            stub.assert_no_pending_responses()
        assert waits == [1, 2]

    def test_entry_that_sqs_takes_at_no_try_is_an_error_with_its_code(self, sqs: Any) -> None:
        with Stubber(sqs) as stub:
            for _ in range(4):
                stub.add_response("send_message_batch", refusal(1))
            with pytest.raises(StorageError, match="1 of 2: InternalError"):
                SqsCheckQueue(sqs, URL, lambda _: None).send([check(1), check(2)])

    def test_entry_that_is_wrong_is_not_sent_again(self, sqs: Any) -> None:
        failed = {"Id": "1", "SenderFault": True, "Code": "InvalidMessageContents"}
        with Stubber(sqs) as stub:
            stub.add_response("send_message_batch", {"Successful": [], "Failed": [failed]})
            with pytest.raises(StorageError, match="1 of 2: InvalidMessageContents"):
                SqsCheckQueue(sqs, URL).send([check(1), check(2)])

    def test_missing_queue_is_a_storage_error(self, sqs: Any) -> None:
        url = f"{sqs.meta.endpoint_url}/123456789012/nowhere"
        with pytest.raises(StorageError, match="send of checks failed"):
            SqsCheckQueue(sqs, url).send([check(1)])


class TestReceivedMessages:
    def test_messages_are_deleted_by_their_receipts_and_others_are_not(self, sqs: Any) -> None:
        url = sqs.create_queue(QueueName=new_name("checks"))["QueueUrl"]
        SqsCheckQueue(sqs, url).send([check(n) for n in range(14)])
        receipts = [
            message["ReceiptHandle"]
            for _ in range(2)
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        ]
        SqsReceivedMessages(sqs, url).delete(receipts[:12])
        for receipt in receipts[12:]:
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
        assert len(received(sqs, url)) == 2

    def test_receipt_that_is_refused_is_an_error_with_its_code(self, sqs: Any) -> None:
        url = sqs.create_queue(QueueName=new_name("checks"))["QueueUrl"]
        with pytest.raises(StorageError, match="failed for 1: ReceiptHandleIsInvalid"):
            SqsReceivedMessages(sqs, url).delete(["no receipt"])
