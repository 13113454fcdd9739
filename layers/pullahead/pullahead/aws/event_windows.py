"""Windows in DynamoDB: one counter for each mirror and minute in which something came, kept for an hour.

The windows of a mirror follow one another on a grid, so that a claim is one addition and never a question before it;
each mirror has a grid of its own, so that what waits for the end of a window does not come all at once.

Signed calls in DynamoDB, each for a day; what this process took itself, it knows without asking.
"""

import threading
import zlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pullahead.aws.dynamodb import storage_errors
from pullahead.checks.ports import EVENT_WINDOW, WindowClaim, WindowDecision
from pullahead.rules.mirror_key import RecordKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_SECONDS = int(EVENT_WINDOW.total_seconds())
_KEPT_SECONDS = 3600
_MAX_REMEMBERED = 10_000


class DynamoEventWindows:
    """Satisfies `pullahead.ports.ClaimsWindows`; from any thread."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table
        self._full: dict[RecordKey, int] = {}  # the windows in which nothing but MERGED can be answered any more
        self._lock = threading.Lock()

    def claim(self, key: RecordKey, now: datetime) -> WindowClaim:
        """Count an event of a mirror; where this process knows that there were two, without asking."""
        number, elapsed = divmod(int(now.timestamp()) + zlib.crc32(str(key).encode()) % _SECONDS, _SECONDS)
        with self._lock:
            if self._full.get(key) == number:
                return WindowClaim(WindowDecision.DROP)
        count = self._count(f"window#{number}#{key}", int(now.timestamp()) + _KEPT_SECONDS)
        if count == 1:
            return WindowClaim(WindowDecision.RUN_NOW)
        self._remember(key, number)
        # The second after the end, since clocks differ a little.
        return (
            WindowClaim(WindowDecision.RUN_LATER, _SECONDS - elapsed + 1)
            if count == 2
            else WindowClaim(WindowDecision.DROP)
        )

    def _count(self, name: str, expires_at: int) -> int:
        with storage_errors("write", "the window of a mirror"):
            answer = self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": name}},
                UpdateExpression="ADD #events :one SET expires_at = if_not_exists(expires_at, :later)",
                ExpressionAttributeNames={"#events": "events"},
                ExpressionAttributeValues={":one": {"N": "1"}, ":later": {"N": str(expires_at)}},
                ReturnValues="UPDATED_NEW",
            )
        return int(answer["Attributes"]["events"]["N"])

    def _remember(self, key: RecordKey, number: int) -> None:
        with self._lock:
            if len(self._full) >= _MAX_REMEMBERED:
                self._full.clear()
            self._full[key] = number


KEPT_FOR = timedelta(days=1)
_MAX_REMEMBERED_CALLS = 10_000


class DynamoReplayGuard:
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
                Key={"pk": {"S": _call_key(identity)}},
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
                Item={"pk": {"S": _call_key(identity)}, "expires_at": {"N": str(expires_at)}},
            )
        self._keep(identity, expires_at)

    def _keep(self, identity: str, expires_at: float) -> None:
        with self._lock:
            if len(self._known) >= _MAX_REMEMBERED_CALLS:
                self._known.clear()
            self._known[identity] = expires_at


def _call_key(identity: str) -> str:
    return f"seen#{identity}"
