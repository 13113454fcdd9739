"""The waiting line: one refresh a mirror, the longest stale first, and nothing else of the table. Fake and DynamoDB."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.stub import Stubber

from pullahead.aws.pauses import DynamoPauses
from pullahead.aws.refresh_queue import DynamoWaitingRefreshes
from pullahead.errors import StorageError
from pullahead.messages import RefreshRequest
from pullahead.refresh.ports import WaitingRefresh, WaitingRefreshes
from pullahead.rules.mirror_key import MirrorKey
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.admission import FakeWaitingLine
from tests.fakes.samples import root

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


@pytest.fixture(params=["fake", "dynamodb"])
def line(request: pytest.FixtureRequest) -> WaitingRefreshes:
    if request.param == "fake":
        return FakeWaitingLine()
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


def entry(asked: RefreshRequest) -> WaitingRefresh:
    return WaitingRefresh(MirrorKey(asked.repository, asked.tag), asked.name, asked)


def waiting(line: WaitingRefreshes, page: int = 10) -> list[RefreshRequest | None]:
    return [each.request for each in line.oldest_first(page)]


def test_nobody_waits_at_first(line: WaitingRefreshes) -> None:
    assert list(line.oldest_first(5)) == []
    assert line.count() == 0


def test_who_joins_comes_back_as_it_was(line: WaitingRefreshes) -> None:
    line.add(request("mirror/app:1.0"))
    assert list(line.oldest_first(5)) == [entry(request("mirror/app:1.0"))]
    assert line.count() == 1


def test_longest_stale_is_first_whatever_the_order_of_joining_and_the_zone(line: WaitingRefreshes) -> None:
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
    assert line.count() == len(moments)


def test_newer_refresh_of_a_mirror_takes_the_place_of_the_older_one(line: WaitingRefreshes) -> None:
    line.add(request("mirror/app:1.0"))
    line.add(request("mirror/app:1.0", NOON + timedelta(hours=1), episode=2))
    assert waiting(line) == [request("mirror/app:1.0", NOON + timedelta(hours=1), episode=2)]


def test_same_tag_of_two_repositories_waits_twice(line: WaitingRefreshes) -> None:
    line.add(request("mirror/app:1.0"))
    line.add(request("mirror/other:1.0"))
    assert line.count() == 2


def test_who_leaves_is_gone_and_leaves_but_once(line: WaitingRefreshes) -> None:
    for mirror in ("mirror/app:1.0", "mirror/app:2.0"):
        line.add(request(mirror))
    for _ in range(2):
        line.remove(entry(request("mirror/app:1.0")))
    assert waiting(line) == [request("mirror/app:2.0")]


def test_older_refresh_that_leaves_does_not_take_the_newer_one_along(line: WaitingRefreshes) -> None:
    line.add(request("mirror/app:1.0", episode=2))
    line.remove(entry(request("mirror/app:1.0", episode=1)))
    assert waiting(line) == [request("mirror/app:1.0", episode=2)]


class TestDynamo:
    def test_other_items_of_the_table_and_other_lines_do_not_wait(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        DynamoPauses(dynamodb, table).pause("rule")
        other = {"pk": {"S": "demand#app"}, "line": {"S": "demand#app"}, "since": {"S": "2026"}}
        dynamodb.put_item(TableName=table, Item=other)
        line = DynamoWaitingRefreshes(dynamodb, table)
        line.add(request("mirror/app:1.0"))
        assert waiting(line) == [request("mirror/app:1.0")]
        assert line.count() == 1

    def test_same_again_writes_nothing(self, dynamodb: Any) -> None:
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
    def test_entry_that_cannot_be_read_is_one_that_can_be_taken_out(self, dynamodb: Any, text: str | None) -> None:
        table = new_table(dynamodb)
        item = {
            "pk": {"S": "waiting#mirror/odd:1"},
            "line": {"S": "refreshes"},
            "since": {"S": "2025"},
            "name": {"S": "n"},
        }
        dynamodb.put_item(TableName=table, Item={**item, **({"request": {"S": text}} if text else {})})
        line = DynamoWaitingRefreshes(dynamodb, table)
        assert list(line.oldest_first(5)) == [WaitingRefresh(MirrorKey("mirror/odd", "1"), "n", None)]
        line.remove(WaitingRefresh(MirrorKey("mirror/odd", "1"), "n", None))
        assert line.count() == 0

    def test_pages_are_asked_for_one_after_the_other_and_only_when_needed(self, dynamodb: Any) -> None:
        asked = {
            "TableName": "t",
            "IndexName": "Lines",
            "KeyConditionExpression": "#line = :line",
            "ExpressionAttributeNames": {"#line": "line"},
            "ExpressionAttributeValues": {":line": {"S": "refreshes"}},
            "Limit": 1,
        }
        item = {"pk": {"S": "waiting#a:1"}, "name": {"S": "n"}}
        position = {"pk": {"S": "waiting#a:1"}}
        with Stubber(dynamodb) as stub:
            stub.add_response("query", {"Items": [], "LastEvaluatedKey": position}, asked)
            stub.add_response(
                "query", {"Items": [item], "LastEvaluatedKey": position}, {**asked, "ExclusiveStartKey": position}
            )
            assert next(DynamoWaitingRefreshes(dynamodb, "t").oldest_first(1)).mirror == MirrorKey("a", "1")
            stub.assert_no_pending_responses()

    def test_table_that_is_missing_is_a_storage_error(self, dynamodb: Any) -> None:
        line = DynamoWaitingRefreshes(dynamodb, "nowhere")
        for ask in (
            lambda: list(line.oldest_first(1)),
            line.count,
            lambda: line.add(request("mirror/app:1.0")),
            lambda: line.remove(WaitingRefresh(MirrorKey("mirror/app", "1.0"), "n", None)),
        ):
            with pytest.raises(StorageError, match="the line of refreshes failed"):
                ask()

    def test_line_without_end_is_an_error(self) -> None:
        endless: Any = EndlessLine()
        with pytest.raises(StorageError, match="goes on after 200 pages"):
            DynamoWaitingRefreshes(endless, "t").count()
        assert endless.pages == 200


class EndlessLine:
    """A client whose index never ends."""

    def __init__(self) -> None:
        self.pages = 0

    def query(self, **_: Any) -> dict[str, Any]:
        self.pages += 1
        return {"Items": [], "Count": 0, "LastEvaluatedKey": {"pk": {"S": "again"}}}
