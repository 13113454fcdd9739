"""Incidents and the lock of the alert sender: the fake and DynamoDB (moto) behave the same."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullahead.alerts.incidents import MAX_MARKS, Incident
from pullahead.aws.incidents import DynamoIncidents
from pullahead.aws.newer_items import NewerItems
from pullahead.errors import StorageError
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.alerts import FakeIncidents

NOW = datetime(2026, 11, 24, 9, 5, 3, 123456, tzinfo=UTC)
TURN = timedelta(minutes=10)
KEY = "STALE#docker.io#RegistryUnavailableError"
FULL = Incident(KEY, NOW, frozenset({"0123456789ab", "cdef01234567"}), NOW - timedelta(hours=1), "a", "b", NOW, NOW)

Incidents = FakeIncidents | DynamoIncidents


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


@pytest.fixture(params=["fake", "dynamodb"])
def incidents(request: pytest.FixtureRequest) -> Incidents:
    if request.param == "fake":
        return FakeIncidents()
    dynamodb = request.getfixturevalue("dynamodb")
    return DynamoIncidents(dynamodb, new_table(dynamodb))


@pytest.mark.parametrize("incident", [Incident(KEY), FULL], ids=["new", "full"])
def test_incident_is_read_as_it_was_written(incidents: Incidents, incident: Incident) -> None:
    incidents.save(Incident(KEY, since=NOW), NOW)
    incidents.save(incident, NOW)
    assert incidents.load([KEY, "GONE##"]) == {KEY: incident}
    assert incidents.load([]) == {}


class TestTurn:
    def test_lock_is_taken_by_one_at_a_time(self, incidents: Incidents) -> None:
        assert incidents.lock_sending(NOW, NOW + TURN)
        assert not incidents.lock_sending(NOW + timedelta(minutes=5), NOW + TURN * 2)
        incidents.unlock_sending(NOW)
        assert incidents.lock_sending(NOW + timedelta(minutes=5), NOW + TURN * 2)

    def test_lock_expires(self, incidents: Incidents) -> None:
        assert incidents.lock_sending(NOW, NOW + TURN)
        assert incidents.lock_sending(NOW + TURN, NOW + TURN * 2)

    def test_expired_holder_does_not_release_the_lock_of_another(self, incidents: Incidents) -> None:
        incidents.lock_sending(NOW, NOW + TURN)
        incidents.lock_sending(NOW + TURN, NOW + TURN * 2)
        incidents.unlock_sending(NOW)
        assert not incidents.lock_sending(NOW + TURN, NOW + TURN * 2)

    def test_one_of_many_at_once_takes_the_lock(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        with ThreadPoolExecutor(8) as pool:
            taken = pool.map(lambda _: DynamoIncidents(dynamodb, table).lock_sending(NOW, NOW + TURN), range(8))
        assert sum(taken) == 1


class TestDynamo:
    def test_incident_expires_a_month_after_its_last_write(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        DynamoIncidents(dynamodb, table).save(Incident(KEY, NOW, last="b"), NOW)
        (item,) = dynamodb.scan(TableName=table)["Items"]
        assert item["pk"] == {"S": f"incident#{KEY}"}
        assert int(item["expires_at"]["N"]) == int((NOW + timedelta(days=30)).timestamp())

    def test_condition_that_holds_does_not_expire_so_that_it_is_reported_once(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        DynamoIncidents(dynamodb, table).save(FULL, NOW)
        (item,) = dynamodb.scan(TableName=table)["Items"]
        assert "expires_at" not in item

    def test_field_that_an_older_version_does_not_know_is_written_only_where_it_says_something(
        self, dynamodb: Any
    ) -> None:
        table = new_table(dynamodb)
        DynamoIncidents(dynamodb, table).save(Incident(KEY, NOW), NOW)
        (item,) = dynamodb.scan(TableName=table)["Items"]
        assert set(json.loads(item["incident"]["S"])) <= {"key", "told_at", "marks", "since", "standing", "last"}

    def test_largest_incident_fits_into_an_item(self, dynamodb: Any) -> None:
        """DynamoDB quotas: an item holds 400 KB."""
        marks = frozenset(f"{number:012x}" for number in range(MAX_MARKS))
        table = new_table(dynamodb)
        DynamoIncidents(dynamodb, table).save(Incident(KEY, NOW, marks), NOW)
        (item,) = dynamodb.scan(TableName=table)["Items"]
        assert len(item["incident"]["S"]) < 390_000

    @pytest.mark.parametrize("item", [{}, {"incident": {"S": "{"}}, {"incident": {"S": "{}"}}])
    def test_unreadable_item_counts_as_none_and_is_noted(self, dynamodb: Any, item: dict[str, Any]) -> None:
        table, items = new_table(dynamodb), NewerItems()
        dynamodb.put_item(TableName=table, Item={"pk": {"S": f"incident#{KEY}"}, **item})
        incidents = DynamoIncidents(dynamodb, table, items)
        assert incidents.load([KEY]) == {}
        assert (damaged := items.take_damaged()) is not None
        assert damaged.keys == (f"incident#{KEY}",)
        incidents.save(FULL, NOW)
        assert incidents.load([KEY]) == {KEY: FULL}

    @pytest.mark.parametrize("ends", [{"S": "9999"}, {"S": "x"}, {"N": "9"}, {"NULL": True}])
    def test_damaged_lock_is_taken(self, dynamodb: Any, ends: dict[str, Any]) -> None:
        table = new_table(dynamodb)
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "service#telling"}, "turn_ends": ends})
        incidents = DynamoIncidents(dynamodb, table)
        assert incidents.lock_sending(NOW, NOW + TURN)
        assert not incidents.lock_sending(NOW, NOW + TURN)

    def test_missing_table_is_a_storage_error(self, dynamodb: Any) -> None:
        nowhere = DynamoIncidents(dynamodb, "nowhere")
        with pytest.raises(StorageError, match="the incident STALE"):
            nowhere.save(FULL, NOW)
        with pytest.raises(StorageError, match="the lock of the alert sender"):
            nowhere.lock_sending(NOW, NOW + TURN)
