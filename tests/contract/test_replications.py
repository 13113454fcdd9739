"""Into which repositories ECR's replication writes: the fake and DynamoDB (moto) behave the same."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullahead.aws.replications import DynamoReplications
from pullahead.checks.ports import REPLICATION_LIFETIME, Replications
from pullahead.errors import StorageError
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.memory import FakeReplications

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
DAY = timedelta(days=1)
SOURCE = "111122223333 in us-west-2"


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "dynamodb")


@pytest.fixture(params=["fake", "dynamodb"])
def replications(request: pytest.FixtureRequest) -> Replications:
    if request.param == "fake":
        return FakeReplications()
    dynamodb = request.getfixturevalue("dynamodb")
    return DynamoReplications(dynamodb, new_table(dynamodb))


def test_source_of_a_repository_is_the_one_that_was_noted_last(replications: Replications) -> None:
    assert replications.source_of("mirror/app", NOW) == ""
    replications.note("mirror/app", "111122223333 in eu-central-1", NOW)
    replications.note("mirror/app", SOURCE, NOW)
    assert replications.source_of("mirror/app", NOW) == SOURCE
    assert replications.source_of("mirror/other", NOW) == ""


def test_replication_that_ended_long_ago_is_forgotten(replications: Replications) -> None:
    replications.note("mirror/app", SOURCE, NOW)
    assert replications.source_of("mirror/app", NOW + REPLICATION_LIFETIME - DAY) == SOURCE
    assert replications.source_of("mirror/app", NOW + REPLICATION_LIFETIME) == ""
    replications.note("mirror/app", SOURCE, NOW + 3 * DAY)
    assert replications.source_of("mirror/app", NOW + REPLICATION_LIFETIME + DAY) == SOURCE


class TestDynamo:
    def test_event_after_event_is_one_write_a_day(self, dynamodb: Any) -> None:
        table = new_table(dynamodb)
        replications = DynamoReplications(dynamodb, table)
        replications.note("mirror/app", SOURCE, NOW)
        dynamodb.delete_item(TableName=table, Key={"pk": {"S": "replication#mirror/app"}})
        replications.note("mirror/app", SOURCE, NOW + DAY / 2)
        assert dynamodb.scan(TableName=table)["Items"] == []
        replications.note("mirror/app", SOURCE, NOW + DAY)
        (item,) = dynamodb.scan(TableName=table)["Items"]
        assert int(item["expires_at"]["N"]) == int((NOW + DAY + REPLICATION_LIFETIME).timestamp())

    def test_missing_table_is_a_storage_error(self, dynamodb: Any) -> None:
        nowhere = DynamoReplications(dynamodb, "nowhere")
        for act in (lambda: nowhere.source_of("a", NOW), lambda: nowhere.note("a", SOURCE, NOW)):
            with pytest.raises(StorageError, match="the replication into a"):
                act()
