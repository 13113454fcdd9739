"""How many checks a sender may ask for in a minute: the same in memory and in DynamoDB (moto)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pullahead.aws.event_windows import DynamoCheckBudget
from pullahead.webhooks.ports import CheckBudget
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.webhooks import FakeCheckBudget

NOW = datetime(2026, 11, 30, 9, 0, 10, tzinfo=UTC)
LIMIT = 100


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture(params=["fake", "dynamodb"])
def budget(request: pytest.FixtureRequest, url: str) -> CheckBudget:
    if request.param == "fake":
        return FakeCheckBudget(limit=LIMIT)
    return DynamoCheckBudget(client(url, "dynamodb"), new_table(client(url, "dynamodb")), LIMIT)


def test_checks_are_counted_until_the_limit(budget: CheckBudget) -> None:
    assert [budget.take("github", 40, NOW) for _ in range(3)] == [True, True, False]
    assert budget.take("harbor", 100, NOW)


def test_sender_is_spent_once_it_was_refused_until_the_minute_ends(budget: CheckBudget) -> None:
    assert budget.take("github", 100, NOW)
    assert not budget.is_spent("github", NOW)
    assert not budget.take("github", 1, NOW)
    assert budget.is_spent("github", NOW + timedelta(seconds=49))
    assert not budget.is_spent("github", NOW + timedelta(seconds=50))
    assert not budget.is_spent("harbor", NOW)


def test_next_minute_begins_anew(budget: CheckBudget) -> None:
    assert budget.take("github", 100, NOW)
    assert not budget.take("github", 1, NOW + timedelta(seconds=49))
    assert budget.take("github", 100, NOW + timedelta(seconds=50))


def test_spent_limit_is_shared_by_processes_and_costs_one_call_each(url: str) -> None:
    dynamodb = client(url, "dynamodb")
    table, calls = new_table(dynamodb), list[str]()
    first, second = (DynamoCheckBudget(dynamodb, table, LIMIT) for _ in range(2))
    assert first.take("github", 100, NOW)
    dynamodb.meta.events.register("before-call.dynamodb.*", lambda model, **_: calls.append(model.name))
    assert [second.take("github", 1, NOW) for _ in range(5)] == [False] * 5
    assert calls == ["UpdateItem"]
