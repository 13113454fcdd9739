"""Slots: as many as are allowed and no more, whoever asks; what ran out can be had again. Fake and DynamoDB alike."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from pullahead.aws.refresh_queue import DynamoRefreshSlots
from pullahead.errors import StorageError
from pullahead.refresh.ports import RefreshSlots, SlotResult
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.admission import FakeSlots

NOW = datetime(2026, 11, 24, 9, 5, 3, 123456, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=15)
LATER = UNTIL + timedelta(minutes=15)


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


@pytest.fixture(params=["fake", "dynamodb"])
def slots(request: pytest.FixtureRequest) -> RefreshSlots:
    if request.param == "fake":
        return FakeSlots()
    dynamodb = request.getfixturevalue("dynamodb")
    return DynamoRefreshSlots(dynamodb, new_table(dynamodb))


def take(slots: RefreshSlots, name: str, at_most: int = 2, now: datetime = NOW) -> SlotResult:
    return slots.take(name, now, now + (UNTIL - NOW), at_most)


def test_nobody_holds_a_slot_at_first(slots: RefreshSlots) -> None:
    assert slots.holders() == {}


def test_as_many_are_taken_as_there_are_and_no_more(slots: RefreshSlots) -> None:
    assert [take(slots, name) for name in ("a-1", "b-1", "c-1")] == [
        SlotResult.TAKEN,
        SlotResult.TAKEN,
        SlotResult.FULL,
    ]
    assert slots.holders() == {"a-1": UNTIL, "b-1": UNTIL}


def test_same_refresh_has_its_slot_already_even_when_all_are_held(slots: RefreshSlots) -> None:
    assert [take(slots, "a-1"), take(slots, "a-1"), take(slots, "b-1")] == [
        SlotResult.TAKEN,
        SlotResult.ALREADY_TAKEN,
        SlotResult.TAKEN,
    ]
    assert take(slots, "a-1") is SlotResult.ALREADY_TAKEN


def test_slot_that_is_released_can_be_had(slots: RefreshSlots) -> None:
    take(slots, "a-1", at_most=1)
    slots.release("a-1")
    assert slots.holders() == {}
    assert take(slots, "b-1", at_most=1) is SlotResult.TAKEN


@pytest.mark.parametrize("others", [(), ("b-1",)])
def test_releasing_what_is_not_held_changes_nothing(slots: RefreshSlots, others: tuple[str, ...]) -> None:
    for name in others:
        take(slots, name)
    slots.release("a-1")
    slots.release("a-1", UNTIL)
    slots.renew("a-1", UNTIL, LATER)
    assert slots.holders() == dict.fromkeys(others, UNTIL)


def test_slot_that_has_run_out_is_taken_anew_by_its_own_refresh_alone(slots: RefreshSlots) -> None:
    take(slots, "a-1", at_most=1)
    assert take(slots, "b-1", at_most=1, now=UNTIL) is SlotResult.FULL
    assert take(slots, "a-1", at_most=1, now=UNTIL) is SlotResult.TAKEN
    assert slots.holders() == {"a-1": LATER}


def test_renewing_and_releasing_what_somebody_else_has_renewed_changes_nothing(slots: RefreshSlots) -> None:
    take(slots, "a-1")
    slots.renew("a-1", UNTIL, LATER)
    slots.renew("a-1", UNTIL, LATER + timedelta(hours=1))
    slots.release("a-1", UNTIL)
    assert slots.holders() == {"a-1": LATER}
    slots.release("a-1", LATER)
    assert slots.holders() == {}


def test_fewer_slots_than_are_held_let_nobody_in_until_enough_are_free(slots: RefreshSlots) -> None:
    for name in ("a-1", "b-1", "c-1"):
        take(slots, name, at_most=3)
    slots.release("a-1")
    assert take(slots, "d-1", at_most=2) is SlotResult.FULL
    slots.release("b-1")
    assert take(slots, "d-1", at_most=2) is SlotResult.TAKEN


def test_longest_names_of_executions_are_held_by_hundreds(slots: RefreshSlots) -> None:
    names = [f"{number:03}-{'x' * 76}" for number in range(120)]
    assert {take(slots, name, at_most=500) for name in names} == {SlotResult.TAKEN}
    assert slots.holders().keys() == set(names)


class TestDynamo:
    def test_many_who_ask_at_once_get_no_more_than_there_are(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, new_table(dynamodb))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: take(slots, f"r-{number}", at_most=5), range(40)))
        assert answers.count(SlotResult.TAKEN) == len(slots.holders()) == 5
        assert answers.count(SlotResult.FULL) == 35

    def test_taking_and_releasing_are_one_call_each(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, new_table(dynamodb))
        take(slots, "a-1")  # which makes the item
        calls: list[str] = []
        dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: calls.append(model.name), "counted")
        take(slots, "b-1")
        take(slots, "c-1")
        slots.release("a-1")
        dynamodb.meta.events.unregister("before-call.dynamodb", unique_id="counted")
        assert calls == ["UpdateItem"] * 3

    def test_table_that_is_missing_is_a_storage_error(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, "nowhere")
        for ask in (
            slots.holders,
            lambda: take(slots, "a-1"),
            lambda: slots.release("a-1"),
            lambda: slots.renew("a-1", UNTIL, LATER),
        ):
            with pytest.raises(StorageError, match="the slots of refreshes failed"):
                ask()

    def test_slots_that_stay_unprocessed_are_an_error_and_not_free(self, dynamodb: Any) -> None:
        left: Any = {"t": {"Keys": [{"pk": {"S": "service#slots"}}], "ConsistentRead": True}}
        with Stubber(dynamodb) as stub:
            stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
            with pytest.raises(StorageError, match="too busy"):
                DynamoRefreshSlots(dynamodb, "t").holders()
