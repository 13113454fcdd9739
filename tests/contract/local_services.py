"""moto as a server, and clients for it. Each test makes tables, buckets and queues of its own, by names of its own."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from moto import mock_aws
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.serving import serving

ACCOUNT_ID = "123456789012"
REGION = "eu-west-1"
_KEYS = ("pk", "line", "since", "review_shard", "review_since")
_numbers = itertools.count()


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto and give its address. It answers one request at a time: as in AWS, a conditional write is atomic."""
    moto, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def one_at_a_time(environ: dict[str, Any], start_response: Any) -> Any:
        with lock:
            return moto(environ, start_response)

    server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def moto_in_process() -> Iterator[None]:
    """Let moto answer without a server what clients of one thread send to AWS's own addresses."""
    moto = mock_aws()
    moto.start(reset=False)  # whose data it would delete, may be another test's
    try:
        yield
    finally:
        moto.stop(remove_data=False)


def client(url: str | None, service: str) -> Any:
    """Make a client that tries everything once. Without a URL, it is for AWS's own address."""
    return boto3.client(
        service,  # type: ignore[call-overload]  # a name that is not written out
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


def new_name(kind: str) -> str:
    """Make a name that no other test has."""
    return f"contract-{kind}-{next(_numbers)}"


def new_table(dynamodb: Any, kind: str = "records") -> str:
    """Make an empty table of records, with its indexes, by a name that no other test has."""
    name = new_name(kind)
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in _KEYS],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "Reviews",
                "KeySchema": [
                    {"AttributeName": "review_shard", "KeyType": "HASH"},
                    {"AttributeName": "review_since", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["record"]},
            },
            {
                "IndexName": "Lines",
                "KeySchema": [
                    {"AttributeName": "line", "KeyType": "HASH"},
                    {"AttributeName": "since", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            },
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def new_bucket(s3: Any, kind: str) -> str:
    """Make an empty bucket by a name that no other test has."""
    name = new_name(kind)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name
