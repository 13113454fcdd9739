"""Records: what is remembered between checks of a mirror, of a rule's listing, and of a rule's daily limit. Pure data.

A record is written only when it changes, and keeps the states it was in. How it is stored: `stored_record`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self

import msgspec
from msgspec import structs

from pullahead.admission.gates import GateName, HeldReason, Hold
from pullahead.admission.seen_digests import SeenDigests
from pullahead.clock import Moment
from pullahead.mirrors.alert import MAX_PENDING, Alert, AlertKind, SentAlert, bounded
from pullahead.mirrors.missing import Missing
from pullahead.mirrors.outcome_event import OutcomeEvent, Scan
from pullahead.mirrors.previous import KeptDigest
from pullahead.mirrors.referrers import KnownReferrers
from pullahead.mirrors.refresh_pace import RefreshPace
from pullahead.oci import Digest
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey
from pullahead.text import moment_text, one_line

_MAX_PAST = 60
"""States of a record's past: about 4 KB, and weeks even of a mirror that changes several times a day."""


_MAX_PAST_CAUSES, _MAX_CAUSE_CHARACTERS = 10, 120
"""Of the past: how many states keep why they were, and how much of it. A review holds every record in memory."""


class Trigger(StrEnum):
    """What made Pullahead find out that a state was entered: the reason of a check, or a refresh that ended."""

    UNKNOWN = ""  # it was not recorded
    SCHEDULE = "schedule"
    MANUAL = "manual"
    PUSH = "push"
    DELETE = "delete"
    CACHE = "cache"
    WEBHOOK = "webhook"
    PULL = "pull"
    REFRESH = "refresh"
    SCAN = "scan"


class State(StrEnum):
    """The state of a mirror. docs/operating.md says what each means to an operator."""

    FRESH = "FRESH"
    MISSING = "MISSING"
    STALE = "STALE"
    BLOCKED = "BLOCKED"
    GONE = "GONE"
    UNKNOWN = "UNKNOWN"
    DELETED = "DELETED"
    COOLING = "COOLING"
    HELD = "HELD"


SETTLED = frozenset({State.FRESH, State.DELETED})
"""States in which nothing is left to do: ECR serves what it should, or should serve nothing."""

WAITING = frozenset({State.COOLING, State.HELD})
"""States in which ECR serves what it may, and a newer digest may not be served yet: neither stale nor late."""

ON_TIME = SETTLED | WAITING
"""States in which Pullahead has nothing to do now."""


class LastRefresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh that last published the mirror."""

    ended_at: Moment
    seconds: float
    lag_seconds: float  # from when the mirror was first found not fresh until it was published
    bytes_copied: int
    execution: str
    digest: Digest | None = None  # what it published


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A digest that a refresh published, and the upstream digest and platforms (none: all) that it was made from."""

    upstream_digest: Digest
    platforms: tuple[str, ...]
    digest: Digest

    def made_from(self, upstream_digest: Digest | None, platforms: tuple[str, ...]) -> bool:
        """Whether it was made from this upstream digest and these platforms."""
        return (self.upstream_digest, self.platforms) == (upstream_digest, platforms)


class RefreshFailure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Why refreshes to one upstream digest fail, and when to try again. `digests`: to how many they have failed in a
    row, with no success between."""

    digest: Digest
    kind: str  # the class name of the error
    text: str
    blocking: bool  # trying again does not help until a human acts
    count: int  # in a row
    retry_at: Moment
    digests: int = 1


class Past(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A state that was entered at a time, and left at the time of the next one; what led to it, and why it was."""

    since: Moment
    state: State
    trigger: Trigger = Trigger.UNKNOWN
    cause: str = ""
    sender: str = ""  # of the webhook that led to it


class ManualCheck(msgspec.Struct, frozen=True):
    """The last check that a person asked for, so that whoever asked can follow it.

    `result`: what it found, in words. `started`: whether a refresh runs or waits.
    """

    asked_at: Moment
    at: Moment
    result: str
    started: bool = False


class Record(msgspec.Struct, frozen=True):
    """What is remembered of one subject, whichever it is: a state, its errors, and the alerts about it."""

    key: RecordKey
    upstream: str
    state: State
    since: Moment  # when this state was entered
    unfresh_since: Moment | None = None  # when it was last found to have stopped being fresh
    alerted: tuple[AlertKind, ...] = ()  # alerts that are open until the state is fresh again
    pending: tuple[Alert, ...] = ()  # alerts that are decided but not known to be sent
    told: tuple[SentAlert, ...] = ()  # when the last alert of each kind was sent
    error_kind: str | None = None  # why upstream could not be read: the class of the error, and its message
    error: str | None = None
    past: tuple[Past, ...] = ()  # the states before this one, oldest first
    expires_at: Moment | None = None  # no rule follows it any more: when the record is deleted
    version: int = 0  # of the stored item, raised by every write
    trigger: Trigger = Trigger.UNKNOWN  # what led to this state
    reason: str = ""  # why this state was entered, where it is no error
    sender: str = ""  # of the webhook that led to this state
    denied: str = ""  # how a request was sent to which upstream denied access: with which credential, or without one

    @property
    def cause(self) -> str:
        """Why it is not fresh, in one line, as far as that is known."""
        return self.error or ""

    @property
    def cause_kind(self) -> str:
        """The class of the error that is the cause."""
        return self.error_kind or ""

    @property
    def open_alerts(self) -> tuple[AlertKind, ...]:
        """The kinds of trouble that are not over."""
        return self.alerted

    def last_told(self, kind: AlertKind) -> SentAlert | None:
        """Return when an alert of a kind was last sent; None: never."""
        return next((told for told in self.told if told.kind is kind), None)

    def with_changes(self, **changes: Any) -> Self:
        """Copy the record with some fields changed; a state that changes is added to the past, and alerts that are
        never sent are bounded."""
        if changes.get("state", self.state) != self.state:
            changes["past"] = self._past_and_present()
            changes = {"trigger": Trigger.UNKNOWN, "reason": "", "sender": ""} | changes
        if len(changes.get("pending", ())) > MAX_PENDING:
            changes["pending"] = bounded(changes["pending"])
        return structs.replace(self, **changes)

    def _past_and_present(self) -> tuple[Past, ...]:
        cause = one_line(self.cause or self.reason, _MAX_CAUSE_CHARACTERS)
        every = (*self.past, Past(self.since, self.state, self.trigger, cause, self.sender))[-_MAX_PAST:]
        kept = len(every) - _MAX_PAST_CAUSES
        if kept > 0 and every[kept - 1].cause:
            every = (*every[: kept - 1], structs.replace(every[kept - 1], cause=""), *every[kept:])
        return every

    def says_the_same_as(self, other: "Record | None") -> bool:
        """Whether writing this record over `other` would change nothing worth a write.

        The text of an error is left out: a new Retry-After or request id in it is no transition.
        """
        return other is not None and self.with_changes(error=None) == other.with_changes(error=None)


class MovedAway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What upstream serves under a tag that is pinned to another digest; None: it has no such tag any more."""

    pin: Digest
    to: Digest | None
    since: datetime


class WaitingDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A digest that upstream serves, or has served, and the tag may not serve yet: until a moment, or because of what.

    `reported`: its rule only reports, so that the tag serves it all the same.
    """

    digest: Digest
    first_at: Moment
    until: Moment | None = None
    because: HeldReason | None = None
    reported: bool = False
    gate: GateName = GateName.AGE  # which holds it until the moment
    why: str = ""  # what the gate knows

    @classmethod
    def of(cls, digest: Digest, first_at: datetime, hold: Hold, *, reported: bool = False) -> Self:
        """Say what a gate says of a digest."""
        return cls(digest, first_at, hold.until, hold.because, reported, hold.gate, hold.why)

    @property
    def state(self) -> State:
        """The state of a mirror that serves what it may."""
        return State.COOLING if self.until is not None else State.HELD

    @property
    def text(self) -> str:
        """What waits, and for what."""
        why = f": {self.why}" if self.why else ""
        if self.until is not None:
            first, until = moment_text(self.first_at), moment_text(self.until)
            ends = _WAIT_TEXTS[self.gate]
            return f"{self.digest} was first seen at {first}, and {ends} {until}{why}"
        return f"{self.digest} {_HELD_TEXTS[self.because or HeldReason.WAITING_APPROVAL]}{why}"


_WAIT_TEXTS = {
    GateName.AGE: "is old enough at",
    GateName.SIGNATURE: "its signature is waited for until",
    GateName.SCAN: "its scan is waited for until",
}
_HELD_TEXTS = {
    HeldReason.WAITING_APPROVAL: "waits until a person admits it",
    HeldReason.REJECTED: "was rejected by a person",
    HeldReason.UNSIGNED: "is not signed as its rule demands",
    HeldReason.UNTRUSTED: "is not signed by whom its rule trusts",
    HeldReason.UNVERIFIED: "could not be verified yet",
    HeldReason.VULNERABLE: "is vulnerable",
    HeldReason.SCAN_PENDING: "has no result of a scan",
}


class MirrorRecord(Record, frozen=True):
    """What is remembered of one mirror."""

    key: MirrorKey
    upstream_digest: Digest | None = None
    published_digest: Digest | None = None
    failure: RefreshFailure | None = None
    last_refresh: LastRefresh | None = None
    episode: int = 0  # a refresh runs once in each: raised when upstream moves, the tag is left behind, a refresh fails
    platforms: tuple[str, ...] = ()  # that the rule selects, sorted; none: all of them
    filtered: Published | None = None  # the last refresh that published some platforms; its digest is not upstream's
    previous_digest: Digest | None = None  # what ECR served before it served something else, or nothing
    outbox: tuple[OutcomeEvent, ...] = ()  # events that are due but not known to be sent
    scan: Scan | None = None  # ECR's last scan of what it serves, or will serve
    on_demand: bool = False  # followed only because somebody pulled it
    left_at: Digest | None = None  # upstream's digest when the tag was found deleted from ECR, and was not restored
    replicated_from: str | None = None  # why it was not: ECR's replication from there writes the repository
    cache_failure: str | None = None  # why ECR's pull through cache could not fetch the tag, until it could again
    referrers: KnownReferrers | None = None  # None: they were not looked for
    manual: ManualCheck | None = None
    pace: RefreshPace | None = None  # of refreshes to other digests; None: none was started by this version
    moved_away: MovedAway | None = None  # where the tag is pinned
    kept: tuple[KeptDigest, ...] = ()  # what the tag served before, and what keeps it in ECR; oldest first
    missing: Missing | None = None  # from what its rule chooses, which prunes
    admission: SeenDigests | None = None  # where its rule demands something of a digest before the tag may serve it
    waiting: WaitingDigest | None = None
    was_listed: bool = False  # where it is GONE: a pattern selected it, so that upstream has listed it

    @property
    def was_never_found(self) -> bool:
        """Whether neither upstream nor ECR is known to have had the tag: its name may be wrong."""
        return not self.was_listed and not self.was_seen

    @property
    def was_seen(self) -> bool:
        """Whether upstream or ECR is known to have had the tag."""
        served = self.published_digest or self.previous_digest or self.last_refresh
        return self.upstream_digest is not None or served is not None or self.admission is not None

    @property
    def was_only_asked_for(self) -> bool:
        """Whether a person had a tag checked that a pattern fits, and that is not known to have ever been there."""
        return self.was_listed and not self.was_seen and self.trigger is Trigger.MANUAL

    @property
    def serves_what_it_may(self) -> bool:
        """Whether ECR serves what it should, though something newer may wait."""
        if self.state in WAITING:
            return self.published_digest is not None and self.published_digest == self.wanted_digest
        return self.state is State.FRESH

    @property
    def cause(self) -> str:
        """Why the mirror is not fresh, in one line, as far as that is known."""
        left = replicated_deletion(self.replicated_from) if self.replicated_from is not None else ""
        waiting = self.waiting.text if self.waiting is not None and self.state in WAITING else ""
        return self.error or (self.failure.text if self.failure is not None else "") or left or waiting

    @property
    def cause_kind(self) -> str:
        """The class of the error that is the cause."""
        return self.error_kind or (self.failure.kind if self.failure is not None else "")

    @property
    def open_alerts(self) -> tuple[AlertKind, ...]:
        """The kinds of trouble that are not over."""
        cache = (AlertKind.CACHE_FAILED,) if self.cache_failure is not None else ()
        is_alerted = self.referrers is not None and self.referrers.alerted
        moved = (AlertKind.PIN_MOVED,) if self.moved_away is not None else ()
        return (*self.alerted, *cache, *((AlertKind.REFERRERS_FAILED,) if is_alerted else ()), *moved)

    @property
    def wanted_digest(self) -> Digest | None:
        """What ECR should serve, where that is known: with selected platforms, only after they were published once."""
        if not self.platforms:
            return self.upstream_digest
        made = self.filtered
        return made.digest if made is not None and made.made_from(self.upstream_digest, self.platforms) else None

    def with_changes(self, **changes: Any) -> Self:
        """Copy the record with some fields changed; what ECR no longer serves becomes the previous digest."""
        if self.published_digest not in (None, changes.get("published_digest", self.published_digest)):
            changes["previous_digest"] = self.published_digest
        return super().with_changes(**changes)


def replicated_deletion(source: str) -> str:
    """Say why a tag that was deleted is not restored where ECR's replication writes the repository."""
    return (
        f"the tag was deleted from ECR, and ECR's replication from {source} writes and deletes there; it is restored "
        "when upstream moves, or on `pullahead refresh`"
    )


class RuleRecord(Record, frozen=True):
    """What is remembered of the listing of a rule that selects its tags."""

    key: RuleKey
    followed: tuple[str, ...] = ()  # what the last usable listing selected
    new_since: datetime | None = None  # since when what is new in listings is counted, for a day
    new_count: int = 0
    pruned_on: str = ""  # the day, in UTC, on which tags were last removed, and how many of them
    pruned_count: int = 0
    manual: ManualCheck | None = None


class DailyLimitRecord(Record, frozen=True):
    """Whether a rule on demand has reached the number of new mirrors that it may make in a day."""

    key: RuleKey


class Transition(NamedTuple):
    """A change of state, at a time; what led to it, and why."""

    at: datetime
    key: RecordKey
    state: State
    trigger: Trigger = Trigger.UNKNOWN
    cause: str = ""
    sender: str = ""  # of a webhook


def transitions_of(record: Record, since: datetime) -> list[Transition]:
    """List the transitions since a time, and the last one before it, oldest first; the last is to the present state."""
    past = [Transition(each.since, record.key, *structs.astuple(each)[1:]) for each in record.past]
    cause = record.cause or record.reason
    present = Transition(record.since, record.key, record.state, record.trigger, cause, record.sender)
    every = [*past, present]
    before = [transition for transition in every if transition.at < since]
    return [*before[-1:], *every[len(before) :]]
