"""Refresh slots: the fake and DynamoDB (moto) behave the same, and the limit holds under concurrency."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullahead.aws.refresh_queue import DynamoRefreshSlots
from pullahead.errors import StorageError
from pullahead.refresh.ports import RefreshSlots, SlotResult
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.refresh_slots import FakeRefreshSlots

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
        return FakeRefreshSlots()
    dynamodb = request.getfixturevalue("dynamodb")
    return DynamoRefreshSlots(dynamodb, new_table(dynamodb))


def take(slots: RefreshSlots, name: str, at_most: int = 2, now: datetime = NOW) -> SlotResult:
    return slots.take(name, now, now + (UNTIL - NOW), at_most)


def test_new_table_has_no_slot_taken(slots: RefreshSlots) -> None:
    assert slots.holders() == {}


def test_slots_are_taken_up_to_the_limit(slots: RefreshSlots) -> None:
    assert [take(slots, name) for name in ("a-1", "b-1", "c-1")] == [
        SlotResult.TAKEN,
        SlotResult.TAKEN,
        SlotResult.FULL,
    ]
    assert slots.holders() == {"a-1": UNTIL, "b-1": UNTIL}


def test_refresh_keeps_its_slot_even_when_all_are_taken(slots: RefreshSlots) -> None:
    assert [take(slots, "a-1"), take(slots, "a-1"), take(slots, "b-1")] == [
        SlotResult.TAKEN,
        SlotResult.ALREADY_TAKEN,
        SlotResult.TAKEN,
    ]
    assert take(slots, "a-1") is SlotResult.ALREADY_TAKEN


def test_released_slot_can_be_taken(slots: RefreshSlots) -> None:
    take(slots, "a-1", at_most=1)
    slots.release("a-1")
    assert slots.holders() == {}
    assert take(slots, "b-1", at_most=1) is SlotResult.TAKEN


@pytest.mark.parametrize("others", [(), ("b-1",)])
def test_release_of_a_slot_that_is_not_taken_changes_nothing(slots: RefreshSlots, others: tuple[str, ...]) -> None:
    for name in others:
        take(slots, name)
    slots.release("a-1")
    slots.release("a-1", UNTIL)
    slots.renew("a-1", UNTIL, LATER)
    assert slots.holders() == dict.fromkeys(others, UNTIL)


def test_expired_slot_can_be_taken_by_its_own_refresh_only(slots: RefreshSlots) -> None:
    take(slots, "a-1", at_most=1)
    assert take(slots, "b-1", at_most=1, now=UNTIL) is SlotResult.FULL
    assert take(slots, "a-1", at_most=1, now=UNTIL) is SlotResult.TAKEN
    assert slots.holders() == {"a-1": LATER}


def test_renewed_slot_is_neither_renewed_nor_released_by_its_old_expiry(slots: RefreshSlots) -> None:
    take(slots, "a-1")
    slots.renew("a-1", UNTIL, LATER)
    slots.renew("a-1", UNTIL, LATER + timedelta(hours=1))
    slots.release("a-1", UNTIL)
    assert slots.holders() == {"a-1": LATER}
    slots.release("a-1", LATER)
    assert slots.holders() == {}


def test_lowered_limit_admits_nothing_until_enough_slots_are_free(slots: RefreshSlots) -> None:
    for name in ("a-1", "b-1", "c-1"):
        take(slots, name, at_most=3)
    slots.release("a-1")
    assert take(slots, "d-1", at_most=2) is SlotResult.FULL
    slots.release("b-1")
    assert take(slots, "d-1", at_most=2) is SlotResult.TAKEN


def test_hundreds_of_longest_execution_names_fit(slots: RefreshSlots) -> None:
    names = [f"{number:03}-{'x' * 76}" for number in range(120)]
    assert {take(slots, name, at_most=500) for name in names} == {SlotResult.TAKEN}
    assert slots.holders().keys() == set(names)


class TestDynamo:
    def test_concurrent_takes_do_not_exceed_the_limit(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, new_table(dynamodb))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: take(slots, f"r-{number}", at_most=5), range(40)))
        assert answers.count(SlotResult.TAKEN) == len(slots.holders()) == 5
        assert answers.count(SlotResult.FULL) == 35

    def test_take_and_release_are_one_call_each(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, new_table(dynamodb))
        take(slots, "a-1")  # which makes the item
        calls: list[str] = []
        dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: calls.append(model.name), "counted")
        take(slots, "b-1")
        take(slots, "c-1")
        slots.release("a-1")
        dynamodb.meta.events.unregister("before-call.dynamodb", unique_id="counted")
        assert calls == ["UpdateItem"] * 3

    def test_missing_table_is_a_storage_error(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, "nowhere")
        for ask in (
            slots.holders,
            lambda: take(slots, "a-1"),
            lambda: slots.release("a-1"),
            lambda: slots.renew("a-1", UNTIL, LATER),
        ):
            with pytest.raises(StorageError, match="the refresh slots failed"):
                ask()
