"""Into which repositories ECR's replication writes, in DynamoDB: one item for each, written at most once a day."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pullahead.aws.dynamodb import Table, epoch
from pullahead.aws.newer_items import NewerItems
from pullahead.caching import TtlCache
from pullahead.checks.ports import REPLICATION_LIFETIME

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_NOTED_FOR: Final = timedelta(days=1)
_MAX_CACHED: Final = 10_000


class DynamoReplications:
    """Implements `pullahead.checks.ports.Replications`. For several threads."""

    def __init__(self, client: "DynamoDBClient", table: str, newer: NewerItems | None = None) -> None:
        self._table, self._newer = Table(client, table), newer or NewerItems()
        self._noted = TtlCache[tuple[str, str], bool, datetime](_MAX_CACHED)

    def note(self, repository: str, source: str, at: datetime) -> None:
        """Write an item, unless this process has done so within a day."""
        if self._noted.get((repository, source), at):
            return
        item = {"pk": _key(repository), "source": source, "expires_at": epoch(at + REPLICATION_LIFETIME)}
        self._table.put(item, _what(repository))
        self._noted.put((repository, source), True, at + _NOTED_FOR)

    def source_of(self, repository: str, now: datetime) -> str:
        """Read the item, which may outlive its time by days."""
        item = self._table.get(_key(repository), _what(repository)) or {}
        expires_at, source = item.get("expires_at", 0), item.get("source", "")
        if not isinstance(expires_at, int | Decimal) or not isinstance(source, str):
            self._newer.note_damaged(item["pk"], "its source or its expires_at is of another kind")
            return ""  # the next replicated tag writes it anew
        return source if expires_at > epoch(now) else ""


def _key(repository: str) -> str:
    return f"replication#{repository}"


def _what(repository: str) -> str:
    return f"the replication into {repository}"
