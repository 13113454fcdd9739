"""Waiting refreshes: the fake and DynamoDB (moto) behave the same, longest stale first."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from pullahead.aws.pauses import DynamoPauses
from pullahead.aws.refresh_queue import DynamoWaitingRefreshes
from pullahead.errors import StorageError
from pullahead.messages import RefreshRequest
from pullahead.refresh.ports import WaitingRefresh, WaitingRefreshes
from pullahead.rules.mirror_key import MirrorKey
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.refresh_slots import FakeWaitingRefreshes
from tests.fakes.samples import root

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


@pytest.fixture(params=["fake", "dynamodb"])
def line(request: pytest.FixtureRequest) -> WaitingRefreshes:
    if request.param == "fake":
        return FakeWaitingRefreshes()
    dynamodb = request.getfixturevalue("dynamodb")
    return DynamoWaitingRefreshes(dynamodb, new_table(dynamodb))


def request(mirror: str, since: datetime = NOON, episode: int = 1) -> RefreshRequest:
    repository, _, tag = mirror.partition(":")
    return RefreshRequest(
        name=f"{tag}-{episode}",
        repository=repository,
        tag=tag,
        upstream=f"ghcr.io/team/app:{tag}",
        root=root(f"{mirror}{episode}"),
        episode=episode,
        stale_since=since,
        platforms=("linux/amd64",),
    )


HOST = "ghcr.io"


def shown(each: WaitingRefresh) -> tuple[MirrorKey, str, RefreshRequest | None]:
    return each.mirror, each.name, each.request


def entry(asked: RefreshRequest) -> WaitingRefresh:
    return WaitingRefresh(MirrorKey(asked.repository, asked.tag), asked.name, "", asked)


def waiting(line: WaitingRefreshes, page: int = 10) -> list[RefreshRequest | None]:
    return [each.request for each in line.oldest_first(HOST, page)]


def test_new_table_has_no_waiting_refresh(line: WaitingRefreshes) -> None:
    assert list(line.oldest_first(HOST, 5)) == []
    assert line.count(HOST) == 0


def test_refresh_is_read_as_it_was_added(line: WaitingRefreshes) -> None:
    line.add(request("mirror/app:1.0"))
    assert list(map(shown, line.oldest_first(HOST, 5))) == [shown(entry(request("mirror/app:1.0")))]
    assert line.count(HOST) == 1


def test_longest_stale_is_first_whatever_the_order_of_adding_and_the_time_zone(line: WaitingRefreshes) -> None:
    moments = [
        NOON,
        NOON - timedelta(microseconds=1),
        NOON - timedelta(hours=1, microseconds=5),
        (NOON - timedelta(minutes=1)).astimezone(timezone(timedelta(hours=5))),
        NOON + timedelta(microseconds=1),
    ]
    for number, since in enumerate(moments):
        line.add(request(f"mirror/app:{number}", since))
    found = [each.tag for each in waiting(line, page=2) if each is not None]
    assert found == ["2", "3", "1", "0", "4"]
    assert line.count(HOST) == len(moments)


def test_newer_refresh_of_a_mirror_replaces_the_older_one(line: WaitingRefreshes) -> None:
    line.add(request("mirror/app:1.0"))
    line.add(request("mirror/app:1.0", NOON + timedelta(hours=1), episode=2))
    assert waiting(line) == [request("mirror/app:1.0", NOON + timedelta(hours=1), episode=2)]


def test_same_tag_of_two_repositories_waits_twice(line: WaitingRefreshes) -> None:
    line.add(request("mirror/app:1.0"))
    line.add(request("mirror/other:1.0"))
    assert line.count(HOST) == 2


def test_each_upstream_registry_has_a_line_of_its_own(line: WaitingRefreshes) -> None:
    line.add(request("mirror/app:1.0"))
    other = msgspec.structs.replace(request("mirror/other:1.0"), upstream="quay.io/team/other:1.0")
    line.add(other)
    assert [each.request for each in line.oldest_first("quay.io", 5)] == [other]
    assert (line.count(HOST), line.count("quay.io"), line.count("docker.io")) == (1, 1, 0)


def test_hosts_are_remembered_until_they_are_forgotten(line: WaitingRefreshes) -> None:
    assert line.hosts() == frozenset()
    for host in ("ghcr.io", "quay.io", "ghcr.io", ""):
        line.remember(host)
    assert line.hosts() == {"ghcr.io", "quay.io", ""}
    line.forget("ghcr.io")
    line.forget("never.example")
    assert line.hosts() == {"quay.io", ""}


def test_refresh_can_be_removed_twice(line: WaitingRefreshes) -> None:
    for mirror in ("mirror/app:1.0", "mirror/app:2.0"):
        line.add(request(mirror))
    for _ in range(2):
        line.remove(entry(request("mirror/app:1.0")))
    assert waiting(line) == [request("mirror/app:2.0")]


def test_removing_an_older_refresh_keeps_the_newer_one(line: WaitingRefreshes) -> None:
    line.add(request("mirror/app:1.0", episode=2))
    line.remove(entry(request("mirror/app:1.0", episode=1)))
    assert waiting(line) == [request("mirror/app:1.0", episode=2)]


class TestDynamo:
    def test_other_items_of_the_table_are_not_waiting_refreshes(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        DynamoPauses(dynamodb, table).pause("rule")
        other = {"pk": {"S": "demand#app"}, "line": {"S": "demand#app"}, "since": {"S": "2026"}}
        dynamodb.put_item(TableName=table, Item=other)
        line = DynamoWaitingRefreshes(dynamodb, table)
        line.add(request("mirror/app:1.0"))
        assert waiting(line) == [request("mirror/app:1.0")]
        assert line.count(HOST) == 1

    def test_adding_the_same_refresh_again_writes_nothing(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        line = DynamoWaitingRefreshes(dynamodb, table)
        line.add(request("mirror/app:1.0"))
        key = {"pk": {"S": "waiting#mirror/app:1.0"}}
        dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET seen = :yes",
            ExpressionAttributeValues={":yes": {"BOOL": True}},
        )
        line.add(request("mirror/app:1.0"))
        assert "seen" in dynamodb.get_item(TableName=table, Key=key)["Item"]
        line.add(request("mirror/app:1.0", episode=2))
        assert "seen" not in dynamodb.get_item(TableName=table, Key=key)["Item"]

    @pytest.mark.parametrize("text", [None, "{", '{"name": "x"}', '{"kind": "of a later version"}'])
    def test_unreadable_item_can_be_removed(self, dynamodb: Any, text: str | None) -> None:
        table = new_table(dynamodb)
        item = {
            "pk": {"S": "waiting#mirror/odd:1"},
            "line": {"S": "refreshes"},  # of version 0.1
            "since": {"S": "2025"},
            "name": {"S": "n"},
        }
        dynamodb.put_item(TableName=table, Item={**item, **({"request": {"S": text}} if text else {})})
        line = DynamoWaitingRefreshes(dynamodb, table)
        assert list(line.oldest_first("", 5)) == [WaitingRefresh(MirrorKey("mirror/odd", "1"), "n", "2025", None)]
        line.remove(WaitingRefresh(MirrorKey("mirror/odd", "1"), "n", "2025", None))
        assert line.count("") == 0

    def test_missing_table_is_a_storage_error(self, dynamodb: Any) -> None:
        line = DynamoWaitingRefreshes(dynamodb, "nowhere")
        for ask in (
            lambda: list(line.oldest_first(HOST, 1)),
            lambda: line.count(HOST),
            line.hosts,
            lambda: line.remember(HOST),
            lambda: line.forget(HOST),
            lambda: line.add(request("mirror/app:1.0")),
            lambda: line.remove(WaitingRefresh(MirrorKey("mirror/app", "1.0"), "n", "", None)),
        ):
            with pytest.raises(StorageError, match="the waiting refreshes failed"):
                ask()
