"""The made-up deployment is one that functions understand, and the table says what takes too much."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bench import scale
from bench.scale import Case, Limits, Taken, limits_of, row
from bench.scale_aws import Setup, Table
from bench.scale_records import Deployment
from bench.scale_run import cpu_share
from pullahead.aws.records import DynamoRecords
from pullahead.mirrors.record import Record, RuleRecord, State
from pullahead.mirrors.retirement import Need, NeedFinder
from pullahead.rules.load import load_rules

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
MIRRORS = 2000


def setup(unfresh: int = 0, history: int = 2) -> Setup:
    return Setup(MIRRORS, unfresh, told=True, history=history, rules_digest="r", scan_is_due=False)


def records(of: Setup) -> DynamoRecords:
    """Read the table as the functions do."""
    table = Table(of)

    class Client:
        def scan(self, **asked: Any) -> Any:
            return table.answer("Scan", asked)

        def query(self, **asked: Any) -> Any:
            return table.answer("Query", asked)

        def batch_get_item(self, **asked: Any) -> Any:
            return table.answer("BatchGetItem", asked)

    client: Any = Client()
    return DynamoRecords(client, "records")


def test_every_mirror_has_a_number_a_name_and_a_rule() -> None:
    deployment = Deployment(MIRRORS)
    rules = load_rules(deployment.rules(), source="rules.yaml")
    made = [deployment.record(number, NOW) for number in range(MIRRORS)]
    assert [deployment.number_of(record.key) for record in made] == list(range(MIRRORS))
    find = NeedFinder(rules, lambda keys: {key: deployment.listing(key, NOW) for key in keys})
    assert set(find(made)) == {Need.FOLLOWED}
    assert {str(record.upstream) for record in made} == {
        str(found.upstream) for record in made if (found := rules.find(record.key.repository, record.key.tag))
    }


def test_scan_reads_every_record_once_page_by_page() -> None:
    found = [record for record in records(setup(history=60)).scan() if isinstance(record, Record)]
    assert len({record.key for record in found}) == len(found) == MIRRORS + MIRRORS // 2 // 100
    assert sum(isinstance(record, RuleRecord) for record in found) == MIRRORS // 2 // 100


@pytest.mark.parametrize("unfresh", [0, 7, MIRRORS])
def test_index_has_what_is_not_fresh(unfresh: int) -> None:
    table = records(setup(unfresh))
    found = [record for record in table.to_review() if isinstance(record, Record)]
    assert (len(found), table.count_to_review()) == (unfresh, unfresh)
    assert {record.state for record in found} <= {State.UNKNOWN}
    assert all(each.well_indexed for each in table.scan_after(""))


@pytest.mark.parametrize(
    ("taken", "is_over"),
    [(Taken(1, 600, 0, 0, 0, ""), False), (Taken(1, 620, 0, 0, 0, ""), True), (Taken(6, 100, 0, 0, 0, ""), True)],
)
def test_what_takes_too_much_is_marked(taken: Taken, *, is_over: bool) -> None:
    assert limits_of("show_mirrors") == Limits(1024, 20)
    assert ("**over**" in row(Case("page", "show_mirrors"), taken)) is is_over


def test_share_of_a_cpu_grows_with_memory_up_to_one() -> None:
    assert (round(cpu_share(256), 2), cpu_share(1769), cpu_share(3008)) == (0.14, 1.0, 1.0)


def test_page_has_the_marks_for_the_table() -> None:
    page = scale.PAGE.read_text(encoding="utf-8")
    assert page.index(scale.BEGIN) < page.index(scale.END)


def test_counts_are_those_that_dynamodb_would_bill() -> None:
    table = Table(setup())
    table.answer("BatchGetItem", {"RequestItems": {"t": {"Keys": [{"pk": {"S": "service#none"}}]}}})
    item = {"pk": {"S": "a"}, "record": {"S": "x" * 2000}}
    table.answer("PutItem", {"Item": item})
    assert dict(table.counts) == {"BatchGetItem": 1, "read half units": 1, "PutItem": 1, "write units": 2}
    assert json.loads(json.dumps(table.counts)) == dict(table.counts)
