"""Turn what boto3 raises about our own table, bucket, queue and topic into one error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pullahead.errors import StorageError


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
