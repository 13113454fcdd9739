"""Turn what boto3 raises about our own table, bucket, queue and topic into one error."""

from collections.abc import Iterator
from contextlib import contextmanager

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
