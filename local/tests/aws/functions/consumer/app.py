"""Takes batches: a message whose body begins with `bad` fails, `invalid` fails the whole batch."""

import os
from typing import Any

import boto3


class InvalidMessageError(Exception):
    pass


def handler(event: dict[str, Any], context: Any) -> Any:
    records = event["Records"]
    if any(record["body"].startswith("invalid") for record in records):
        raise InvalidMessageError
    sqs = boto3.client("sqs")
    for record in records:
        text = f"{record['body']} {record['attributes']['ApproximateReceiveCount']}"
        sqs.send_message(QueueUrl=os.environ["SEEN_URL"], MessageBody=text)
    failed = [record["messageId"] for record in records if record["body"].startswith("bad")]
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
