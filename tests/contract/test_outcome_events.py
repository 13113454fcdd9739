"""Outcome events as EventBridge (moto) delivers them to the queue of a rule."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from botocore.stub import Stubber

from pullahead.aws.notifications import EventBridgeOutcomes
from pullahead.errors import StorageError
from pullahead.mirrors.outbox import OutcomeEventBus
from pullahead.mirrors.outcome_event import OutcomeDetail, OutcomeEvent, OutcomeKind, OutcomeReason
from tests.contract.local_services import ACCOUNT_ID, REGION, client, moto_server, new_name
from tests.fakes.outcomes import FakeOutcomes
from tests.fakes.refreshes import BEGAN
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, digest


def event(number: int = 0, kind: OutcomeKind = OutcomeKind.REFRESHED, rule: str = "app") -> OutcomeEvent:
    detail = OutcomeDetail(
        "1", f"id-{number:03}", str(KEY), REPOSITORY, "1.0", UPSTREAM, OutcomeReason.UPSTREAM_MOVED, rule, digest("a")
    )
    return OutcomeEvent(kind, BEGAN + timedelta(seconds=number), detail)


class Bench(NamedTuple):
    """A bus, and the details that came from it."""

    outcomes: OutcomeEventBus
    details: Callable[[], list[OutcomeDetail]]


class Bus(NamedTuple):
    """The default bus, and the events that a rule takes from it into a queue."""

    events: Any
    received: Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def bus(moto: str) -> Iterator[Bus]:
    events, sqs, name = client(moto, "events"), client(moto, "sqs"), new_name("outcomes")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["pullahead"]}))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{name}"}])

    def received() -> list[dict[str, Any]]:
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(message["Body"]) for message in messages]
        return sorted(found, key=lambda each: str(each["detail"]["id"]))

    yield Bus(events, received)
    events.remove_targets(Rule=name, Ids=["queue"])  # else it is given the events of all later tests
    events.delete_rule(Name=name)


@pytest.fixture(params=["fake", "eventbridge"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "fake":
        fake = FakeOutcomes()
        return Bench(fake, lambda: [each.detail for each in fake.published])
    bus: Bus = request.getfixturevalue("bus")
    return Bench(
        EventBridgeOutcomes(bus.events),
        lambda: [msgspec.convert(each["detail"], OutcomeDetail) for each in bus.received()],
    )


@pytest.mark.parametrize("count", [0, 1, 10, 11, 25])
def test_every_event_is_published_once(bench: Bench, count: int) -> None:
    sent = [event(number) for number in range(count)]
    bench.outcomes.publish(sent)
    assert bench.details() == [each.detail for each in sent]


class TestEventBridge:
    @pytest.mark.parametrize("kind", OutcomeKind)
    def test_entry_has_the_source_kind_and_time_of_the_event(self, bus: Bus, kind: OutcomeKind) -> None:
        EventBridgeOutcomes(bus.events).publish([event(60, kind)])
        (received,) = bus.received()
        assert (received["source"], received["detail-type"]) == ("pullahead", kind.value)
        assert received["time"] == "2026-11-24T09:01:00Z"

    @pytest.mark.parametrize(("rule", "calls"), [("app", [10, 10, 5]), ("ö" * 60_000, [2] * 12 + [1])])
    def test_no_call_exceeds_the_limits_of_eventbridge(self, moto: str, rule: str, calls: list[int]) -> None:
        events, request_sizes = client(moto, "events"), list[tuple[int, int]]()

        def measure(params: dict[str, Any], **_: object) -> None:
            texts = [entry["Detail"] + entry["DetailType"] + entry["Source"] for entry in params["Entries"]]
            sizes = [len(text.encode()) + 14 for text in texts]  # 14 for the time, says EventBridge's guide
            request_sizes.append((len(sizes), sum(sizes)))

        events.meta.events.register("provide-client-params.events.PutEvents", measure)
        EventBridgeOutcomes(events).publish([event(number, rule=rule) for number in range(25)])
        assert [count for count, _ in request_sizes] == calls
        assert max(size for _, size in request_sizes) <= 256 * 1024

    def test_refused_entry_is_an_error_with_its_code(self, bus: Bus) -> None:
        entries = [{"EventId": "1"}, {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]
        with Stubber(bus.events) as stub:
            stub.add_response("put_events", {"FailedEntryCount": 1, "Entries": entries})
            with pytest.raises(StorageError, match="1 of 2 events: ThrottlingException"):
                EventBridgeOutcomes(bus.events).publish([event(1), event(2)])

    def test_refused_call_is_a_storage_error(self, bus: Bus) -> None:
        with Stubber(bus.events) as stub:
            stub.add_client_error("put_events", "AccessDeniedException", "not you")
            with pytest.raises(StorageError, match=r"publish of 1 events failed: .*not you"):
                EventBridgeOutcomes(bus.events).publish([event()])
