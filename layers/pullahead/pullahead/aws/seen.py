"""Signed calls in DynamoDB, each for a day; what this process took itself, it knows without asking."""

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pullahead.aws.storage_errors import storage_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_FOR = timedelta(days=1)
_MAX_REMEMBERED = 10_000


class DynamoCalls:
    """Satisfies `pullahead.ports.RemembersCalls`; from any thread."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table
        self._known: dict[str, float] = {}  # until when
        self._lock = threading.Lock()

    def is_known(self, identity: str, now: datetime) -> bool:
        """Look in memory, then in the table, where an item may outlive its time by days."""
        with self._lock:
            if self._known.get(identity, 0.0) > now.timestamp():
                return True
        with storage_errors("read", "the calls of a day"):
            answer = self._client.get_item(
                TableName=self._table,
                Key={"pk": {"S": _key(identity)}},
                ConsistentRead=True,
                ProjectionExpression="expires_at",
            )
        expires_at = float(answer.get("Item", {}).get("expires_at", {}).get("N", 0))
        if expires_at <= now.timestamp():
            return False
        self._keep(identity, expires_at)
        return True

    def remember(self, identity: str, now: datetime) -> None:
        """Write an item."""
        expires_at = int((now + KEPT_FOR).timestamp())
        with storage_errors("write", "the calls of a day"):
            self._client.put_item(
                TableName=self._table,
                Item={"pk": {"S": _key(identity)}, "expires_at": {"N": str(expires_at)}},
            )
        self._keep(identity, expires_at)

    def _keep(self, identity: str, expires_at: float) -> None:
        with self._lock:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[identity] = expires_at


def _key(identity: str) -> str:
    return f"seen#{identity}"
