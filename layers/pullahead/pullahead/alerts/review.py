"""Look through all records: how late mirrors are, what people are to be told, which records have had their day.

One scan for all three: half a read unit for 4 KB, a few thousand mirrors for a cent a day.

Measure how late mirrors are: how many that are followed are not fresh, and for how long the oldest. Pure.

Retire the records that no rule has a use for. Decides when rules are to be believed in that.

Only rules by which the schedule has sent its last checks are: not a file that is newer or older than theirs, and none
of which a broken version stands. Where nothing at all would stay, nothing is retired: more likely the rules went amiss.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from pullahead.alerts.incidents import Condition, Incident, broken_rules, empty_rules, service_key, silence
from pullahead.alerts.notify import Conditions, NotificationSender, NotificationSummary
from pullahead.alerts.ports import IncidentStore
from pullahead.clock import Clock
from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.demand import is_absent
from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.record import SETTLED, MirrorRecord, Record, State
from pullahead.mirrors.retirement import UnfollowedRecords, find_unfollowed_records, retired
from pullahead.mirrors.store import Heartbeat, RecordStore, update_record
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules
from pullahead.rules.ports import ActiveRules, RulesStateStore
from pullahead.rules.sources.combine import newly_cached
from pullahead.rules.sources.state import BrokenRules, RulesState


class Lateness(NamedTuple):
    """How many mirrors are not fresh, and for how many seconds the one that waits longest."""

    mirrors: int
    oldest_seconds: float


def measure_lateness(records: Iterable[Record], rules: Rules, now: datetime) -> Lateness:
    """Look at every record.

    What is gone upstream is not late: nothing could be copied. Nor is what no rule follows any more, or what is paused.
    """
    ages = [_age(record, now) for record in records if _is_late(record, rules)]
    return Lateness(len(ages), max(ages, default=0.0))


def _is_late(record: Record, rules: Rules) -> bool:
    if not isinstance(record, MirrorRecord):
        return False
    if record.state in SETTLED or record.state is State.GONE or record.expires_at is not None:
        return False
    if record.on_demand and is_absent(record):  # somebody pulled what is nowhere
        return False
    mirror = rules.find(record.key.repository, record.key.tag)
    return mirror is not None and mirror.rule not in rules.paused


def _age(record: Record, now: datetime) -> float:
    return max(0.0, (now - (record.unfresh_since or record.since)).total_seconds())


MAX_RETIRED = 1000
"""Of one review; the others follow with the next ones."""

_THREADS = 16
_RESERVED_SECONDS = 20.0


class Retired(NamedTuple):
    """How many were retired, and what went wrong."""

    records: int = 0
    errors: tuple[PullaheadError, ...] = ()


def rules_allow_retirement(rules: Rules, standing: RulesState | None, heartbeat: Heartbeat | None) -> bool:
    """Whether rules are those that are in force, and whole."""
    return (
        standing is not None
        and standing.text.broken is None
        and heartbeat is not None
        and heartbeat.rules_digest == rules.digest
    )


def retire(
    leave: UnfollowedRecords, records: RecordStore, now: datetime, remaining_seconds: Callable[[], float]
) -> Retired:
    """Let records be forgotten in time; the next check of a mirror that is named again takes it back."""
    named: list[tuple[Record, bool]] = [(record, True) for record in leave.mirrors]
    named += [(record, False) for record in leave.others]
    if not named or not leave.followed:
        return Retired()
    done = _each(named[:MAX_RETIRED], records, now, remaining_seconds)
    errors = tuple(each for each in done if isinstance(each, PullaheadError))
    return Retired(sum(each is True for each in done), errors=errors)


def _each(
    leave: Sequence[tuple[Record, bool]], records: RecordStore, now: datetime, remaining_seconds: Callable[[], float]
) -> list[bool | PullaheadError]:
    def one(record: Record, told: bool) -> bool | PullaheadError:
        if remaining_seconds() < _RESERVED_SECONDS:
            return False
        try:
            after = update_record(records, record.key, lambda known: known and _retired(known, now, told), record)
        except PullaheadError as error:
            return error
        return after is not None and after.expires_at is not None

    with ThreadPoolExecutor(min(_THREADS, len(leave))) as pool:
        return list(pool.map(one, *zip(*leave, strict=True)))


def _retired(record: Record, now: datetime, told: bool) -> Record:
    return record if record.expires_at is not None else retired(record, now, told=told)


_FOUND_WITHIN = timedelta(minutes=15)
MAX_RECORDS = 30_000
"""Some 350 MB of them, each with its longest past and all with something to tell: what else there is is not reviewed,
and the log says so."""
_ANNOUNCED_WITHIN = 60.0
"""Seconds that the events which others left behind may take, of a function that runs to its end."""


class Reviewed(NamedTuple):
    """What a review came to. `lateness` is None where the rules are not known; `errors` stopped nothing else."""

    records: int
    lateness: Lateness | None
    telling: NotificationSummary
    retired: Retired
    errors: tuple[PullaheadError, ...]
    complete: bool = True


class ReviewRecords:
    """The use case, with the ports that it looks through and acts on."""

    def __init__(
        self,
        rules: ActiveRules,
        standing: RulesStateStore,
        records: RecordStore,
        incidents: IncidentStore,
        tell: NotificationSender,
        announcer: OutboxSender,
        clock: Clock,
        silence_after: timedelta,
        rules_address: str,
    ) -> None:
        self._rules, self._standing, self._records = rules, standing, records
        self._incidents, self._tell, self._announcer = incidents, tell, announcer
        self._clock, self._silence_after, self._rules_address = clock, silence_after, rules_address

    def __call__(self, remaining_seconds: Callable[[], float]) -> Reviewed:
        """Review all records. Raises StorageError where they cannot be read."""
        now = self._clock()
        found = list(islice(self._records.scan(), MAX_RECORDS + 1))
        records, complete = found[:MAX_RECORDS], len(found) <= MAX_RECORDS
        heartbeat = self._records.load_heartbeat()
        rules, standing, errors = self._known_rules()
        lateness = measure_lateness(records, rules, now) if rules is not None else None
        may = rules is not None and complete and rules_allow_retirement(rules, standing, heartbeat)
        leave = None
        if rules is not None and standing is not None and may:
            leave = find_unfollowed_records(_not_newly_cached(records, rules, standing, now), rules)
        telling = self._telling(records, self._conditions(heartbeat, standing, leave, now), now, remaining_seconds)
        retired = retire(leave, self._records, now, remaining_seconds) if leave is not None else Retired()
        if remaining_seconds() >= _ANNOUNCED_WITHIN:
            self._announce_leftovers(records)
        errors = (*errors, *telling.errors, *retired.errors, *self._announcer.take_failures())
        return Reviewed(len(records), lateness, telling, retired, errors, complete)

    def _known_rules(self) -> tuple[Rules | None, RulesState | None, tuple[PullaheadError, ...]]:
        """The rules in force: what is to be told is told without them, too."""
        try:
            return self._rules(), self._standing.load(), ()
        except (ConfigError, StorageError) as error:
            return None, None, (error,)

    def _telling(
        self, records: list[Record], conditions: Conditions, now: datetime, remaining_seconds: Callable[[], float]
    ) -> NotificationSummary:
        try:
            return self._tell(records, conditions, now, remaining_seconds)
        except StorageError as error:  # how late mirrors are is measured all the same
            return NotificationSummary(errors=(error,))

    def _conditions(
        self, heartbeat: Heartbeat | None, standing: RulesState | None, leave: UnfollowedRecords | None, now: datetime
    ) -> Conditions:
        last = heartbeat.at if heartbeat is not None else None
        since = self._watched_since(last, now)
        conditions = {AlertKind.NOT_CHECKED: silence(last, since, self._silence_after, now)}
        if standing is not None:
            conditions[AlertKind.RULES_BROKEN] = self._broken(standing.text.broken)
        if leave is not None:
            empty = empty_rules(len(leave.mirrors), now) if leave.is_all else None
            conditions[AlertKind.RULES_EMPTY] = empty
        return conditions

    def _broken(self, broken: BrokenRules | None) -> Condition | None:
        if broken is None:
            return None
        return broken_rules(self._rules_address, broken.since, broken.detail, unreadable=broken.unreadable)

    def _watched_since(self, last_checks: datetime | None, now: datetime) -> datetime:
        """Since when it is known that no checks were ever sent."""
        if last_checks is not None:
            return last_checks
        key = service_key(AlertKind.NOT_CHECKED)
        known = self._incidents.load([key]).get(key)
        if known is None or known.since is None:
            self._incidents.save(Incident(key, since=now), now)
            return now
        return known.since

    def _announce_leftovers(self, records: list[Record]) -> None:
        """Send the events that their writers did not live to send."""
        for record in records:
            if isinstance(record, MirrorRecord) and record.outbox:
                self._announcer.note(record, record)
        self._announcer.flush()


def _not_newly_cached(records: list[Record], rules: Rules, standing: RulesState, now: datetime) -> list[Record]:
    """Leave out what ECR's cache has only just made known to us: the schedule has yet to find it, and to name it."""

    def is_new(record: Record) -> bool:
        known_since, key = record.past[0].since if record.past else record.since, record.key
        return (
            isinstance(key, MirrorKey)
            and now - known_since < _FOUND_WITHIN
            and newly_cached(key.repository, key.tag, rules, standing.findings) is not None
        )

    return [record for record in records if not is_new(record)]
