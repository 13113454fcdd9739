"""Sort out what records have to tell: what is told now and in which messages, what waits, what has become idle. Pure.

An alert that was over before it was told is told to nobody, but for an overwritten tag: that somebody pushes there is
news even where it was put right.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pullahead.alerts.incidents import AGAIN_AFTER, RECOVERED_AFTER, Incident, incident_key
from pullahead.alerts.text import SHOWN, Notice
from pullahead.mirrors.alert import Alert, AlertKind, SentAlert
from pullahead.mirrors.record import Record

MAX_MESSAGES = 20
"""Of one review; the others follow with the next ones, oldest first."""


class Settled(NamedTuple):
    """What is to be taken out of a record: alerts, and when they were told, if they were."""

    record: Record
    alerts: tuple[Alert, ...]
    told: SentAlert | None = None


class Notification(NamedTuple):
    """A message, and what is done with once it is sent."""

    notice: Notice
    done: tuple[Settled, ...]

    @property
    def alerts(self) -> list[Alert]:
        """Everything that it tells."""
        return [alert for done in self.done for alert in done.alerts]


class NotificationPlan(NamedTuple):
    """What is to be sent; what is done with whether or not anything is; how much waits, and how much was idle."""

    messages: tuple[Notification, ...]
    done: tuple[Settled, ...]
    marks: Mapping[str, set[str]]  # by incident: of alerts that were told and are still in their records
    held_back: int  # told within a day, or in an incident that was told too short a time ago
    idle: int  # over before it was told


def incidents_of(records: Iterable[Record]) -> set[str]:
    """Name the incidents that must be known to sort out what records have to tell."""
    keys = set()
    for record in records:
        for alert in record.pending:
            keys.add(incident_key(alert))
            if (told := record.last_told(alert.about)) is not None:
                keys.add(told.incident)
    return keys


def plan_notifications(records: Iterable[Record], incidents: Mapping[str, Incident], now: datetime) -> NotificationPlan:
    """Decide what is told, from every record: those that have nothing to tell may stand in an incident."""
    sorting = _Sorting(incidents, now)
    for record in records:
        sorting.add(record)
    messages = sorted(sorting.messages(), key=lambda message: min(done.alerts[0].at for done in message.done))
    return NotificationPlan(
        tuple(messages[:MAX_MESSAGES]), tuple(sorting.done), sorting.marks, sorting.held_back, sorting.idle
    )


def without_settled(record: Record, alerts: Iterable[Alert], told: Iterable[SentAlert]) -> Record:
    """Take out of a record what is done with, and remember what was told."""
    gone, news = set(alerts), {each.kind: each for each in told}
    kept = tuple(each for each in record.told if each.kind not in news)
    return record.with_changes(
        pending=tuple(alert for alert in record.pending if alert not in gone), told=(*kept, *news.values())
    )


class _PendingNotification(NamedTuple):
    """What one record has to tell of one kind of trouble, after what is idle was left out."""

    record: Record
    alert: Alert
    restored: Alert | None = None  # of DRIFT: it is over as well

    def done(self, incident: str, at: datetime) -> Settled:
        told = None if self.alert.kind is AlertKind.RECOVERED else SentAlert(self.alert.kind, incident, at)
        return Settled(self.record, (self.alert, *([self.restored] if self.restored else [])), told)


class _Sorting:
    """What was sorted out so far."""

    def __init__(self, incidents: Mapping[str, Incident], now: datetime) -> None:
        self._incidents, self._now = incidents, now
        self._begins: dict[str, list[_PendingNotification]] = defaultdict(list)
        self._ends: dict[str, list[_PendingNotification]] = defaultdict(list)
        self._standing: Counter[str] = Counter()  # by incident: mirrors of which people were told, and that stand
        self.done: list[Settled] = []
        self.marks: dict[str, set[str]] = defaultdict(set)
        self.held_back = self.idle = 0

    def add(self, record: Record) -> None:
        """Sort out what one record has to tell, or where it stands."""
        by_kind: dict[AlertKind, list[Alert]] = {kind: [] for kind in record.open_alerts}
        for alert in record.pending:
            by_kind.setdefault(alert.about, []).append(alert)
        for kind, alerts in by_kind.items():
            untold, told = self._take_told(record, kind, alerts)
            left = self._without_idle(record, untold)
            if left and left[0].kind is not AlertKind.RECOVERED:
                self._begin(record, left, told)
            elif left:
                self._ends[told.incident if told is not None else incident_key(left[0])].append(
                    _PendingNotification(record, left[0])
                )
            elif kind in record.open_alerts and told is not None:
                self._standing[told.incident] += 1

    def messages(self) -> Iterable[Notification]:
        """Make the messages that may be sent now."""
        for key, owed in self._begins.items():
            if self._incident(key).may_tell_more(owed[0].alert.kind, self._now):
                stand = sum(each.alert.kind in each.record.open_alerts for each in owed)
                yield self._message(key, owed, self._standing[key] + stand)
            else:
                self.held_back += len(owed)
        for key, owed in self._ends.items():
            first = min(each.alert.at for each in owed)
            if not self._standing[key] or self._now - first >= RECOVERED_AFTER:
                yield self._message(key, owed, self._standing[key])

    def _take_told(
        self, record: Record, kind: AlertKind, alerts: Iterable[Alert]
    ) -> tuple[list[Alert], SentAlert | None]:
        """Note what was told though the record does not say so yet; answer what was not, and when the kind last was."""
        untold, last = [], record.last_told(kind)
        for alert in alerts:
            is_end = alert.kind is AlertKind.RECOVERED
            # What is over is told in the incident in which it began.
            key = last.incident if is_end and last is not None else incident_key(alert)
            if not self._incident(key).has_told(alert):
                untold.append(alert)
                continue
            self.marks[key].add(alert.mark)
            news = None if is_end else SentAlert(kind, key, self._incident(key).told_at or self._now)
            last = news or last
            self.done.append(Settled(record, (alert,), news))
        return untold, last

    def _without_idle(self, record: Record, alerts: Iterable[Alert]) -> list[Alert]:
        """Leave out pairs of which one takes the other back."""
        left: list[Alert] = []
        for alert in alerts:
            is_pair = bool(left) and (left[-1].kind is AlertKind.RECOVERED) != (alert.kind is AlertKind.RECOVERED)
            if is_pair and left[-1].kind is not AlertKind.DRIFT:
                self._drop(record, left.pop(), alert)
            else:
                left.append(alert)
        return left

    def _begin(self, record: Record, alerts: Sequence[Alert], told: SentAlert | None) -> None:
        owed = _PendingNotification(record, alerts[0], alerts[1] if len(alerts) > 1 else None)
        if told is None or self._now - told.at >= AGAIN_AFTER:
            self._begins[incident_key(owed.alert)].append(owed)
        elif owed.restored is not None:
            self._drop(record, owed.alert, owed.restored)
        else:
            self.held_back += 1

    def _drop(self, record: Record, *alerts: Alert) -> None:
        self.done.append(Settled(record, alerts))
        self.idle += 1

    def _message(self, key: str, owed: Sequence[_PendingNotification], standing: int) -> Notification:
        first = sorted(owed, key=lambda each: (each.alert.since, str(each.alert.mirror)))
        alert = first[0].alert
        notice = Notice(
            alert.kind,
            alert.about,
            key,
            tuple(each.alert for each in first[:SHOWN]),
            len(owed),
            standing,
            self._now,
            restored=all(each.restored for each in owed),
        )
        return Notification(notice, tuple(each.done(key, self._now) for each in first))

    def _incident(self, key: str) -> Incident:
        return self._incidents.get(key) or Incident(key)
