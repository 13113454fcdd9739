"""A message that ends the process that handles it takes no other with it: what comes again is handled alone."""

import json
from collections import Counter
from typing import Any

import pytest

from functions.check_freshness import app as check_freshness
from functions.notice_pulls import app as notice_pulls
from pullahead.errors import StorageError
from pullahead.messages import CheckRequest
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.application import InMemoryService
from tests.fakes.checks import FIRST
from tests.fakes.lambda_context import lambda_context
from tests.fakes.memory import FakeClock
from tests.fakes.samples import REPOSITORY, UPSTREAM, mirror, rules
from tests.unit.functions.test_invalid_messages import measured
from tests.unit.functions.test_notice_pulls import sample, sent
from tests.unit.functions.test_notice_pulls import service as pulled_service

NOW = FakeClock()()
TAGS = [f"{number}.0" for number in range(9)]
pulls = pulled_service


class ProcessEndedError(BaseException):
    """The process has ended: out of memory, or by `sys.exit`."""


class Deadly(InMemoryService):
    """A service whose process ends at messages that name a tag."""

    def __init__(self, *tags: str) -> None:
        super().__init__(rules([mirror(tag) for tag in TAGS]))
        for tag in TAGS:
            self.upstream.serve(FIRST, f"{UPSTREAM.rpartition(':')[0]}:{tag}")
        inner, self.groups = self.app._handle_messages, list[list[str]]()

        def handle(messages: Any, remaining_seconds: Any) -> Any:
            self.groups.append([tag for message in messages for tag in message.tags])
            if set(tags) & set(self.groups[-1]):
                raise ProcessEndedError
            return inner(messages, remaining_seconds)

        vars(self.app)["_handle_messages"] = handle


class Queue:
    """A queue with checks of one tag each, and how often each message was received."""

    def __init__(self, service: Deadly, tags: list[str]) -> None:
        self._service = service
        self.messages = {f"m{number}": tag for number, tag in enumerate(tags)}
        self.receives = Counter[str]()

    def deliver(self, at_most: int = 10) -> None:
        """Deliver one batch; what is not deleted by the end of the function stays."""
        identifiers = list(self.messages)[:at_most]
        self.receives.update(identifiers)
        self._service.received.deleted.clear()
        try:
            answer = check_freshness.handle(
                {"Records": [self._record(identifier) for identifier in identifiers]},
                lambda_context(),
                self._service.app,
            )
        except ProcessEndedError:
            done = {receipt.removeprefix("receipt of ") for receipt in self._service.received.deleted}
        else:
            done = set(identifiers) - {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        self.messages = {identifier: tag for identifier, tag in self.messages.items() if identifier not in done}

    def _record(self, identifier: str) -> dict[str, Any]:
        tag = self.messages[identifier]
        request = CheckRequest(reason="schedule", repository=REPOSITORY, tags=(tag,), asked_at=NOW)
        return {
            "messageId": identifier,
            "receiptHandle": f"receipt of {identifier}",
            "body": request.to_json(),
            "attributes": {"ApproximateReceiveCount": str(self.receives[identifier])},
            "eventSource": "aws:sqs",
        }


@pytest.mark.parametrize("position", range(10))
def test_message_that_ends_the_process_holds_each_other_up_twice_at_most(position: int) -> None:
    service = Deadly("deadly")
    tags = list(TAGS)
    tags.insert(position, "deadly")
    queue = Queue(service, tags)
    for _ in range(3):
        queue.deliver()
    assert list(queue.messages.values()) == ["deadly"]
    assert service.records.stored.keys() == {MirrorKey(REPOSITORY, tag) for tag in TAGS}


def test_of_several_such_messages_only_they_are_left() -> None:
    service = Deadly("a", "b", "c")
    queue = Queue(service, [*TAGS[:2], "a", *TAGS[2:4], "b", *TAGS[4:5], "c", *TAGS[5:7]])
    for _ in range(40):
        queue.deliver()
    left = [tag for tag in queue.messages.values() if tag not in "abc"]
    assert left == TAGS[2:5]  # between two of them; these come apart where the queue delivers other batches
    for _ in range(4):
        queue.messages = dict(reversed(queue.messages.items()))
        queue.deliver(at_most=4)
    assert set(queue.messages.values()) <= {"a", "b", "c", *TAGS[2:5]}


def test_messages_that_come_for_the_first_time_are_handled_together_and_deleted_by_lambda() -> None:
    service = Deadly()
    Queue(service, TAGS).deliver()
    assert service.groups == [TAGS]
    assert service.script.calls.count("delete_messages") == 0


def test_message_that_comes_again_is_handled_after_the_others_were_deleted() -> None:
    service = Deadly()
    queue = Queue(service, TAGS[:4])
    queue.receives.update(["m1", "m2"])
    queue.deliver()
    assert service.groups == [["0.0", "3.0"], ["2.0"], ["1.0"]]
    assert service.received.deleted == ["receipt of m0", "receipt of m3", "receipt of m2"]
    assert (queue.messages, measured()["Checks"]) == ({}, 4)


def test_message_that_failed_is_not_deleted_before_the_next_one() -> None:
    service = Deadly()
    queue = Queue(service, TAGS[:2])
    queue.receives.update(["m0", "m1"])
    service.script.fail("load", StorageError("no"))
    queue.deliver()
    assert list(queue.messages) == ["m1"]  # which was the first one
    assert service.received.deleted == []


def test_messages_that_cannot_be_deleted_early_are_deleted_with_their_batch() -> None:
    service = Deadly()
    queue = Queue(service, TAGS[:3])
    queue.receives.update(["m0", "m1", "m2"])
    service.script.fail("delete_messages", StorageError("no"))
    queue.deliver()
    assert queue.messages == {}


def test_pull_that_comes_again_is_handled_alone(pulls: InMemoryService) -> None:
    (record,) = sample("first_pull", 2)["Records"]
    other = json.loads(json.dumps(record).replace("11.3.0", "11.4.0"))
    other |= {"messageId": "other", "receiptHandle": "other"}
    assert notice_pulls.handle({"Records": [record, other]}, pulls.app) == {"batchItemFailures": []}
    assert len(pulls.received.deleted) == 1
    assert set(sent(pulls)) == {f"mirror/hub/grafana/grafana:11.{minor}.0" for minor in (3, 4)}
