"""What is remembered of a mirror between checks. Pure data; written only when it changes.

What a record tells of its mirror's past: when it entered which state. Pure.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from pullahead.mirrors.alert import Alert, AlertKind, SentAlert
from pullahead.mirrors.outcome_event import OutcomeEvent, Scan
from pullahead.oci import Digest

_MOST_PAST = 60
"""States of a record's past: some 4 KB, and weeks even of a mirror that changes several times a day."""


class State(StrEnum):
    """How a mirror stands. See docs/operating.md for what each means to a reader."""

    FRESH = "FRESH"
    MISSING = "MISSING"
    STALE = "STALE"
    BLOCKED = "BLOCKED"
    GONE = "GONE"
    UNKNOWN = "UNKNOWN"
    DELETED = "DELETED"


SETTLED = frozenset({State.FRESH, State.DELETED})
"""In these, nothing is left to be done: ECR serves what it is to serve, or is to serve nothing."""


class LastRefresh(msgspec.Struct, frozen=True):
    """The refresh that last published the mirror."""

    ended_at: datetime
    seconds: float
    lag_seconds: float  # from when the mirror was first seen not to be fresh until it was published
    bytes_copied: int
    execution: str
    digest: Digest | None = None  # what it published


class Published(msgspec.Struct, frozen=True):
    """What a refresh published: an upstream digest, with these platforms alone (none: with all), as which digest."""

    upstream_digest: Digest
    platforms: tuple[str, ...]
    digest: Digest

    def made_from(self, upstream_digest: Digest | None, platforms: tuple[str, ...]) -> bool:
        """Whether it was this upstream digest, with these platforms."""
        return (self.upstream_digest, self.platforms) == (upstream_digest, platforms)


class RefreshFailure(msgspec.Struct, frozen=True):
    """Why refreshes to one upstream digest fail, and when the next one is tried."""

    digest: Digest
    kind: str  # the class name of the error
    text: str
    blocking: bool  # no other try helps until a human acts
    count: int  # in a row
    retry_at: datetime


class Past(msgspec.Struct, frozen=True):
    """A state that a mirror was in, from this moment until the next one."""

    since: datetime
    state: State


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
    platforms: tuple[str, ...] = ()  # that the rule wants, in order; none: all of them
    filtered: Published | None = None  # the last refresh that published chosen platforms; its digest is not upstream's
    past: tuple[Past, ...] = ()  # the states before this one, oldest first
    followed: tuple[str, ...] = ()  # of a listing: what was chosen from the last one that could be relied on
    previous_digest: Digest | None = None  # what ECR served before it served something else, or nothing
    outbox: tuple[OutcomeEvent, ...] = ()  # events that became due, but are not known to be sent
    scan: Scan | None = None  # ECR's last scan of what it serves, or of what it is to serve
    told: tuple[SentAlert, ...] = ()  # when people were last told of each kind of trouble
    on_demand: bool = False  # followed only because somebody pulled it
    expires_at: datetime | None = None  # no rule follows the mirror any more: when it is forgotten
    left_at: Digest | None = None  # what upstream served when the tag was seen to be deleted from ECR, and left so
    cache_failure: str | None = None  # why ECR's pull through cache could not fetch the tag, until it could again

    @property
    def wanted_digest(self) -> Digest | None:
        """What ECR is to serve, as far as it is known: with chosen platforms, only after they were published once."""
        if not self.platforms:
            return self.upstream_digest
        made = self.filtered
        return made.digest if made is not None and made.made_from(self.upstream_digest, self.platforms) else None

    def last_told(self, kind: AlertKind) -> SentAlert | None:
        """When people were last told of a kind of trouble; None: never."""
        return next((told for told in self.told if told.kind is kind), None)

    def with_changes(self, **changes: Any) -> "Record":
        """Make a copy with some fields changed; a state that is left is remembered, and what ECR no longer serves."""
        if changes.get("state", self.state) != self.state:
            changes["past"] = (*self.past, Past(self.since, self.state))[-_MOST_PAST:]
        if self.published_digest not in (None, changes.get("published_digest", self.published_digest)):
            changes["previous_digest"] = self.published_digest
        return msgspec.structs.replace(self, **changes)

    def says_the_same_as(self, other: "Record | None") -> bool:
        """Whether writing this record over `other` would change nothing worth a write.

        The text of an error is left out: a new Retry-After or request id in it is no transition.
        """
        return other is not None and self.with_changes(error=None) == other.with_changes(error=None)


class Transition(NamedTuple):
    """A mirror entered a state."""

    at: datetime
    key: str
    state: State


def transitions_of(record: Record, since: datetime) -> list[Transition]:
    """List those since a moment, and the last one before it, oldest first; the last of all is the present state."""
    past = [Transition(each.since, record.key, each.state) for each in record.past]
    every = [*past, Transition(record.since, record.key, record.state)]
    before = [transition for transition in every if transition.at < since]
    return [*before[-1:], *every[len(before) :]]
