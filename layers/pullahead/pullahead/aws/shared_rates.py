"""How many requests were taken of registries' rates, in DynamoDB: one counter for each registry, window and use."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pullahead.aws.dynamodb import Table
from pullahead.registry.shared_rates import Window

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_LIFETIME: Final = timedelta(hours=1)


class DynamoSharedRates:
    """Implements `pullahead.registry.shared_rates.TakeRequests`. For several threads."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def __call__(self, host: str, window: Window) -> int:
        """Add a part to the counter; return what of it is within the window."""
        ends_at = datetime.fromtimestamp(window.ends_at, UTC)
        key, what = f"rate#{host}#{window.seconds:g}#{window.number}", f"the requests to {host}"
        key = f"{key}#{window.of}" if window.of else key
        taken = self._table.add(key, "taken", what, ends_at + _LIFETIME, count=window.part) or 0
        return max(0, min(window.part, window.requests - (taken - window.part)))
