"""The replay guard: the fake and DynamoDB (moto) behave the same, with few calls."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullahead.aws.event_windows import DynamoReplayGuard
from pullahead.errors import StorageError
from pullahead.webhooks.ports import ReplayGuard
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.webhooks import FakeReplayGuard

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture(params=["fake", "dynamodb"])
def calls(request: pytest.FixtureRequest, url: str) -> ReplayGuard:
    if request.param == "fake":
        return FakeReplayGuard()
    return DynamoReplayGuard(client(url, "dynamodb"), new_table(client(url, "dynamodb")))


def test_request_is_known_after_it_was_remembered(calls: ReplayGuard) -> None:
    assert not calls.is_known("one", NOW)
    calls.remember("one", NOW)
    assert calls.is_known("one", NOW)
    assert not calls.is_known("two", NOW)


def test_request_is_forgotten_after_a_day(calls: ReplayGuard) -> None:
    calls.remember("one", NOW)
    assert calls.is_known("one", NOW + DAY - timedelta(seconds=1))
    assert not calls.is_known("one", NOW + DAY)


class Table:
    """A table, and what was asked of it."""

    def __init__(self, url: str) -> None:
        self.dynamodb = client(url, "dynamodb")
        self.name = new_table(self.dynamodb)
        self.asked: list[str] = []
        self.dynamodb.meta.events.register("before-call", self._note)

    def process(self) -> DynamoReplayGuard:
        return DynamoReplayGuard(self.dynamodb, self.name)

    def _note(self, model: Any, **_: Any) -> None:
        self.asked.append(model.name)


@pytest.fixture
def table(url: str) -> Table:
    return Table(url)


def test_another_process_needs_one_read(table: Table) -> None:
    table.process().remember("one", NOW)
    other = table.process()
    table.asked.clear()
    assert other.is_known("one", NOW)
    assert other.is_known("one", NOW)
    assert table.asked == ["BatchGetItem"]


def test_process_that_remembered_it_needs_no_read(table: Table) -> None:
    calls = table.process()
    calls.remember("one", NOW)
    assert calls.is_known("one", NOW)
    assert table.asked == ["PutItem"]


def test_expired_item_is_not_a_replay(table: Table) -> None:
    """DynamoDB deletes what is expired within days (developer guide, "Using time to live")."""
    table.process().remember("one", NOW)
    assert not table.process().is_known("one", NOW + DAY)


def test_item_has_a_time_to_live(table: Table) -> None:
    table.process().remember("one", NOW)
    (item,) = table.dynamodb.scan(TableName=table.name)["Items"]
    assert item == {"pk": {"S": "seen#one"}, "expires_at": {"N": str(int((NOW + DAY).timestamp()))}}


def test_missing_table_is_a_storage_error(url: str) -> None:
    calls = DynamoReplayGuard(client(url, "dynamodb"), "nowhere")
    with pytest.raises(StorageError, match="read of the webhook requests of a day failed"):
        calls.is_known("one", NOW)
    with pytest.raises(StorageError, match="write of the webhook requests of a day failed"):
        calls.remember("one", NOW)
