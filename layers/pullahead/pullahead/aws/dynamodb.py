"""Items of the table by their keys. Knows nothing of what they hold.

Turn what boto3 raises about our own table, bucket, queue and topic into one error.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from pullahead.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@contextmanager
def storage_errors(operation: str, resource: str) -> Iterator[None]:
    """Raise StorageError in place of any error of AWS's client."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise StorageError(f"{operation} of {resource} failed: {error}") from error


def code_of(error: ClientError) -> str:
    """Name the error as AWS does."""
    return error.response.get("Error", {}).get("Code", "")


def refused_item(error: StorageError) -> dict[str, Any] | None:
    """Give the item that did not meet a write's condition, as far as DynamoDB was asked for it; None: another error."""
    cause = error.__cause__
    if not isinstance(cause, ClientError) or code_of(cause) != "ConditionalCheckFailedException":
        return None
    response: Any = cause.response
    return dict(response.get("Item") or {})


@contextmanager
def conditional_write(resource: str) -> Iterator[None]:
    """As `storage_errors`, for a write that is to change nothing where its condition does not hold."""
    try:
        with storage_errors("write", resource):
            yield
    except StorageError as error:
        if refused_item(error) is None:
            raise


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
