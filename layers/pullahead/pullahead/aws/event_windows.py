"""Event windows, the replay guard and the senders' limits in DynamoDB.

An event window is one counter for each mirror and minute, kept for an hour. The windows of a mirror follow one another
on a grid, so that a claim is one addition and never a read before it; each mirror has a grid of its own, so that the
checks at the ends of windows are spread. The replay guard keeps one item for each signed webhook request, for a day.
"""

import zlib
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pullahead.aws.dynamodb import Item, Table, epoch
from pullahead.aws.newer_items import NewerItems
from pullahead.caching import TtlCache
from pullahead.checks.ports import EVENT_WINDOW, WindowClaim, WindowDecision
from pullahead.rules.mirror_key import RecordKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_SECONDS: Final = int(EVENT_WINDOW.total_seconds())
_COUNTER_LIFETIME: Final = timedelta(hours=1)
_MAX_CACHED: Final = 10_000


class DynamoEventWindows:
    """Implements `pullahead.checks.ports.EventWindows`. For several threads."""

    def __init__(self, client: "DynamoDBClient", table: str, newer: NewerItems | None = None) -> None:
        self._table, self._newer = Table(client, table), newer or NewerItems()
        self._full = TtlCache[str, bool, datetime](_MAX_CACHED)  # windows in which every further event is dropped

    def claim(self, key: RecordKey, now: datetime) -> WindowClaim:
        """Count an event of a mirror; if this process knows that there were two, without a call."""
        window, elapsed = _window_of(key, now)
        if self._full.get(window, now):
            return WindowClaim(WindowDecision.DROP)
        count = self._count(window, 1, now)
        if count == 1:
            return WindowClaim(WindowDecision.RUN_NOW)
        self._full.put(window, True, now + EVENT_WINDOW)
        if count != 2:
            return WindowClaim(WindowDecision.DROP)
        return WindowClaim(WindowDecision.RUN_LATER, _SECONDS - elapsed + 1)  # a second more, since clocks differ

    def release(self, key: RecordKey, now: datetime) -> None:
        """Count an event less."""
        window, _ = _window_of(key, now)
        self._full.discard(window, True)
        self._count(window, -1, now)

    def _count(self, window: str, events: int, now: datetime) -> int | None:
        what, damaged = "the event window of a mirror", self._newer.note_damaged
        return self._table.add(window, "events", what, now + _COUNTER_LIFETIME, count=events, damaged=damaged)


def _window_of(key: RecordKey, now: datetime) -> tuple[str, int]:
    """Return the window of a mirror at a moment, and how many seconds of it are over."""
    number, elapsed = divmod(int(now.timestamp()) + zlib.crc32(str(key).encode()) % _SECONDS, _SECONDS)
    return f"window#{number}#{key}", elapsed


class DynamoCheckBudget:
    """Implements `pullahead.webhooks.ports.CheckBudget` by a counter for each sender and minute. For threads."""

    def __init__(self, client: "DynamoDBClient", table: str, limit: int, newer: NewerItems | None = None) -> None:
        self._table, self._limit, self._newer = Table(client, table), limit, newer or NewerItems()
        self._spent = TtlCache[str, bool, datetime](_MAX_CACHED)  # by sender; until then no call is needed

    def take(self, sender: str, checks: int, now: datetime) -> bool:
        """Add to the counter; where it is spent, this process refuses without a call until the minute ends."""
        if self.is_spent(sender, now):
            return False
        minute = now.replace(second=0, microsecond=0)
        key, what = f"budget#{sender}#{minute.strftime('%Y-%m-%dT%H:%MZ')}", "the checks that a sender asked for"
        damaged = self._newer.note_damaged
        if self._table.add(key, "checks", what, now + _COUNTER_LIFETIME, self._limit, checks, damaged) is not None:
            return True
        self._spent.put(sender, True, minute + timedelta(minutes=1))
        return False

    def is_spent(self, sender: str, now: datetime) -> bool:
        """Look in memory."""
        return self._spent.get(sender, now) is not None


REPLAY_GUARD_LIFETIME: Final = timedelta(days=1)
_WHAT: Final = "the webhook requests of a day"


class DynamoReplayGuard:
    """Implements `pullahead.webhooks.ports.ReplayGuard`. For several threads."""

    def __init__(self, client: "DynamoDBClient", table: str, newer: NewerItems | None = None) -> None:
        self._table, self._newer = Table(client, table), newer or NewerItems()
        self._known = TtlCache[str, bool, float](_MAX_CACHED)

    def is_known(self, identity: str, now: datetime) -> bool:
        """Look in memory, then in the table, where an item may outlive its time by days."""
        if self._known.get(identity, now.timestamp()):
            return True
        item = self._table.get(_key(identity), _WHAT) or {}
        expires_at = self._number(item)
        if expires_at <= now.timestamp():
            return False
        self._known.put(identity, True, expires_at)
        return True

    def _number(self, item: Item) -> float:
        """Read when an item expires; what cannot be read is of no request, and is written over by the next one."""
        expires_at = item.get("expires_at", 0)
        if isinstance(expires_at, int | Decimal):
            return float(expires_at)
        self._newer.note_damaged(item["pk"], "its expires_at is no number")
        return 0.0

    def remember(self, identity: str, now: datetime) -> None:
        """Write an item."""
        expires_at = epoch(now + REPLAY_GUARD_LIFETIME)
        self._table.put({"pk": _key(identity), "expires_at": expires_at}, _WHAT)
        self._known.put(identity, True, expires_at)


def _key(identity: str) -> str:
    return f"seen#{identity}"
