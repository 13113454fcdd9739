"""Requests taken of registries' rates, in DynamoDB (moto)."""

from collections.abc import Iterator
from typing import Any

import pytest

from pullahead.aws.shared_rates import DynamoSharedRates
from pullahead.errors import StorageError
from pullahead.registry.shared_rates import Requests, Window
from tests.contract.local_services import client, moto_server, new_table

WINDOW = Window(number=7, seconds=5.0, requests=100)


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


def test_processes_together_take_what_a_window_has_and_no_more(dynamodb: Any) -> None:
    table = new_table(dynamodb)
    processes = [DynamoSharedRates(dynamodb, table) for _ in range(2)]
    taken = [processes[number % 2]("quay.io", WINDOW) for number in range(22)]
    assert taken == [5] * 20 + [0, 0]


def test_last_part_is_what_is_left(dynamodb: Any) -> None:
    take, window = DynamoSharedRates(dynamodb, new_table(dynamodb)), WINDOW._replace(requests=97)
    assert [take("quay.io", window) for _ in range(21)] == [5] * 19 + [2, 0]


def test_windows_and_hosts_are_apart(dynamodb: Any) -> None:
    take = DynamoSharedRates(dynamodb, new_table(dynamodb))
    for _ in range(20):
        take("quay.io", WINDOW)
    others = [("ghcr.io", WINDOW), ("quay.io", WINDOW._replace(number=8)), ("quay.io", WINDOW._replace(seconds=10.0))]
    assert [take(*other) for other in others] == [5, 5, 5]


def test_parts_of_a_window_are_taken_apart(dynamodb: Any) -> None:
    take = DynamoSharedRates(dynamodb, new_table(dynamodb))
    schedule, events, both = (WINDOW.for_some(of) for of in (Requests.SCHEDULE, Requests.EVENTS, Requests.ANY))
    assert [take("quay.io", schedule) for _ in range(11)] == [5] * 10 + [0]
    assert [take("quay.io", events) for _ in range(6)] == [2] * 5 + [0]
    assert [take("quay.io", both) for _ in range(9)] == [5] * 8 + [0]


def test_counters_expire(dynamodb: Any) -> None:
    table = new_table(dynamodb)
    DynamoSharedRates(dynamodb, table)("quay.io", WINDOW)
    (item,) = dynamodb.scan(TableName=table)["Items"]
    assert item["pk"]["S"] == "rate#quay.io#5#7"
    assert int(item["expires_at"]["N"]) == 40 + 3600


def test_missing_table_is_a_storage_error(dynamodb: Any) -> None:
    with pytest.raises(StorageError, match=r"the requests to quay\.io"):
        DynamoSharedRates(dynamodb, "nowhere")("quay.io", WINDOW)
