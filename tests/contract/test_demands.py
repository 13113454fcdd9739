"""Demands and their counters: the fake and the table (moto) answer alike; conditions hold, pages are followed."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from pullahead.aws.demands import DynamoDemands
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


def test_demand_comes_back_as_it_was_saved(demands: DemandStore) -> None:
    full = DEMAND._replace(since=NOW + timedelta(hours=2), tries=7, kept=True)
    assert demands.save(full, None, LATER)
    assert demands.load([DEMAND.key, MirrorKey("unknown", "1"), DEMAND.key]) == {DEMAND.key: full}


def test_more_keys_than_one_call_takes_are_all_read(demands: DemandStore) -> None:
    many = [DEMAND._replace(key=MirrorKey("mirror/hub/a", f"{number}")) for number in range(130)]
    for demand in many:
        demands.save(demand, None, LATER)
    assert demands.load([demand.key for demand in many]) == {demand.key: demand for demand in many}


def test_second_who_demands_the_same_is_told_so(demands: DemandStore) -> None:
    assert demands.save(DEMAND, None, LATER)
    assert not demands.save(DEMAND._replace(tries=2), None, LATER)
    assert demands.load([DEMAND.key]) == {DEMAND.key: DEMAND}


@pytest.mark.parametrize(
    "changed", [{"since": NOW + timedelta(days=1)}, {"asked_at": NOW + timedelta(hours=1)}, {"kept": True}]
)
def test_what_was_changed_meanwhile_is_neither_changed_nor_forgotten(
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


def test_rule_has_its_own_demands_the_longest_unpulled_first(demands: DemandStore) -> None:
    line = [DEMAND._replace(key=MirrorKey("mirror/hub/a", f"{n}"), since=NOW + timedelta(hours=n)) for n in range(5)]
    for demand in (line[3], line[0], line[4], line[2], line[1]):
        demands.save(demand, None, LATER)
    demands.save(DEMAND._replace(rule="hub2"), None, LATER)
    assert list(demands.of_rule("hub")) == line
    assert list(demands.of_rule("hu")) == []


def test_rule_that_got_another_name_finds_what_is_pulled_again(demands: DemandStore) -> None:
    demands.save(DEMAND, None, LATER)
    demands.save(DEMAND._replace(rule="docker"), DEMAND, LATER)
    assert list(demands.of_rule("hub")) == []
    assert [demand.key for demand in demands.of_rule("docker")] == [DEMAND.key]


def test_no_more_than_the_limit_are_counted_for_each_rule_and_day(demands: DemandStore) -> None:
    assert [demands.count("hub", DAY, 3) for _ in range(5)] == [True, True, True, False, False]
    assert demands.count("quay", DAY, 3)
    assert demands.count("hub", DAY + timedelta(days=1), 3)
    assert [demands.count("hub", DAY, 4) for _ in range(2)] == [True, False]


class TestDynamo:
    def test_items_expire_by_themselves(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        demands = DynamoDemands(dynamodb, table)
        demands.save(DEMAND, None, LATER)
        demands.count("hub", DAY, 1)
        items = {item["pk"]["S"]: item for item in dynamodb.scan(TableName=table)["Items"]}
        assert items.keys() == {f"demand#{DEMAND.key}", "demanded#hub#2026-11-24"}
        assert items[f"demand#{DEMAND.key}"]["expires_at"] == {"N": str(int(LATER.timestamp()))}
        counter = datetime.fromtimestamp(int(items["demanded#hub#2026-11-24"]["expires_at"]["N"]), UTC)
        assert counter == datetime(2026, 11, 27, tzinfo=UTC)

    def test_line_is_read_page_by_page(self, dynamodb: Any) -> None:
        made = DynamoDemands(dynamodb, new_table(dynamodb))
        made.save(DEMAND, None, LATER)
        (item,) = dynamodb.query(
            TableName=made._table,
            IndexName="Lines",
            KeyConditionExpression="line = :line",
            ExpressionAttributeValues={":line": {"S": "demand#hub"}},
        )["Items"]
        answer: dict[str, Any] = {"Items": [item], "LastEvaluatedKey": {"pk": {"S": "x"}}}
        with Stubber(dynamodb) as stub:
            stub.add_response("query", answer)
            stub.add_response("query", {"Items": [item]})
            assert list(made.of_rule("hub")) == [DEMAND, DEMAND]

    def test_keys_that_stay_unprocessed_are_an_error(self, dynamodb: Any) -> None:
        left = {"t": {"Keys": [{"pk": {"S": "demand#a:1"}}]}}
        with Stubber(dynamodb) as stub:
            for _ in range(4):
                stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
            with pytest.raises(StorageError, match="unprocessed 4 times"):
                DynamoDemands(dynamodb, "t").load([MirrorKey("a", "1")])

    def test_table_that_is_missing_is_a_storage_error(self, dynamodb: Any) -> None:
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

    def test_item_that_somebody_else_wrote_is_named(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "demand#odd:1"}})
        with pytest.raises(StorageError, match="demand#odd:1"):
            DynamoDemands(dynamodb, table).load([MirrorKey("odd", "1")])
