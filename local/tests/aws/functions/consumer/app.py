"""Takes batches: a message whose body begins with `bad` fails, `poison` fails the whole batch."""

import os
from typing import Any

import boto3


class PoisonError(Exception):
    pass


def handler(event: dict[str, Any], context: Any) -> Any:
    records = event["Records"]
    if any(record["body"].startswith("poison") for record in records):
        raise PoisonError
    sqs = boto3.client("sqs")
    for record in records:
        text = f"{record['body']} {record['attributes']['ApproximateReceiveCount']}"
        sqs.send_message(QueueUrl=os.environ["SEEN_URL"], MessageBody=text)
    failed = [record["messageId"] for record in records if record["body"].startswith("bad")]
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
