"""A DynamoDB table (moto): batch reads, conditional writes, counters and pages."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.stub import Stubber

from pullahead.aws.dynamodb import Table, iso_text
from pullahead.errors import StorageError
from tests.contract.local_services import client, moto_server, new_table

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
ITEM = {"pk": "a", "line": "l", "since": "2026", "text": "é", "number": 7, "yes": True, "names": {"x", "y"}, "map": {}}


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


@pytest.fixture
def table(dynamodb: Any) -> Table:
    return Table(dynamodb, new_table(dynamodb))


class TestReads:
    def test_item_comes_back_as_it_was_written(self, table: Table) -> None:
        table.put(ITEM, "an item")
        assert table.get("a", "an item") == ITEM

    def test_item_that_does_not_exist_is_none(self, table: Table) -> None:
        assert table.get("a", "an item") is None

    def test_more_keys_than_one_call_takes_are_all_read_once(self, table: Table) -> None:
        for number in range(120):
            table.put({"pk": f"a{number}"}, "an item")
        keys = [f"a{number}" for number in range(130)]
        found = [item["pk"] for item in table.get_many([*keys, *keys], "items")]
        assert sorted(found) == sorted(keys[:120])

    def test_no_keys_are_no_call(self, dynamodb: Any) -> None:
        assert list(Table(dynamodb, "no-such-table").get_many([], "items")) == []

    @pytest.mark.parametrize("consistent", [True, False])
    def test_unprocessed_keys_are_requested_again_after_a_wait(self, dynamodb: Any, *, consistent: bool) -> None:
        waits = list[int]()
        keys: Any = {"Keys": [{"pk": {"S": "a"}}], **({"ConsistentRead": True} if consistent else {})}
        asked = {"RequestItems": {"t": keys}}
        with Stubber(dynamodb) as stub:
            stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": {"t": keys}}, asked)
            stub.add_response("batch_get_item", {"Responses": {"t": [{"pk": {"S": "a"}}]}}, asked)
            table = Table(dynamodb, "t", waits.append)
            assert list(table.get_many(["a"], "items", consistent=consistent)) == [{"pk": "a"}]
            stub.assert_no_pending_responses()
        assert waits == [1]

    def test_keys_that_stay_unprocessed_are_an_error_and_not_missing_items(self, dynamodb: Any) -> None:
        left: Any = {"t": {"Keys": [{"pk": {"S": "a"}}], "ConsistentRead": True}}
        with Stubber(dynamodb) as stub:
            for _ in range(4):
                stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
            with pytest.raises(StorageError, match="read of an item failed: DynamoDB left keys unprocessed 4 times"):
                Table(dynamodb, "t", lambda _: None).get("a", "an item")


class TestConditionalWrites:
    def test_put_changes_nothing_unless_the_condition_holds(self, table: Table) -> None:
        assert table.put_if({"pk": "a", "version": 1}, "an item", "attribute_not_exists(pk)")
        assert not table.put_if({"pk": "a", "version": 2}, "an item", "attribute_not_exists(pk)")
        assert not table.put_if({"pk": "a", "version": 3}, "an item", "#version = :expected", expected=2)
        assert table.get("a", "an item") == {"pk": "a", "version": 1}
        assert table.put_if({"pk": "a", "version": 2}, "an item", "#version = :expected", expected=1)
        assert table.get("a", "an item") == {"pk": "a", "version": 2}

    def test_delete_changes_nothing_unless_the_condition_holds(self, table: Table) -> None:
        table.put({"pk": "a", "name": "x"}, "an item")
        assert not table.delete_if("a", "an item", "#name = :name", name="y")
        assert table.get("a", "an item") is not None
        assert table.delete_if("a", "an item", "#name = :name", name="x")
        assert table.get("a", "an item") is None

    def test_update_returns_the_item_that_does_not_meet_the_condition(self, table: Table) -> None:
        update = "SET #map.#key = :value"
        assert table.update_if("a", "an item", update, "attribute_exists(#map)", {"key": "k-1"}, value="v") == {}
        table.put(ITEM, "an item")
        assert table.update_if("a", "an item", update, "attribute_not_exists(#map)", {"key": "k-1"}, value="v") == ITEM
        assert table.update_if("a", "an item", update, "attribute_exists(#map)", {"key": "k-1"}, value="v") is None
        assert table.get("a", "an item") == {**ITEM, "map": {"k-1": "v"}}

    def test_update_without_a_condition_creates_the_item(self, table: Table) -> None:
        table.update("a", "an item", "ADD #names :name", name={"x"})
        assert table.get("a", "an item") == {"pk": "a", "names": {"x"}}

    def test_one_of_many_writers_at_once_succeeds(self, table: Table) -> None:
        with ThreadPoolExecutor(8) as pool:
            done = pool.map(
                lambda number: table.put_if({"pk": "a", "by": number}, "an item", "attribute_not_exists(pk)"), range(16)
            )
        assert sum(done) == 1


class TestCounters:
    def test_each_addition_returns_the_sum(self, table: Table) -> None:
        assert [table.add("a", "count", "a counter", NOW) for _ in range(3)] == [1, 2, 3]

    def test_nothing_is_added_beyond_the_limit(self, table: Table) -> None:
        assert [table.add("a", "count", "a counter", NOW, limit=2) for _ in range(4)] == [1, 2, None, None]
        assert table.add("a", "count", "a counter", NOW, limit=3) == 3

    def test_counter_expires_when_its_first_addition_said(self, table: Table) -> None:
        for hours in range(3):
            table.add("a", "count", "a counter", NOW + timedelta(hours=hours))
        assert table.get("a", "a counter") == {"pk": "a", "count": 3, "expires_at": int(NOW.timestamp())}


class TestPages:
    def test_partition_is_read_in_order_and_counted(self, table: Table) -> None:
        for number in (2, 0, 1):
            table.put({"pk": f"a{number}", "line": "l", "since": f"202{number}"}, "an item")
        table.put({"pk": "b", "line": "another", "since": "2020"}, "an item")
        assert [item["pk"] for item in table.query("l", "items", page_size=1)] == ["a0", "a1", "a2"]
        assert table.count("l", "items") == 3
        assert table.count("none", "items") == 0

    def test_scan_reads_one_attribute_of_the_items_with_the_prefix(self, table: Table) -> None:
        for key in ("mirror#a", "mirror#b", "other#c"):
            table.put({"pk": key, "record": f"of {key}", "state": "FRESH"}, "an item")
        table.put({"pk": "mirror#odd"}, "an item")
        assert sorted(table.scan("mirror#", ("record",), "items"), key=lambda item: str(item["pk"])) == [
            {"pk": "mirror#a", "record": "of mirror#a"},
            {"pk": "mirror#b", "record": "of mirror#b"},
            {"pk": "mirror#odd"},
        ]

    def test_parallel_scan_reads_what_a_scan_reads(self, table: Table) -> None:
        for number in range(40):
            table.put({"pk": f"mirror#{number}", "record": f"{number}", "state": "FRESH"}, "an item")
        table.put({"pk": "other", "record": "no"}, "an item")
        found = [*table.scan_in_parallel("mirror#", ("record",), "items", 4)]
        assert sorted(found, key=str) == sorted(table.scan("mirror#", ("record",), "items"), key=str)
        assert len(found) == 40

    def test_segments_are_read_to_their_last_page(self) -> None:
        client: Any = SegmentedClient(pages=3)
        found = [item["pk"] for item in Table(client, "t").scan_in_parallel("", ("record",), "items", 2)]
        assert sorted(found) == [f"{segment}-{page}" for segment in range(2) for page in range(3)]

    def test_error_of_one_segment_is_raised(self) -> None:
        endless: Any = EndlessClient()
        with pytest.raises(StorageError, match="more than 2000 pages"):
            list(Table(endless, "t").scan_in_parallel("", ("record",), "items", 1))

    @pytest.mark.parametrize(
        ("operation", "read"),
        [
            ("query", lambda table: table.query("l", "items", page_size=1)),
            ("scan", lambda table: table.scan("mirror#", ("record",), "items")),
        ],
    )
    def test_page_is_requested_only_when_it_is_needed(
        self, dynamodb: Any, operation: str, read: Callable[[Table], Iterator[Any]]
    ) -> None:
        with Stubber(dynamodb) as stub:
            stub.add_response(operation, {"Items": [], "LastEvaluatedKey": {"pk": {"S": "a"}}})
            stub.add_response(operation, {"Items": [{"pk": {"S": "b"}}], "LastEvaluatedKey": {"pk": {"S": "b"}}})
            assert next(read(Table(dynamodb, "t"))) == {"pk": "b"}
            stub.assert_no_pending_responses()

    @pytest.mark.parametrize(
        ("read", "pages"),
        [
            (lambda table: table.query("l", "items"), 200),
            (lambda table: [table.count("l", "items")], 200),
            (lambda table: table.scan("mirror#", ("record",), "items"), 2000),
        ],
        ids=["query", "count", "scan"],
    )
    def test_endless_pages_are_an_error(self, read: Callable[[Table], Iterator[Any]], pages: int) -> None:
        endless: Any = EndlessClient()
        with pytest.raises(StorageError, match=f"read of items failed: more than {pages} pages"):
            list(read(Table(endless, "t")))
        assert endless.pages == pages


class SegmentedClient:
    """A client that has so many pages of one item in each segment."""

    def __init__(self, pages: int) -> None:
        self._pages = pages

    def scan(self, **asked: Any) -> dict[str, Any]:
        page = int(asked["ExclusiveStartKey"]["pk"]["N"]) + 1 if "ExclusiveStartKey" in asked else 0
        more = {"LastEvaluatedKey": {"pk": {"N": str(page)}}} if page + 1 < self._pages else {}
        return {"Items": [{"pk": {"S": f"{asked['Segment']}-{page}"}}], **more}


class EndlessClient:
    """A client whose pages never end. Also keeps that each continues after the one before."""

    def __init__(self) -> None:
        self.pages = 0

    def query(self, **asked: Any) -> dict[str, Any]:
        assert asked.get("ExclusiveStartKey") == ({"pk": {"N": str(self.pages)}} if self.pages else None)
        self.pages += 1
        return {"Items": [], "Count": 0, "LastEvaluatedKey": {"pk": {"N": str(self.pages)}}}

    scan = query


@pytest.mark.parametrize(
    "call",
    [
        lambda table: table.get("a", "an item"),
        lambda table: table.put(ITEM, "an item"),
        lambda table: table.put_if(ITEM, "an item", "attribute_not_exists(pk)"),
        lambda table: table.delete_if("a", "an item", "attribute_exists(pk)"),
        lambda table: table.update("a", "an item", "ADD #names :name", name={"x"}),
        lambda table: table.update_if("a", "an item", "REMOVE #map", "attribute_exists(#map)"),
        lambda table: table.add("a", "count", "an item", NOW, limit=1),
        lambda table: list(table.query("l", "an item")),
        lambda table: table.count("l", "an item"),
        lambda table: list(table.scan("mirror#", ("record",), "an item")),
        lambda table: list(table.scan_in_parallel("mirror#", ("record",), "an item", 2)),
    ],
)
def test_table_that_does_not_exist_is_a_storage_error(dynamodb: Any, call: Callable[[Table], object]) -> None:
    with pytest.raises(StorageError, match=r"of an item failed: .*ResourceNotFoundException"):
        call(Table(dynamodb, "no-such-table"))


def test_texts_of_times_sort_as_times_do() -> None:
    times = [
        NOW - timedelta(microseconds=1),
        NOW,
        (NOW + timedelta(microseconds=1)).astimezone(timezone(timedelta(hours=-9))),
        (NOW + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=5))),
    ]
    assert sorted(map(iso_text, times)) == [iso_text(time) for time in times]
