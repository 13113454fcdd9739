"""What is remembered of a mirror between checks. Pure data; written only when it changes."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from pullahead.freshness.alerts import Alert, AlertKind
from pullahead.oci import Digest


class State(StrEnum):
    """How a mirror stands. See docs/operating.md for what each means to a reader."""

    FRESH = "FRESH"
    MISSING = "MISSING"
    STALE = "STALE"
    BLOCKED = "BLOCKED"
    GONE = "GONE"
    UNKNOWN = "UNKNOWN"


class LastRefresh(msgspec.Struct, frozen=True):
    """The refresh that last published the mirror."""

    ended_at: datetime
    seconds: float
    lag_seconds: float  # from when the mirror was first seen not to be fresh until it was published
    bytes_copied: int
    execution: str


class RefreshFailure(msgspec.Struct, frozen=True):
    """Why refreshes to one upstream digest fail, and when the next one is tried."""

    digest: Digest
    kind: str  # the class name of the error
    text: str
    blocking: bool  # no other try helps until a human acts
    count: int  # in a row
    retry_at: datetime


class Record(msgspec.Struct, frozen=True):
    """Everything that is remembered of one mirror."""

    key: str
    upstream: str
    state: State
    since: datetime  # when this state was entered
    unfresh_since: datetime | None = None  # when the mirror was last seen to stop being fresh
    upstream_digest: Digest | None = None
    published_digest: Digest | None = None
    error_kind: str | None = None  # why upstream could not be asked: the class name and the message
    error: str | None = None
    failure: RefreshFailure | None = None
    alerted: tuple[AlertKind, ...] = ()  # alerts that stand until the mirror is fresh again
    pending: tuple[Alert, ...] = ()  # alerts decided but not yet known to be sent
    last_refresh: LastRefresh | None = None
    episode: int = 0  # a refresh runs once in each: raised when upstream moves, the tag is left behind, a refresh fails
    version: int = 0  # of the item, raised by every write

    def with_changes(self, **changes: Any) -> "Record":
        """Make a copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)

    def says_the_same_as(self, other: "Record | None") -> bool:
        """Whether writing this record over `other` would change nothing worth a write.

        The text of an error is left out: a new Retry-After or request id in it is no transition.
        """
        return other is not None and self.with_changes(error=None) == other.with_changes(error=None)
