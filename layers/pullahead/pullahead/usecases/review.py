"""Look through all records: how late mirrors are, what people are to be told, which records have had their day.

One scan for all three: half a read unit for 4 KB, a few thousand mirrors for a cent a day.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple, Protocol

from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.freshness.alerts import AlertKind
from pullahead.freshness.conditions import Condition, broken_rules, empty_rules, silence
from pullahead.freshness.incidents import Incident, service_key
from pullahead.freshness.records import Record
from pullahead.freshness.retirement import Leaving
from pullahead.ports import Clock, Heartbeat, KeepsIncidents, LoadsRules, Records, ScansRecords
from pullahead.rules.model import Rules
from pullahead.rules.sources.gather import newly_cached
from pullahead.rules.sources.ports import LoadsStanding
from pullahead.rules.sources.standing import Broken, Standing
from pullahead.usecases.announce import Announcer
from pullahead.usecases.lateness import Lateness, measure_lateness
from pullahead.usecases.retire import Retired, find_leaving, may_retire, retire
from pullahead.usecases.tell import Conditions, Telling, TellPeople

_FOUND_WITHIN = timedelta(minutes=15)
MAX_RECORDS = 30_000
"""Some 350 MB of them, each with its longest past and all with something to tell: what else there is is not reviewed,
and the log says so."""
_ANNOUNCED_WITHIN = 60.0
"""Seconds that the events which others left behind may take, of a function that runs to its end."""


class AllRecords(Records, ScansRecords, Protocol):
    """Records that are scanned, and changed."""


class Reviewed(NamedTuple):
    """What a review came to. `lateness` is None where the rules are not known; `errors` stopped nothing else."""

    records: int
    lateness: Lateness | None
    telling: Telling
    retired: Retired
    errors: tuple[PullaheadError, ...]
    complete: bool = True


class ReviewRecords:
    """The use case, with the ports that it looks through and acts on."""

    def __init__(
        self,
        rules: LoadsRules,
        standing: LoadsStanding,
        records: AllRecords,
        incidents: KeepsIncidents,
        tell: TellPeople,
        announcer: Announcer,
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
        may = rules is not None and complete and may_retire(rules, standing, heartbeat)
        leave = None
        if rules is not None and standing is not None and may:
            leave = find_leaving(_not_newly_cached(records, rules, standing, now), rules)
        telling = self._telling(records, self._conditions(heartbeat, standing, leave, now), now, remaining_seconds)
        retired = retire(leave, self._records, now, remaining_seconds) if leave is not None else Retired()
        if remaining_seconds() >= _ANNOUNCED_WITHIN:
            self._announce_leftovers(records)
        errors = (*errors, *telling.errors, *retired.errors, *self._announcer.take_failures())
        return Reviewed(len(records), lateness, telling, retired, errors, complete)

    def _known_rules(self) -> tuple[Rules | None, Standing | None, tuple[PullaheadError, ...]]:
        """The rules in force: what is to be told is told without them, too."""
        try:
            return self._rules(), self._standing.load(), ()
        except (ConfigError, StorageError) as error:
            return None, None, (error,)

    def _telling(
        self, records: list[Record], conditions: Conditions, now: datetime, remaining_seconds: Callable[[], float]
    ) -> Telling:
        try:
            return self._tell(records, conditions, now, remaining_seconds)
        except StorageError as error:  # how late mirrors are is measured all the same
            return Telling(errors=(error,))

    def _conditions(
        self, heartbeat: Heartbeat | None, standing: Standing | None, leave: Leaving | None, now: datetime
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

    def _broken(self, broken: Broken | None) -> Condition | None:
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
            if record.outbox:
                self._announcer.note(record, record)
        self._announcer.flush()


def _not_newly_cached(records: list[Record], rules: Rules, standing: Standing, now: datetime) -> list[Record]:
    """Leave out what ECR's cache has only just made known to us: the schedule has yet to find it, and to name it."""

    def is_new(record: Record) -> bool:
        known_since = record.past[0].since if record.past else record.since
        repository, _, tag = record.key.rpartition(":")
        return now - known_since < _FOUND_WITHIN and newly_cached(repository, tag, rules, standing.findings) is not None

    return [record for record in records if not is_new(record)]
