"""Refresh slots: the fake and DynamoDB (moto) behave the same, and the limit holds under concurrency."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from pullahead.aws.refresh_queue import DynamoRefreshSlots
from pullahead.errors import StorageError
from pullahead.refresh.ports import RefreshSlots, Slot, SlotLimits, SlotResult
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


def take(
    slots: RefreshSlots, name: str, at_most: int = 2, now: datetime = NOW, host: str = "ghcr.io", of_one_host: int = 500
) -> SlotResult:
    return slots.take(Slot(name, host, now + (UNTIL - NOW)), now, SlotLimits(at_most, of_one_host))


def held(slots: RefreshSlots) -> dict[str, datetime]:
    """What is held until when, after a look whether it is what is counted."""
    found = slots.oldest(500)
    assert slots.taken() == Counter(slot.host for slot in found)
    assert [slot.until for slot in found] == sorted(slot.until for slot in found)
    return {slot.name: slot.until for slot in found}


def test_new_table_has_no_slot_taken(slots: RefreshSlots) -> None:
    assert held(slots) == {}


def test_slots_are_taken_up_to_the_limit(slots: RefreshSlots) -> None:
    assert [take(slots, name) for name in ("a-1", "b-1", "c-1")] == [
        SlotResult.TAKEN,
        SlotResult.TAKEN,
        SlotResult.FULL,
    ]
    assert held(slots) == {"a-1": UNTIL, "b-1": UNTIL}


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
    assert held(slots) == {}
    assert take(slots, "b-1", at_most=1) is SlotResult.TAKEN


@pytest.mark.parametrize("others", [(), ("b-1",)])
def test_release_of_a_slot_that_is_not_taken_changes_nothing(slots: RefreshSlots, others: tuple[str, ...]) -> None:
    for name in others:
        take(slots, name)
    slots.release("a-1")
    slots.release("a-1", UNTIL)
    slots.renew(Slot("a-1", "ghcr.io", UNTIL), LATER)
    assert held(slots) == dict.fromkeys(others, UNTIL)


def test_expired_slot_can_be_taken_by_its_own_refresh_only(slots: RefreshSlots) -> None:
    take(slots, "a-1", at_most=1)
    assert take(slots, "b-1", at_most=1, now=UNTIL) is SlotResult.FULL
    assert take(slots, "a-1", at_most=1, now=UNTIL) is SlotResult.TAKEN
    assert held(slots) == {"a-1": LATER}


def test_renewed_slot_is_neither_renewed_nor_released_by_its_old_expiry(slots: RefreshSlots) -> None:
    take(slots, "a-1")
    slots.renew(Slot("a-1", "ghcr.io", UNTIL), LATER)
    slots.renew(Slot("a-1", "ghcr.io", UNTIL), LATER + timedelta(hours=1))
    slots.release("a-1", UNTIL)
    assert held(slots) == {"a-1": LATER}
    slots.release("a-1", LATER)
    assert held(slots) == {}


def test_lowered_limit_admits_nothing_until_enough_slots_are_free(slots: RefreshSlots) -> None:
    for name in ("a-1", "b-1", "c-1"):
        take(slots, name, at_most=3)
    slots.release("a-1")
    assert take(slots, "d-1", at_most=2) is SlotResult.FULL
    slots.release("b-1")
    assert take(slots, "d-1", at_most=2) is SlotResult.TAKEN


def test_one_host_takes_no_more_than_its_limit_and_leaves_the_others_to_others(slots: RefreshSlots) -> None:
    assert [take(slots, f"a-{number}", at_most=3, of_one_host=2) for number in range(3)] == [
        SlotResult.TAKEN,
        SlotResult.TAKEN,
        SlotResult.HOST_FULL,
    ]
    assert take(slots, "b-1", at_most=3, host="quay.io", of_one_host=2) is SlotResult.TAKEN
    assert take(slots, "b-2", at_most=3, host="quay.io", of_one_host=2) is SlotResult.FULL
    assert slots.taken() == {"ghcr.io": 2, "quay.io": 1}
    slots.release("a-0")
    assert take(slots, "a-3", at_most=3, of_one_host=2) is SlotResult.TAKEN


def test_slots_that_expire_first_are_read(slots: RefreshSlots) -> None:
    for minutes, name in ((3, "c"), (1, "a"), (2, "b")):
        take(slots, name, at_most=3, now=NOW + timedelta(minutes=minutes))
    assert [slot.name for slot in slots.oldest(2)] == ["a", "b"]


def test_hundreds_of_longest_execution_names_fit(slots: RefreshSlots) -> None:
    names = [f"{number:03}-{'x' * 76}" for number in range(120)]
    assert {take(slots, name, at_most=500) for name in names} == {SlotResult.TAKEN}
    assert held(slots).keys() == set(names)


class TestDynamo:
    def test_concurrent_takes_do_not_exceed_the_limits(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, new_table(dynamodb))

        def take_one(number: int) -> SlotResult:
            return take(slots, f"r-{number}", at_most=5, host=f"{number % 2}.example", of_one_host=3)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(take_one, range(40)))
        assert answers.count(SlotResult.TAKEN) == len(held(slots)) == 5
        assert sorted(slots.taken().values()) == [2, 3]

    def test_concurrent_takes_and_releases_leave_the_counts_right(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, new_table(dynamodb))

        def take_and_release(number: int) -> None:
            for _ in range(3):
                take(slots, f"r-{number % 5}", at_most=4)
                slots.release(f"r-{number % 5}")
            take(slots, f"r-{number % 5}", at_most=4)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(take_and_release, range(12)))
        assert len(held(slots)) == slots.taken()["ghcr.io"] <= 4

    def test_calls_do_not_grow_with_the_number_of_slots(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, new_table(dynamodb))
        for number in range(60):
            take(slots, f"r-{number}", at_most=500)  # the first one makes the counts
        calls: list[tuple[str, int]] = []

        def count(model: Any, params: Any, **_: Any) -> None:
            calls.append((model.name, len(params["body"])))

        dynamodb.meta.events.register("before-call.dynamodb", count, "counted")
        take(slots, "a-1", at_most=500)
        slots.release("a-1")
        dynamodb.meta.events.unregister("before-call.dynamodb", unique_id="counted")
        assert [name for name, _ in calls] == ["TransactWriteItems", "BatchGetItem", "TransactWriteItems"]
        assert all(size < 2000 for _, size in calls)
        counts = dynamodb.get_item(TableName=slots._table._name, Key={"pk": {"S": "service#slot-counts"}})["Item"]
        assert len(str(counts)) < 300

    def test_slots_whose_counts_were_deleted_still_count(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, table := new_table(dynamodb))
        take(slots, "a-1")
        take(slots, "b-1")
        dynamodb.delete_item(TableName=table, Key={"pk": {"S": "service#slot-counts"}})
        assert take(slots, "c-1") is SlotResult.FULL
        assert set(held(slots)) == {"a-1", "b-1"}

    @pytest.mark.parametrize("others", [{}, {"docker.io": {"N": "1"}}, {"ghcr.io": {"N": "0"}, "quay.io": {"N": "1"}}])
    def test_slot_that_is_not_counted_is_released(self, dynamodb: Any, others: dict[str, Any]) -> None:
        slots = DynamoRefreshSlots(dynamodb, table := new_table(dynamodb), lambda _: None)
        take(slots, "a-1")
        total = {"N": str(sum(int(each["N"]) for each in others.values()))}
        counts = {"pk": {"S": "service#slot-counts"}, "held": total, "hosts": {"M": others}}
        dynamodb.put_item(TableName=table, Item=counts)
        slots.release("a-1")
        assert held(slots) == {}

    def test_slot_whose_counts_were_deleted_is_released(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, table := new_table(dynamodb), lambda _: None)
        take(slots, "a-1")
        dynamodb.delete_item(TableName=table, Key={"pk": {"S": "service#slot-counts"}})
        slots.release("a-1")
        assert held(slots) == {}

    def test_counts_that_stay_wrong_are_corrected(self, dynamodb: Any) -> None:
        settled: list[None] = []
        slots = DynamoRefreshSlots(dynamodb, table := new_table(dynamodb), settle=lambda: settled.append(None))
        take(slots, "a-1")
        take(slots, "b-1", host="docker.io")
        slots.recount()
        assert settled == []
        dynamodb.delete_item(TableName=table, Key={"pk": {"S": "slot#a-1"}})
        assert slots.taken() == {"ghcr.io": 1, "docker.io": 1}
        slots.recount()
        assert settled == [None]
        assert set(held(slots)) == {"b-1"}

    def test_index_that_is_a_moment_old_corrects_no_counts(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        slots = DynamoRefreshSlots(dynamodb, table, settle=lambda: dynamodb.put_item(TableName=table, Item=missing))
        take(slots, "a-1")
        missing = dynamodb.get_item(TableName=table, Key={"pk": {"S": "slot#a-1"}})["Item"]
        dynamodb.delete_item(TableName=table, Key={"pk": missing["pk"]})
        slots.recount()
        assert set(held(slots)) == {"a-1"}

    def test_counts_that_change_meanwhile_are_compared_another_time(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        others = DynamoRefreshSlots(dynamodb, table)
        slots = DynamoRefreshSlots(dynamodb, table, settle=lambda: take(others, "b-1"))
        take(slots, "a-1")
        dynamodb.delete_item(TableName=table, Key={"pk": {"S": "slot#a-1"}})
        slots.recount()
        assert slots.taken() == {"ghcr.io": 2}

    def test_write_under_way_is_waited_for_and_at_last_an_error(self, dynamodb: Any) -> None:
        waits: list[int] = []
        slots = DynamoRefreshSlots(dynamodb, new_table(dynamodb), waits.append)
        take(slots, "a-1")
        with conflicts(dynamodb, 3):
            assert take(slots, "b-1") is SlotResult.TAKEN
        assert waits == [0, 1, 2]
        with conflicts(dynamodb, 99), pytest.raises(StorageError, match="another write was under way 6 times"):
            take(slots, "c-1", at_most=3)
        with conflicts(dynamodb, 99), pytest.raises(StorageError, match="another write was under way 6 times"):
            slots.release("b-1")

    def test_other_reason_of_a_cancellation_is_a_storage_error(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, new_table(dynamodb))
        take(slots, "a-1")
        with conflicts(dynamodb, 1, "ThrottlingError"), pytest.raises(StorageError, match="the refresh slots failed"):
            take(slots, "b-1")

    def test_missing_table_is_a_storage_error(self, dynamodb: Any) -> None:
        slots = DynamoRefreshSlots(dynamodb, "nowhere")
        for ask in (
            slots.taken,
            lambda: slots.oldest(1),
            lambda: take(slots, "a-1"),
            lambda: slots.release("a-1"),
            lambda: slots.renew(Slot("a-1", "ghcr.io", UNTIL), LATER),
        ):
            with pytest.raises(StorageError, match="the refresh slots failed"):
                ask()


@contextmanager
def conflicts(dynamodb: Any, times: int, code: str = "TransactionConflict") -> Iterator[None]:
    """Cancel so many transactions, as DynamoDB does where another write of an item is under way."""
    left = [times]

    def cancel(**_: Any) -> Any:
        if not left[0]:
            return None
        left[0] -= 1
        error = {"Code": "TransactionCanceledException", "Message": f"Transaction cancelled [None, {code}]"}
        reasons = [{"Code": "None"}, {"Code": code}]
        return SimpleNamespace(status_code=400), {"Error": error, "CancellationReasons": reasons}

    dynamodb.meta.events.register("before-call.dynamodb.TransactWriteItems", cancel, "conflicts")
    try:
        yield
    finally:
        dynamodb.meta.events.unregister("before-call.dynamodb.TransactWriteItems", unique_id="conflicts")
