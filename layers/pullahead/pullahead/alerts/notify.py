"""Tell people what records have to tell: one message for an incident, whatever the number of its mirrors.

A message is sent, then its incident is remembered as told, then the alerts are taken out of the records. A crash after
the first step repeats a message; after the second one nothing is repeated, since the incident says what it has told.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.alerts.incidents import Condition, Incident, notify_condition, service_key
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
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import Record
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.rules.mirror_key import RecordKey

TURN = timedelta(minutes=10)
"""Longer than a review may run: who was killed in its turn lets the next one tell after that."""

_THREADS = 16  # as many connections as the client of DynamoDB keeps
_RESERVED_SECONDS = 20.0  # for what is under way when the time runs out, and for the answer

Conditions = Mapping[AlertKind, Condition | None]
"""What is the matter with Pullahead itself, by kind; None: nothing. What is left out is not known."""


class NotificationSummary(NamedTuple):
    """What was told, what waits, what was over before it was told, and what went wrong."""

    told: tuple[str, ...] = ()
    held_back: int = 0
    idle: int = 0
    errors: tuple[PullaheadError, ...] = ()


class NotificationSender:
    """The use case, with the ports that it tells by. `copies` get each message, too; one that fails stops nothing."""

    def __init__(
        self,
        records: RecordStore,
        incidents: IncidentStore,
        alerts: AlertPublisher,
        copies: AlertPublisher,
    ) -> None:
        self._records, self._incidents = records, incidents
        self._alerts, self._copies = alerts, copies

    def __call__(
        self,
        records: Sequence[Record],
        conditions: Conditions,
        now: datetime,
        remaining_seconds: Callable[[], float],
    ) -> NotificationSummary:
        """Tell what may be told now. Raises StorageError where incidents cannot be read; all else is in the answer."""
        keys = incidents_of(records) | {service_key(kind) for kind in conditions}
        incidents = self._incidents.load(keys)
        plan, news = _plan(records, conditions, incidents, now)
        sender = _Sender(self._incidents, self._alerts, self._copies, now)
        if plan.messages or news:
            if self._incidents.lock_sending(now, now + TURN):
                incidents = self._incidents.load(keys)  # somebody may have told it before this turn
                plan, news = _plan(records, conditions, incidents, now)
                sender.send(plan, incidents, news)
                sender.errors += self._unlock(now)
            else:
                plan = plan._replace(messages=())
        sender.errors += self._take_out([*plan.done, *sender.done], remaining_seconds)
        return NotificationSummary(tuple(sender.told), plan.held_back, plan.idle, tuple(sender.errors))

    def _unlock(self, now: datetime) -> list[PullaheadError]:
        """End the turn; where that fails it ends by itself, and what was told is taken out all the same."""
        try:
            self._incidents.unlock_sending(now)
        except PullaheadError as error:
            return [error]
        return []

    def _take_out(self, done: Iterable[Settled], remaining_seconds: Callable[[], float]) -> list[PullaheadError]:
        """Take out of records what is done with, as long as the time goes; the rest is done by the next review."""
        by_record: dict[RecordKey, list[Settled]] = {}
        for each in done:
            by_record.setdefault(each.record.key, []).append(each)

        def take_out(parts: Sequence[Settled]) -> PullaheadError | None:
            if remaining_seconds() < _RESERVED_SECONDS:
                return None
            record = parts[0].record
            alerts = [alert for part in parts for alert in part.alerts]
            told = [part.told for part in parts if part.told is not None]
            try:
                update_record(
                    self._records, record.key, lambda known: known and without_settled(known, alerts, told), record
                )
            except PullaheadError as error:
                return error
            return None

        if not by_record:
            return []
        with ThreadPoolExecutor(min(_THREADS, len(by_record))) as pool:
            return [error for error in pool.map(take_out, by_record.values()) if error is not None]


def _plan(
    records: Sequence[Record], conditions: Conditions, incidents: Mapping[str, Incident], now: datetime
) -> tuple[NotificationPlan, list[tuple[Notice, Incident]]]:
    news = [notify_condition(kind, each, incidents.get(service_key(kind)), now) for kind, each in conditions.items()]
    return plan_notifications(records, incidents, now), [each for each in news if each is not None]


class _Sender:
    """Sends messages, one after the other; one that fails is told by the next review, and stops no other."""

    def __init__(self, incidents: IncidentStore, alerts: AlertPublisher, copies: AlertPublisher, now: datetime) -> None:
        self._incidents, self._alerts, self._copies, self._now = incidents, alerts, copies, now
        self.told: list[str] = []
        self.done: list[Settled] = []
        self.errors: list[PullaheadError] = []

    def send(
        self, plan: NotificationPlan, incidents: Mapping[str, Incident], news: Iterable[tuple[Notice, Incident]]
    ) -> None:
        for notice, incident in news:
            self._send(notice, incident)
        latest: dict[str, Incident] = {}
        for message in plan.messages:
            key = message.notice.incident
            before = latest.get(key) or (incidents.get(key) or Incident(key)).with_marks(plan.marks.get(key, ()))
            after = _after(before, message)
            if self._send(message.notice, after):
                latest[key] = after
                self.done += message.done

    def _send(self, notice: Notice, incident: Incident) -> bool:
        """Send one message, and remember it; whether it is known to be told, so that it may be forgotten elsewhere."""
        try:
            self._alerts.publish(notice)
            self.told.append(subject_of(notice))
            self._incidents.save(incident, self._now)
        except PullaheadError as error:
            self.errors.append(error)
            return False
        try:
            self._copies.publish(notice)
        except PullaheadError as error:
            self.errors.append(error)
        return True


def _after(incident: Incident, message: Notification) -> Incident:
    return incident.after_telling(message.alerts, None if message.notice.is_over else message.notice.at)
