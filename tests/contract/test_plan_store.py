"""The plan store: the fake and S3 (moto) behave the same."""

from collections.abc import Iterator
from typing import Any

import pytest

from pullahead.aws.s3 import S3PlanStore
from pullahead.errors import StorageError
from pullahead.refresh.ports import PlanStore
from tests.contract.local_services import REGION, client, moto_server, new_name
from tests.fakes.memory import FakePlanStore

KEY = "plans/refresh-1/units/000.json"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    name = new_name("plans")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


@pytest.fixture(params=["fake", "s3"])
def plans(request: pytest.FixtureRequest) -> PlanStore:
    if request.param == "fake":
        return FakePlanStore()
    return S3PlanStore(request.getfixturevalue("s3"), request.getfixturevalue("bucket"))


@pytest.mark.parametrize("content", [b"", b"{}", bytes(range(256)), "ü \r\n".encode()])
def test_object_is_read_as_it_was_written(plans: PlanStore, content: bytes) -> None:
    plans.write(KEY, content)
    assert plans.read(KEY) == content


def test_second_write_replaces_the_first(plans: PlanStore) -> None:
    plans.write(KEY, b"first, and longer")
    plans.write(KEY, b"second")
    assert plans.read(KEY) == b"second"


def test_keys_are_independent(plans: PlanStore) -> None:
    plans.write("plans/a", b"a")
    plans.write("plans/a/b", b"b")
    assert (plans.read("plans/a"), plans.read("plans/a/b")) == (b"a", b"b")


def test_missing_object_is_an_error_that_names_it(plans: PlanStore) -> None:
    with pytest.raises(StorageError, match=KEY):
        plans.read(KEY)


class TestS3:
    def test_object_of_16_mib_is_read_and_a_larger_one_refused(self, s3: Any, bucket: str) -> None:
        plans, limit = S3PlanStore(s3, bucket), 16 * 1024 * 1024
        plans.write(KEY, bytes(limit))
        assert len(plans.read(KEY)) == limit
        s3.put_object(Bucket=bucket, Key=KEY, Body=bytes(limit + 1))
        with pytest.raises(StorageError, match="larger than 16777216 bytes"):
            plans.read(KEY)

    def test_missing_bucket_is_a_storage_error(self, s3: Any) -> None:
        plans = S3PlanStore(s3, "nowhere")
        with pytest.raises(StorageError, match="NoSuchBucket"):
            plans.read(KEY)
        with pytest.raises(StorageError, match="NoSuchBucket"):
            plans.write(KEY, b"")
