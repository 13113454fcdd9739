"""Demands and their counters: the fake and DynamoDB (moto) behave the same."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pullahead.aws.demands import DynamoDemands
from pullahead.aws.newer_items import NewerItems
from pullahead.errors import StorageError
from pullahead.mirrors.demand import Demand
from pullahead.on_demand.ports import DemandStore
from pullahead.rules.mirror_key import MirrorKey
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.demands import FakeDemands

NOW = datetime(2026, 11, 24, 9, 5, 0, 123, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
DAY = date(2026, 11, 24)
DEMAND = Demand(MirrorKey("mirror/hub/library/alpine", "3.20"), "hub", NOW, NOW)


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


@pytest.fixture(params=["fake", "dynamodb"])
def demands(request: pytest.FixtureRequest, dynamodb: Any) -> DemandStore:
    return FakeDemands() if request.param == "fake" else DynamoDemands(dynamodb, new_table(dynamodb))


def test_demand_is_read_as_it_was_written(demands: DemandStore) -> None:
    full = DEMAND._replace(since=NOW + timedelta(hours=2), tries=7, kept=True)
    assert demands.save(full, None, LATER)
    assert demands.load([DEMAND.key, MirrorKey("unknown", "1"), DEMAND.key]) == {DEMAND.key: full}


def test_more_keys_than_one_call_takes_are_all_read(demands: DemandStore) -> None:
    many = [DEMAND._replace(key=MirrorKey("mirror/hub/a", f"{number}")) for number in range(130)]
    for demand in many:
        demands.save(demand, None, LATER)
    assert demands.load([demand.key for demand in many]) == {demand.key: demand for demand in many}


def test_second_write_of_a_new_demand_is_refused(demands: DemandStore) -> None:
    assert demands.save(DEMAND, None, LATER)
    assert not demands.save(DEMAND._replace(tries=2), None, LATER)
    assert demands.load([DEMAND.key]) == {DEMAND.key: DEMAND}


@pytest.mark.parametrize(
    "changed", [{"since": NOW + timedelta(days=1)}, {"asked_at": NOW + timedelta(hours=1)}, {"kept": True}]
)
def test_demand_that_another_process_changed_is_neither_written_nor_deleted(
    demands: DemandStore, changed: dict[str, Any]
) -> None:
    news = DEMAND._replace(**changed)
    demands.save(DEMAND, None, LATER)
    assert demands.save(news, DEMAND, LATER)
    assert not demands.save(DEMAND._replace(tries=9), DEMAND, LATER)
    assert not demands.forget(DEMAND)
    assert demands.load([DEMAND.key]) == {DEMAND.key: news}
    assert demands.forget(news)
    assert demands.load([DEMAND.key]) == {}


def test_demands_of_a_rule_are_listed_longest_unpulled_first(demands: DemandStore) -> None:
    line = [DEMAND._replace(key=MirrorKey("mirror/hub/a", f"{n}"), since=NOW + timedelta(hours=n)) for n in range(5)]
    for demand in (line[3], line[0], line[4], line[2], line[1]):
        demands.save(demand, None, LATER)
    demands.save(DEMAND._replace(rule="hub2"), None, LATER)
    assert list(demands.of_rule("hub")) == line
    assert list(demands.of_rule("hu")) == []


def test_demand_moves_to_the_rule_that_is_written(demands: DemandStore) -> None:
    demands.save(DEMAND, None, LATER)
    demands.save(DEMAND._replace(rule="docker"), DEMAND, LATER)
    assert list(demands.of_rule("hub")) == []
    assert [demand.key for demand in demands.of_rule("docker")] == [DEMAND.key]


def test_count_stops_at_the_limit_of_each_rule_and_day(demands: DemandStore) -> None:
    assert [demands.count("hub", DAY, 3) for _ in range(5)] == [True, True, True, False, False]
    assert demands.count("quay", DAY, 3)
    assert demands.count("hub", DAY + timedelta(days=1), 3)
    assert [demands.count("hub", DAY, 4) for _ in range(2)] == [True, False]


class TestDynamo:
    def test_items_have_a_time_to_live(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        demands = DynamoDemands(dynamodb, table)
        demands.save(DEMAND, None, LATER)
        demands.count("hub", DAY, 1)
        items = {item["pk"]["S"]: item for item in dynamodb.scan(TableName=table)["Items"]}
        assert items.keys() == {f"demand#{DEMAND.key}", "demanded#hub#2026-11-24"}
        assert items[f"demand#{DEMAND.key}"]["expires_at"] == {"N": str(int(LATER.timestamp()))}
        counter = datetime.fromtimestamp(int(items["demanded#hub#2026-11-24"]["expires_at"]["N"]), UTC)
        assert counter == datetime(2026, 11, 27, tzinfo=UTC)

    def test_missing_table_is_a_storage_error(self, dynamodb: Any) -> None:
        missing = DynamoDemands(dynamodb, "missing")
        for ask in (
            lambda: missing.load([MirrorKey("a", "1")]),
            lambda: missing.save(DEMAND, None, LATER),
            lambda: missing.forget(DEMAND),
            lambda: list(missing.of_rule("hub")),
            lambda: missing.count("hub", DAY, 1),
        ):
            with pytest.raises(StorageError):
                ask()

    def test_unreadable_item_counts_as_none_and_is_noted(self, dynamodb: Any) -> None:
        table, items = new_table(dynamodb), NewerItems()
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "demand#odd:1"}})
        assert DynamoDemands(dynamodb, table, items).load([MirrorKey("odd", "1")]) == {}
        assert (damaged := items.take_damaged()) is not None
        assert damaged.keys == ("demand#odd:1",)
