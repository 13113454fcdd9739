"""Items of the table by their keys. Knows nothing of what they hold."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from pullahead.aws.storage_errors import storage_errors
from pullahead.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH = 100  # DynamoDB API reference, BatchGetItem: up to 100 items a call, 16 MB of them
_MAX_TRIES = 4


def get_items(client: "DynamoDBClient", table: str, keys: Iterable[str], what: str) -> Iterator[dict[str, Any]]:
    """Read the items that are there, strongly consistent. Raises StorageError, while iterating."""
    unique = iter(dict.fromkeys(keys))
    while batch := list(islice(unique, _BATCH)):
        yield from _get_batch(client, table, batch, what)


def _get_batch(client: "DynamoDBClient", table: str, keys: list[str], what: str) -> Iterator[dict[str, Any]]:
    wanted: Any = {table: {"Keys": [{"pk": {"S": key}} for key in keys], "ConsistentRead": True}}
    for _ in range(_MAX_TRIES):
        with storage_errors("read", f"{len(keys)} {what}"):
            answer = client.batch_get_item(RequestItems=wanted)
        yield from answer["Responses"].get(table, [])
        wanted = answer.get("UnprocessedKeys")
        if not wanted:
            return
    raise StorageError(f"read of {len(keys)} {what} failed: DynamoDB left some unprocessed {_MAX_TRIES} times")
