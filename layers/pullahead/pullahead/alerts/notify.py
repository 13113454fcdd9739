"""Send alerts: one message for an incident, however many mirrors it affects.

A message is published, then its incident is stored as reported, then its alerts are removed from their records. A crash
after the first step repeats the message; a later one repeats nothing, since the incident lists what was sent.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from pullahead.alerts.incidents import MAX_MARKS, Condition, Incident, incident_key, notify_condition, service_key
from pullahead.alerts.plan import (
    Notification,
    NotificationPlan,
    Settled,
    incidents_of,
    plan_notifications,
    without_settled,
)
from pullahead.alerts.ports import AlertPublisher, IncidentStore
from pullahead.alerts.text import Notice, subject_of
from pullahead.errors import PullaheadError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import Record
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.mirrors.stored_form import newer_of
from pullahead.rules.mirror_key import MirrorKey, RecordKey

LOCK_LIFETIME = timedelta(minutes=10)
"""Longer than a review may run: after one that was killed, the next one sends again then."""

_THREADS = 16  # as many connections as the DynamoDB client keeps
_AT_ONCE = 100  # records that one request reads
_RESERVED_SECONDS = 200.0  # of the 300 of the function: with what follows it takes half; the next review removes more
LEAST_RECORDS = 5_000  # that each review takes, however slow AWS is: so 100,000 take twenty reviews at most
_LAST_SECONDS = 60.0  # for what follows, even then

_NONE_OPEN: Mapping[str, int] = MappingProxyType({})

Conditions = Mapping[AlertKind, Condition | None]
"""Trouble of Pullahead itself, by kind; None: there is none. Kinds that are left out are not known."""


class NotificationSummary(NamedTuple):
    """The subjects of the messages sent, how many alerts were held back or dropped, and what failed.

    `left`: how many records still have alerts that were sent, or are over, as there was no time, or no room in their
    incident, to remove them. `too_many`: how many messages the next reviews send.
    """

    sent: tuple[str, ...] = ()
    held_back: int = 0
    dropped: int = 0
    errors: tuple[PullaheadError, ...] = ()
    left: int = 0
    too_many: int = 0


class NotificationSender:
    """Sends what records have pending. Each message also goes to `copies`; one that fails there stops nothing.

    An incident that only a newer version can read is left as it is. Alerts of mirrors are sent all the same, since the
    records note what was sent; trouble of Pullahead itself is not, since the incident alone says whether it was sent.
    """

    def __init__(
        self,
        records: RecordStore,
        incidents: IncidentStore,
        alerts: AlertPublisher,
        copies: AlertPublisher,
        *,
        least_records: int = LEAST_RECORDS,
    ) -> None:
        self._records, self._incidents, self._least_records = records, incidents, least_records
        self._alerts, self._copies = alerts, copies

    def __call__(
        self,
        records: Sequence[Record],
        conditions: Conditions,
        now: datetime,
        remaining_seconds: Callable[[], float],
        others_open: Mapping[str, int] = _NONE_OPEN,
    ) -> NotificationSummary:
        """Send what may be sent now. Raises StorageError if incidents cannot be read; other errors are returned.

        `records`: those with pending alerts; what else is in them does not matter. `others_open`: how many other
        records are open in each incident.
        """
        keys = incidents_of(records) | {service_key(kind) for kind in conditions}
        incidents = self._incidents.load(keys)
        plan, news = _plan(records, others_open, conditions, incidents, now)
        sender = _Sender(self._incidents, self._alerts, self._copies, now)
        if plan.messages or plan.dropped or news:
            if self._incidents.lock_sending(now, now + LOCK_LIFETIME):
                incidents = self._incidents.load(keys)  # another process may have sent it before we had the lock
                plan, news = _plan(records, others_open, conditions, incidents, now)
                sender.send(plan, incidents, news)
                sender.errors += self._unlock(now)
            else:
                plan = plan._replace(messages=(), dropped=())
        errors, left = self._remove([*plan.settled, *sender.settled], sender.dropped, remaining_seconds)
        errors = [*sender.errors, *errors]
        left += len(plan.dropped) - len(sender.dropped)
        counts = plan.held_back, len(sender.dropped)
        return NotificationSummary(tuple(sender.sent), *counts, tuple(errors), left, plan.too_many)

    def _unlock(self, now: datetime) -> list[PullaheadError]:
        """Release the lock; if that fails it expires, and what was sent is removed from the records all the same."""
        try:
            self._incidents.unlock_sending(now)
        except PullaheadError as error:
            return [error]
        return []

    def _remove(
        self, settled: Iterable[Settled], dropped: Iterable[Settled], remaining_seconds: Callable[[], float]
    ) -> tuple[list[PullaheadError], int]:
        """Remove alerts from their records while there is time; return what failed, and how many records are left to
        the next review."""
        by_record: dict[RecordKey, tuple[Record, list[Settled], list[Settled]]] = {}
        for number, parts in enumerate((settled, dropped), 1):
            for each in parts:
                of_record = by_record.setdefault(each.record.key, (each.record, [], []))
                of_record[number].append(each)  # type: ignore[union-attr]

        known: Mapping[MirrorKey, Record] = {}
        reserved, begun = _LAST_SECONDS, 0
        left = list[RecordKey]()

        def remove(of_record: tuple[Record, Sequence[Settled], Sequence[Settled]]) -> PullaheadError | None:
            if remaining_seconds() < reserved:
                left.append(of_record[0].key)
                return None
            record, told, pairs = of_record
            before = known.get(record.key) if isinstance(record.key, MirrorKey) else None
            try:
                update_record(
                    self._records,
                    record.key,
                    lambda stored: stored and without_settled(stored, told, pairs),
                    before,
                )
            except PullaheadError as error:
                return error
            return None

        if not by_record:
            return [], 0
        to_do, errors = iter(by_record.values()), list[PullaheadError]()
        with ThreadPoolExecutor(min(_THREADS, len(by_record))) as pool:
            while (some := list(islice(to_do, _AT_ONCE))) and remaining_seconds() >= reserved:
                known = self._read([record.key for record, _, _ in some])
                errors += filter(None, pool.map(remove, some))
                begun += len(some)
                reserved = _LAST_SECONDS if begun < self._least_records else _RESERVED_SECONDS
        return errors, len(by_record) - begun + len(left)

    def _read(self, keys: Iterable[RecordKey]) -> Mapping[MirrorKey, Record]:
        """Read the records of mirrors as they are now; where that fails, each is read by itself."""
        try:
            return self._records.load([key for key in keys if isinstance(key, MirrorKey)])
        except PullaheadError:
            return {}


def _plan(
    records: Sequence[Record],
    others_open: Mapping[str, int],
    conditions: Conditions,
    incidents: Mapping[str, Incident],
    now: datetime,
) -> tuple[NotificationPlan, list[tuple[Notice, Incident]]]:
    newer = newer_of(incidents)
    news = [
        notify_condition(kind, each, incidents.get(service_key(kind)), now)
        for kind, each in conditions.items()
        if service_key(kind) not in newer
    ]
    return plan_notifications(records, incidents, now, others_open), [each for each in news if each is not None]


class _Sender:
    """Sends messages one after the other; one that fails stops no other, and the next review sends it."""

    def __init__(self, incidents: IncidentStore, alerts: AlertPublisher, copies: AlertPublisher, now: datetime) -> None:
        self._incidents, self._alerts, self._copies, self._now = incidents, alerts, copies, now
        self._newer: frozenset[str] = frozenset()
        self.sent: list[str] = []
        self.settled: list[Settled] = []
        self.dropped: list[Settled] = []
        self.errors: list[PullaheadError] = []

    def send(
        self, plan: NotificationPlan, incidents: Mapping[str, Incident], news: Iterable[tuple[Notice, Incident]]
    ) -> None:
        self._newer = newer_of(incidents)
        for notice, incident in news:
            self._send(notice, incident)
        latest: dict[str, Incident] = {}
        for message in plan.messages:
            key = message.notice.incident
            before = latest.get(key) or _without_old_marks(key, plan, incidents)
            after = _after(before, message)
            if self._send(message.notice, after):
                latest[key] = after
                self.settled += message.settled
        self._drop(plan, incidents, latest)

    def _drop(self, plan: NotificationPlan, incidents: Mapping[str, Incident], latest: Mapping[str, Incident]) -> None:
        """Note what is dropped: a review that began earlier and knows the first alert of a pair only sends it not.

        What has no room in its incident is dropped by the next reviews: of these alerts no time can be noted until
        which all are done, since others that began earlier are held back.
        """
        noted: dict[str, Incident] = {}
        marks: dict[str, set[str]] = {}
        alerts: dict[str, list[Alert]] = defaultdict(list)
        dropped: list[tuple[Settled, frozenset[str]]] = []
        for pair in plan.dropped:
            keys = frozenset(map(incident_key, pair.alerts)) - self._newer
            for key in keys - noted.keys():
                noted[key] = latest.get(key) or _without_old_marks(key, plan, incidents)
                marks[key] = set(noted[key].marks)
            if all(len(marks[key]) + len(pair.alerts) <= MAX_MARKS for key in keys):
                dropped.append((pair, keys))
                for alert in pair.alerts:
                    if (key := incident_key(alert)) in keys:
                        marks[key].add(alert.mark)
                        alerts[key].append(alert)
        failed = {key for key, some in alerts.items() if not self._save(noted[key].with_sent(some, None))}
        self.dropped += [pair for pair, keys in dropped if not keys & failed]

    def _save(self, incident: Incident) -> bool:
        try:
            self._incidents.save(incident, self._now)
        except PullaheadError as error:
            self.errors.append(error)
            return False
        return True

    def _send(self, notice: Notice, incident: Incident) -> bool:
        """Send one message and store its incident; return whether both succeeded, so that its alerts are settled."""
        try:
            self._alerts.publish(notice)
            self.sent.append(subject_of(notice))
            if incident.key not in self._newer:
                self._incidents.save(incident, self._now)
        except PullaheadError as error:
            self.errors.append(error)
            return False
        try:
            self._copies.publish(notice)
        except PullaheadError as error:
            self.errors.append(error)
        return True


def _without_old_marks(key: str, plan: NotificationPlan, incidents: Mapping[str, Incident]) -> Incident:
    return (incidents.get(key) or Incident(key)).with_marks(plan.marks.get(key, ()))


def _after(incident: Incident, message: Notification) -> Incident:
    return incident.with_sent(message.alerts, None if message.notice.is_over else message.notice.at)
