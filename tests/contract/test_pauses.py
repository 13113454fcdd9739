"""Paused rules: the fake and DynamoDB (moto) behave the same."""

from collections.abc import Iterator

import pytest

from pullahead.aws.pauses import DynamoPauses
from pullahead.errors import StorageError
from pullahead.rules.ports import PauseStore
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.memory import FakePauseStore


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture(params=["fake", "dynamodb"])
def pauses(request: pytest.FixtureRequest, url: str) -> PauseStore:
    if request.param == "fake":
        return FakePauseStore()
    return DynamoPauses(client(url, "dynamodb"), new_table(client(url, "dynamodb")))


def test_nothing_is_paused_at_first(pauses: PauseStore) -> None:
    assert pauses.paused_rules() == frozenset()


def test_rules_are_paused_and_resumed_one_by_one(pauses: PauseStore) -> None:
    for rule in ("a", "quay.io/team/*", "a"):
        pauses.pause(rule)
    assert pauses.paused_rules() == {"a", "quay.io/team/*"}
    pauses.resume("a")
    assert pauses.paused_rules() == {"quay.io/team/*"}
    pauses.resume("quay.io/team/*")
    pauses.resume("never paused")
    assert pauses.paused_rules() == frozenset()


def test_concurrent_pauses_of_two_processes_are_both_kept(url: str) -> None:
    table = new_table(client(url, "dynamodb"))
    one, other = (DynamoPauses(client(url, "dynamodb"), table) for _ in range(2))
    assert one.paused_rules() == other.paused_rules() == frozenset()
    one.pause("a")
    other.pause("b")
    assert one.paused_rules() == {"a", "b"}


def test_missing_table_is_a_storage_error(url: str) -> None:
    missing = DynamoPauses(client(url, "dynamodb"), "no-such-table")
    for act in (missing.paused_rules, lambda: missing.pause("a")):
        with pytest.raises(StorageError, match="the paused rules failed"):
            act()
