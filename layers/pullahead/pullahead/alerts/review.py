"""Review all records: measure how late mirrors are, send alerts, and retire records that no rule needs.

One scan serves all three: half a read unit for 4 KB, a cent a day for some thousand mirrors.

Records are retired only by rules that the schedule has used for its last checks: not by a file that is newer or older,
nor by the last valid version of a broken one. If the rules match no record at all, nothing is retired: more likely the
rules are wrong.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

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
from pullahead.alerts.ports import IncidentStore
from pullahead.clock import Clock
from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.demand import is_absent
from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.record import SETTLED, MirrorRecord, Record, State
from pullahead.mirrors.retirement import UnfollowedRecords, find_unfollowed_records, retired
from pullahead.mirrors.store import Heartbeat, NewerRecord, RecordStore, update_record
from pullahead.mirrors.stored_form import newer_of
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules
from pullahead.rules.ports import ActiveRules, RulesStateStore
from pullahead.rules.sources.combine import newly_cached
from pullahead.rules.sources.state import BrokenRules, RulesState
from pullahead.rules.sources.upstream_access import skip_notices


class Lateness(NamedTuple):
    """How many mirrors are not fresh, and for how many seconds the oldest of them."""

    mirrors: int
    oldest_seconds: float


def measure_lateness(records: Iterable[Record], rules: Rules, now: datetime) -> Lateness:
    """Measure the lateness of all records.

    A tag that is gone upstream is not late: there is nothing to copy. Nor is a mirror without an active rule.
    """
    ages = [_age(record, now) for record in records if _is_late(record, rules)]
    return Lateness(len(ages), max(ages, default=0.0))


def _is_late(record: Record, rules: Rules) -> bool:
    if not isinstance(record, MirrorRecord):
        return False
    if record.state in SETTLED or record.state is State.GONE or record.expires_at is not None:
        return False
    if record.on_demand and is_absent(record):  # somebody pulled a tag that does not exist upstream
        return False
    mirror = rules.find(record.key.repository, record.key.tag)
    return mirror is not None and not rules.is_inactive(mirror.rule)


def _age(record: Record, now: datetime) -> float:
    return max(0.0, (now - (record.unfresh_since or record.since)).total_seconds())


MAX_RETIRED = 1000
"""Of one review; the others follow with the next ones."""

_THREADS = 16
_RESERVED_SECONDS = 20.0


class Retired(NamedTuple):
    """How many records were retired, and what failed."""

    records: int = 0
    errors: tuple[PullaheadError, ...] = ()


def rules_allow_retirement(rules: Rules, state: RulesState | None, heartbeat: Heartbeat | None) -> bool:
    """Whether these rules are valid, and those that the schedule used."""
    return (
        state is not None
        and state.text.broken is None
        and heartbeat is not None
        and heartbeat.rules_digest == rules.digest
    )


def retire(
    unfollowed: UnfollowedRecords, records: RecordStore, now: datetime, remaining_seconds: Callable[[], float]
) -> Retired:
    """Let records expire; the next check of a mirror that is added back undoes it."""
    named: list[tuple[Record, bool]] = [(record, True) for record in unfollowed.mirrors]
    named += [(record, False) for record in unfollowed.others]
    if not named or not unfollowed.followed:
        return Retired()
    done = _each(named[:MAX_RETIRED], records, now, remaining_seconds)
    errors = tuple(each for each in done if isinstance(each, PullaheadError))
    return Retired(sum(each is True for each in done), errors=errors)


def _each(
    unfollowed: Sequence[tuple[Record, bool]],
    records: RecordStore,
    now: datetime,
    remaining_seconds: Callable[[], float],
) -> list[bool | PullaheadError]:
    def one(record: Record, told: bool) -> bool | PullaheadError:
        if remaining_seconds() < _RESERVED_SECONDS:
            return False
        try:
            after = update_record(records, record.key, lambda known: known and _retired(known, now, told), record)
        except PullaheadError as error:
            return error
        return after is not None and after.expires_at is not None

    with ThreadPoolExecutor(min(_THREADS, len(unfollowed))) as pool:
        return list(pool.map(one, *zip(*unfollowed, strict=True)))


def _retired(record: Record, now: datetime, told: bool) -> Record:
    return record if record.expires_at is not None else retired(record, now, alerted=told)


_CACHED_FOUND_WITHIN = timedelta(minutes=15)
MAX_RECORDS = 30_000
"""Some 430 MB, if each has the longest history and a pending alert. Of others only alerts and events are sent, and the
log says so."""
_MAX_BEYOND = 5_000
_OUTBOX_RESERVE_SECONDS = 60.0
"""How long sending the events that others left in the outbox may take."""


class Reviewed(NamedTuple):
    """The result of a review. `lateness` is None if the rules are not known; `errors` stopped nothing else."""

    records: int
    lateness: Lateness | None
    notifications: NotificationSummary
    retired: Retired
    errors: tuple[PullaheadError, ...]
    complete: bool = True


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
    ) -> None:
        self._rules, self._state, self._records = rules, state, records
        self._incidents, self._notify, self._outbox = incidents, notify, outbox
        self._clock, self._silence_after, self._rules_address = clock, silence_after, rules_address

    def __call__(self, remaining_seconds: Callable[[], float]) -> Reviewed:
        """Review all records. Raises StorageError where they cannot be read."""
        now = self._clock()
        found, complete = _held(self._records.scan())
        records = [record for record in found if isinstance(record, Record)]
        has_newer = len(records) < len(found)  # of mirrors that the rules may match
        heartbeat = self._records.load_heartbeat()
        rules, state, errors = self._load_rules()
        lateness = measure_lateness(records, rules, now) if rules is not None else None
        may = rules is not None and rules_allow_retirement(rules, state, heartbeat)
        unfollowed = None
        if rules is not None and state is not None and may:
            unfollowed = find_unfollowed_records(_not_newly_cached(records, rules, state, now), rules)
        conditions = self._conditions(heartbeat, rules, state, None if has_newer or not complete else unfollowed, now)
        notifications = self._send(records, conditions, now, remaining_seconds)
        retired = retire(unfollowed, self._records, now, remaining_seconds) if unfollowed is not None else Retired()
        if remaining_seconds() >= _OUTBOX_RESERVE_SECONDS:
            self._send_outbox(records)
        errors = (*errors, *notifications.errors, *retired.errors, *self._outbox.take_failures())
        return Reviewed(len(records), lateness, notifications, retired, errors, complete)

    def _load_rules(self) -> tuple[Rules | None, RulesState | None, tuple[PullaheadError, ...]]:
        """Load the rules in force; without them alerts are sent all the same."""
        try:
            return self._rules(), self._state.load(), ()
        except (ConfigError, StorageError) as error:
            return None, None, (error,)

    def _send(
        self, records: list[Record], conditions: Conditions, now: datetime, remaining_seconds: Callable[[], float]
    ) -> NotificationSummary:
        try:
            return self._notify(records, conditions, now, remaining_seconds)
        except StorageError as error:  # lateness is measured all the same
            return NotificationSummary(errors=(error,))

    def _conditions(
        self,
        heartbeat: Heartbeat | None,
        rules: Rules | None,
        state: RulesState | None,
        unfollowed: UnfollowedRecords | None,
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
        if unfollowed is not None:
            empty = empty_rules(len(unfollowed.mirrors), now) if unfollowed.is_all else None
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

    def _send_outbox(self, records: list[Record]) -> None:
        """Send the events that the processes which wrote them could not send."""
        for record in records:
            if isinstance(record, MirrorRecord) and record.outbox:
                self._outbox.note(record, record)
        self._outbox.flush()


def _held(scanned: Iterable[Record | NewerRecord]) -> tuple[list[Record | NewerRecord], bool]:
    """Hold what a review is about, of any number of records; tell whether that is all of it.

    Retired records of which nothing is to be told are left out: an upstream can make many. Beyond the limit, those with
    an alert or an event that waits are held, so that no number of records keeps an alert from being sent.
    """
    held, beyond, complete = list[Record | NewerRecord](), list[Record | NewerRecord](), True
    for record in scanned:
        waits = isinstance(record, Record) and _waits(record)
        if isinstance(record, Record) and record.expires_at is not None and not waits:
            continue
        if len(held) < MAX_RECORDS:
            held.append(record)
        else:
            complete = False
            if waits and len(beyond) < _MAX_BEYOND:
                beyond.append(record)
    return [*held, *beyond], complete


def _waits(record: Record) -> bool:
    """Whether an alert or an event of a record is to be sent."""
    return bool(record.pending) or (isinstance(record, MirrorRecord) and bool(record.outbox))


def _not_newly_cached(records: list[Record], rules: Rules, state: RulesState, now: datetime) -> list[Record]:
    """Leave out what ECR's cache has only just fetched: the schedule has not found it yet, so no rule names it."""

    def is_new(record: Record) -> bool:
        known_since, key = record.past[0].since if record.past else record.since, record.key
        return (
            isinstance(key, MirrorKey)
            and now - known_since < _CACHED_FOUND_WITHIN
            and newly_cached(key.repository, key.tag, rules, state.findings) is not None
        )

    return [record for record in records if not is_new(record)]
