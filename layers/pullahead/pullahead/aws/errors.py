"""Errors of AWS API calls, as the rest of Pullahead sees them."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from pullahead.errors import StorageError


@contextmanager
def storage_errors(operation: str, resource: str) -> Iterator[None]:
    """Raise StorageError in place of any error of a boto3 client."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise StorageError(f"{operation} of {resource} failed: {error}") from error


def error_code(error: BaseException) -> str:
    """Return AWS's code of an error, or of the one that caused it; "" if AWS did not answer with one."""
    cause = error if isinstance(error, ClientError) else error.__cause__
    return cause.response.get("Error", {}).get("Code", "") if isinstance(cause, ClientError) else ""
