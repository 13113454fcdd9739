"""Review the records: measure how late mirrors are, send alerts, and scan all of them once a day.

A review reads the index of reviews only: what is not fresh, or has something to tell. It keeps what has an alert to
send, and counts the rest. A segment of the full scan follows, if one is due: it retires records that no rule needs.

Records are retired only by rules that the schedule has used for its last checks: not by a file that is newer or older,
nor by the last valid version of a broken one. If the rules match no record at all, nothing is retired: more likely the
rules are wrong.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Final, NamedTuple

from msgspec import structs

from pullahead.alerts.full_scan import Retirement, Segment, scan_segment
from pullahead.alerts.incidents import (
    Condition,
    Incident,
    broken_rules,
    empty_rules,
    missing_checks,
    service_key,
    skipped_rules,
)
from pullahead.alerts.notify import Conditions, NotificationSender, NotificationSummary
from pullahead.alerts.plan import open_incidents
from pullahead.alerts.ports import IncidentStore
from pullahead.clock import Clock
from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.demand import is_absent
from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.record import ON_TIME, MirrorRecord, Record, RuleRecord, State
from pullahead.mirrors.record_scan import ScanState
from pullahead.mirrors.retirement import NeedFinder
from pullahead.mirrors.review_index import MAX_SHOWN
from pullahead.mirrors.store import DamagedRecord, Heartbeat, NewerRecord, RecordStore
from pullahead.mirrors.stored_form import newer_of
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules
from pullahead.rules.ports import ActiveRules, RulesStateStore
from pullahead.rules.sources.combine import newly_cached
from pullahead.rules.sources.state import BrokenRules, RulesState
from pullahead.rules.sources.upstream_access import skip_notices

QueueChecks = Callable[[Sequence[CheckRequest], int], None]
"""Queues checks that run after so many seconds, 900 at most. Raises: StorageError."""


class Lateness(NamedTuple):
    """How many mirrors are not fresh, and for how many seconds the oldest of them.

    A tag that is gone upstream is not late: there is nothing to copy. Nor is a mirror without an active rule.
    """

    mirrors: int = 0
    oldest_seconds: float = 0.0

    def including(self, record: Record, rules: Rules, now: datetime) -> "Lateness":
        """Add a record."""
        if not _is_late(record, rules):
            return self
        return Lateness(self.mirrors + 1, max(self.oldest_seconds, _age(record, now)))


def _is_late(record: Record, rules: Rules) -> bool:
    if not isinstance(record, MirrorRecord):
        return False
    if record.state in ON_TIME or record.state is State.GONE or record.expires_at is not None:
        return False
    if record.on_demand and is_absent(record):  # somebody pulled a tag that does not exist upstream
        return False
    mirror = rules.find(record.key.repository, record.key.tag)
    return mirror is not None and not rules.is_inactive(mirror.rule)


def _age(record: Record, now: datetime) -> float:
    return max(0.0, (now - (record.unfresh_since or record.since)).total_seconds())


def rules_allow_retirement(rules: Rules, state: RulesState | None, heartbeat: Heartbeat | None) -> bool:
    """Whether these rules are valid, and those that the schedule used."""
    return (
        state is not None
        and state.text.broken is None
        and heartbeat is not None
        and heartbeat.rules_digest == rules.digest
    )


_CACHED_FOUND_WITHIN = timedelta(minutes=15)
MAX_PENDING: Final = 100_000
"""Records with alerts to send that one review takes: 350 MB in all. Those that wait for longest come first."""
MAX_OUTBOX: Final = 1000
"""Records of which one review sends events that others could not send."""
WAKE_AHEAD: Final = timedelta(minutes=15)
"""SQS delays a message by 15 minutes at most: a review queues the checks of what is old enough until then."""
_WOKEN_FOR: Final = timedelta(hours=1)  # then the schedule alone checks it
_MAX_WOKEN: Final = 5000
_OUTBOX_RESERVE_SECONDS = 60.0
"""How long sending the events that others left in the outbox may take."""


class Limit(StrEnum):
    """A limit that was reached, so that something is left out."""

    PENDING = "more records have alerts to send than one review takes; the next ones take them"
    MESSAGES = "more messages are due than one review sends; the next ones send them"
    OUTBOX = "more records have events to send than one review sends; the next ones send them"
    SHOWN = "more mirrors are not fresh than the page of mirrors shows; it counts the others"
    OLD_ENOUGH = "more digests are old enough to be served than one review has checked; the next one takes them"
    SCAN = "the full scan of the records has taken more than a day, or could not begin for another day"


class Reviewed(NamedTuple):
    """The result of a review. `lateness` is None if the rules are not known; `errors` stopped nothing else.

    `records`: how many the index has.
    """

    records: int
    lateness: Lateness | None
    notifications: NotificationSummary
    scan: Segment
    errors: tuple[PullaheadError, ...]
    limits: tuple[Limit, ...] = ()


class _ReviewedRecords:
    """What a review needs of the records of the index, taken one by one."""

    def __init__(self, rules: Rules | None, now: datetime) -> None:
        self._rules, self._now = rules, now
        self.records, self.lateness = 0, Lateness()
        self.pending, self.unsent = list[Record](), list[MirrorRecord]()
        self.cooled: dict[MirrorKey, datetime] = {}
        self.others_open: Counter[str] = Counter()
        self.limits = set[Limit]()

    def add(self, record: Record | NewerRecord | DamagedRecord) -> None:
        """Add one record. Of most, nothing is kept; of those with alerts to send, what the alerts need."""
        if not isinstance(record, Record):
            return  # left as it is
        self.records += 1
        if self._rules is not None:
            self.lateness = self.lateness.including(record, self._rules, self._now)
        if isinstance(record, MirrorRecord) and record.outbox:
            if len(self.unsent) < MAX_OUTBOX:
                self.unsent.append(record)
            else:
                self.limits.add(Limit.OUTBOX)
        if isinstance(record, MirrorRecord) and record.state is State.COOLING:
            self._add_cooled(record)
        if not record.pending:
            self.others_open.update(open_incidents(record))
        elif len(self.pending) < MAX_PENDING:
            self.pending.append(_without_history(record))
        else:
            self.limits.add(Limit.PENDING)

    def _add_cooled(self, record: MirrorRecord) -> None:
        """Note when a digest will be old enough, if that is soon."""
        until = record.waiting.until if record.waiting is not None else None
        if until is None or not self._now - _WOKEN_FOR <= until <= self._now + WAKE_AHEAD or self._rules is None:
            return
        mirror = self._rules.find(record.key.repository, record.key.tag)
        if mirror is None or self._rules.is_inactive(mirror.rule):
            return
        if len(self.cooled) < _MAX_WOKEN:
            self.cooled[record.key] = until
        else:
            self.limits.add(Limit.OLD_ENOUGH)


def _without_history(record: Record) -> Record:
    if isinstance(record, MirrorRecord):
        return structs.replace(record, past=(), outbox=(), last_refresh=None, scan=None)
    return structs.replace(record, past=(), followed=()) if isinstance(record, RuleRecord) else record


class ReviewRecords:
    """Reviews all records."""

    def __init__(
        self,
        rules: ActiveRules,
        state: RulesStateStore,
        records: RecordStore,
        incidents: IncidentStore,
        notify: NotificationSender,
        outbox: OutboxSender,
        clock: Clock,
        silence_after: timedelta,
        rules_address: str,
        *,
        queue_checks: QueueChecks,
    ) -> None:
        self._rules, self._state, self._records = rules, state, records
        self._incidents, self._notify, self._outbox = incidents, notify, outbox
        self._clock, self._silence_after, self._rules_address = clock, silence_after, rules_address
        self._queue_checks = queue_checks
        self._woken: dict[MirrorKey, datetime] = {}  # by this process, for a moment that has not come

    def __call__(self, remaining_seconds: Callable[[], float]) -> Reviewed:
        """Review the records. Raises StorageError where they cannot be read."""
        now = self._clock()
        heartbeat, scan = self._records.load_heartbeat(), self._records.load_scan_state()
        rules, state, errors = self._load_rules()
        found = self._read_index(rules, now)
        retirement = None
        if rules is not None and state is not None and rules_allow_retirement(rules, state, heartbeat):
            retirement = Retirement(
                NeedFinder(rules, self._records.load_listings), rules.digest, _newly_cached_by(rules, state, now)
            )
        errors = (*errors, *self._wake(found.cooled, now))
        conditions = self._conditions(heartbeat, rules, state, scan if retirement is not None else None, now)
        notifications = self._send(found, conditions, now, remaining_seconds)
        if remaining_seconds() >= _OUTBOX_RESERVE_SECONDS:
            self._send_outbox(found.unsent)
        segment = scan_segment(self._records, scan, retirement, now, remaining_seconds)
        errors = (*errors, *notifications.errors, *segment.errors, *self._outbox.take_failures())
        limits = (
            *sorted(found.limits),
            *([Limit.MESSAGES] if notifications.too_many else []),
            *([Limit.SHOWN] if found.records > MAX_SHOWN else []),
            *([Limit.SCAN] if segment.state.is_overdue(now) else []),
        )
        lateness = found.lateness if rules is not None else None
        return Reviewed(found.records, lateness, notifications, segment, errors, limits)

    def _wake(self, cooled: Mapping[MirrorKey, datetime], now: datetime) -> Sequence[PullaheadError]:
        """Queue a check of each mirror for the moment when a digest is old enough; once, unless it has not helped."""
        requests: dict[int, dict[str, list[str]]] = {}
        self._woken = {key: until for key, until in self._woken.items() if until > now}
        due = {key: until for key, until in cooled.items() if self._woken.get(key) != until}
        for key, until in due.items():
            delay = max(0, ceil((until - now).total_seconds()))
            requests.setdefault(delay, {}).setdefault(key.repository, []).append(key.tag)
        try:
            for delay, repositories in requests.items():
                self._queue_checks([_check(*each, now) for each in _batches(repositories)], delay)
        except StorageError as error:
            return [error]
        self._woken |= due
        return []

    def _read_index(self, rules: Rules | None, now: datetime) -> _ReviewedRecords:
        found = _ReviewedRecords(rules, now)
        for record in self._records.to_review(now + WAKE_AHEAD):
            found.add(record)
        return found

    def _load_rules(self) -> tuple[Rules | None, RulesState | None, tuple[PullaheadError, ...]]:
        """Load the rules in force; without them alerts are sent all the same."""
        try:
            return self._rules(), self._state.load(), ()
        except (ConfigError, StorageError) as error:
            return None, None, (error,)

    def _send(
        self, found: _ReviewedRecords, conditions: Conditions, now: datetime, remaining_seconds: Callable[[], float]
    ) -> NotificationSummary:
        try:
            return self._notify(found.pending, conditions, now, remaining_seconds, found.others_open)
        except StorageError as error:  # lateness is measured all the same
            return NotificationSummary(errors=(error,))

    def _conditions(
        self,
        heartbeat: Heartbeat | None,
        rules: Rules | None,
        state: RulesState | None,
        scan: ScanState | None,
        now: datetime,
    ) -> Conditions:
        last = heartbeat.at if heartbeat is not None else None
        since = self._watched_since(last, now)
        conditions = {AlertKind.NOT_CHECKED: missing_checks(last, since, self._silence_after, now)}
        if rules is not None:
            notices = skip_notices(rules)
            conditions[AlertKind.RULES_SKIPPED] = skipped_rules(notices, now) if notices else None
        if state is not None:
            conditions[AlertKind.RULES_BROKEN] = self._broken(state.text.broken)
        if rules is not None and scan is not None and scan.last is not None:
            found = scan.last
            if found.rules_digest == rules.digest and not found.newer:  # the rules may match what cannot be read
                empty = empty_rules(found.unfollowed, now) if found.matches_nothing else None
                conditions[AlertKind.RULES_EMPTY] = empty
        return conditions

    def _broken(self, broken: BrokenRules | None) -> Condition | None:
        if broken is None:
            return None
        return broken_rules(self._rules_address, broken.since, broken.detail, unreadable=broken.unreadable)

    def _watched_since(self, last_checks: datetime | None, now: datetime) -> datetime:
        """Return when the last checks were sent or, if none ever were, when the reviews began."""
        if last_checks is not None:
            return last_checks
        key = service_key(AlertKind.NOT_CHECKED)
        loaded = self._incidents.load([key])
        known = loaded.get(key)
        if key in newer_of(loaded):
            return now
        if known is None or known.since is None:
            self._incidents.save(Incident(key, since=now), now)
            return now
        return known.since

    def _send_outbox(self, records: Iterable[MirrorRecord]) -> None:
        """Send the events that the processes which wrote them could not send."""
        for record in records:
            self._outbox.note(record, record)
        self._outbox.flush()


def _batches(repositories: Mapping[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    for repository, tags in repositories.items():
        for start in range(0, len(tags), MAX_TAGS_PER_CHECK):
            yield repository, tags[start : start + MAX_TAGS_PER_CHECK]


def _check(repository: str, tags: Sequence[str], now: datetime) -> CheckRequest:
    return CheckRequest(reason="schedule", repository=repository, tags=tuple(tags), asked_at=now)


def _newly_cached_by(rules: Rules, state: RulesState, now: datetime) -> Callable[[Record], bool]:
    """Tell what ECR's cache has only just fetched: the schedule has not found it yet, so no rule names it."""

    def is_new(record: Record) -> bool:
        known_since, key = record.past[0].since if record.past else record.since, record.key
        return (
            isinstance(key, MirrorKey)
            and now - known_since < _CACHED_FOUND_WITHIN
            and newly_cached(key.repository, key.tag, rules, state.findings) is not None
        )

    return is_new
