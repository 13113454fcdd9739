"""Group pending alerts into notifications: which to send now, which to hold back, which to drop.

An alert that is over before it was sent is dropped, except for an overwritten tag: that somebody pushes there is news
even if the tag is restored.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pullahead.alerts.incidents import RECOVERY_DELAY, REPEAT_INTERVAL, Incident, incident_key
from pullahead.alerts.text import MAX_NAMED, Notice
from pullahead.mirrors.alert import Alert, AlertKind, SentAlert
from pullahead.mirrors.record import MirrorRecord, Record

MAX_MESSAGES = 20
"""Of one review; the others follow with the next ones, oldest first."""


class Settled(NamedTuple):
    """Alerts that are to be removed from a record; `sent`: what to note there if they were sent."""

    record: Record
    alerts: tuple[Alert, ...]
    sent: SentAlert | None = None


class Notification(NamedTuple):
    """A message, and what is settled once it is sent."""

    notice: Notice
    settled: tuple[Settled, ...]

    @property
    def alerts(self) -> list[Alert]:
        """Every alert that it reports."""
        return [alert for settled in self.settled for alert in settled.alerts]


class NotificationPlan(NamedTuple):
    """The messages to send, the alerts that were sent before, and pairs of alerts that are over before they were sent.

    Only who has the lock may drop a pair: another process may be sending its first alert.
    """

    messages: tuple[Notification, ...]
    settled: tuple[Settled, ...]
    dropped: tuple[Settled, ...]
    marks: Mapping[str, set[str]]  # by incident: of alerts that were sent but are still in their records
    held_back: int  # reported within a day, or in an incident that was reported too recently
    too_many: int = 0  # messages that one review does not send


def incidents_of(records: Iterable[Record]) -> set[str]:
    """Name the incidents that a plan for these records needs to know."""
    keys = set()
    for record in records:
        for alert in record.pending:
            keys.add(incident_key(alert))
            if (sent := record.last_told(alert.about)) is not None:
                keys.add(sent.incident)
    return keys


def open_incidents(record: Record) -> list[str]:
    """Name the incidents in which a record without pending alerts is open."""
    sent = (record.last_told(kind) for kind in record.open_alerts)
    return [each.incident for each in sent if each is not None]


def plan_notifications(
    records: Iterable[Record], incidents: Mapping[str, Incident], now: datetime, others_open: Mapping[str, int]
) -> NotificationPlan:
    """Plan the notifications. `others_open`: how many records besides these are open in each incident."""
    planner = _Planner(incidents, now, others_open)
    for record in records:
        planner.add(record)
    messages = sorted(planner.messages(), key=lambda message: min(each.alerts[0].at for each in message.settled))
    return NotificationPlan(
        tuple(messages[:MAX_MESSAGES]),
        tuple(planner.settled),
        tuple(planner.dropped),
        planner.marks,
        planner.held_back,
        max(0, len(messages) - MAX_MESSAGES),
    )


def without_settled(record: Record, settled: Iterable[Settled], dropped: Iterable[Settled]) -> Record:
    """Remove settled alerts from a record, and note what was sent.

    A pair is dropped only as a whole: if its first alert is gone, somebody has sent it, and the second is news.
    """
    told = list(settled)
    pairs = [pair for pair in dropped if set(pair.alerts) <= set(record.pending)]
    gone = {alert for each in (*told, *pairs) for alert in each.alerts}
    news = {each.sent.kind: each.sent for each in told if each.sent is not None}
    kept = tuple(each for each in record.told if each.kind not in news)
    return record.with_changes(
        pending=tuple(alert for alert in record.pending if alert not in gone), told=(*kept, *news.values())
    )


class _PendingNotification(NamedTuple):
    """What one record has to report of one kind of trouble."""

    record: Record
    alert: Alert
    restored: Alert | None = None  # of DRIFT: it is over as well

    def settled(self, incident: str, at: datetime) -> Settled:
        at = max(at, self.alert.at)  # clocks differ
        sent = None if self.alert.kind is AlertKind.RECOVERED else SentAlert(self.alert.kind, incident, at)
        return Settled(self.record, (self.alert, *([self.restored] if self.restored else [])), sent)


class _Planner:
    """Collects records one by one, then makes the messages."""

    def __init__(self, incidents: Mapping[str, Incident], now: datetime, others_open: Mapping[str, int]) -> None:
        self._incidents, self._now = incidents, now
        self._begins: dict[str, list[_PendingNotification]] = defaultdict(list)
        self._ends: dict[str, list[_PendingNotification]] = defaultdict(list)
        self._open = Counter(others_open)  # by incident: mirrors that were reported and are not over
        self.settled: list[Settled] = []
        self.dropped: list[Settled] = []
        self.marks: dict[str, set[str]] = defaultdict(set)
        self.held_back = 0

    def add(self, record: Record) -> None:
        """Add what one record has to report, or count it as open."""
        by_kind: dict[AlertKind, list[Alert]] = {kind: [] for kind in record.open_alerts}
        for alert in record.pending:
            by_kind.setdefault(alert.about, []).append(alert)
        for kind, alerts in by_kind.items():
            unsent, sent = self._settle_sent(record, kind, alerts)
            left = self._without_pairs(record, unsent)
            if left and left[0].kind is not AlertKind.RECOVERED:
                self._begin(record, left, sent)
            elif left:
                key = sent.incident if sent is not None else incident_key(left[0])
                self._ends[key].append(_PendingNotification(record, left[0]))
            elif kind in record.open_alerts and sent is not None:
                self._open[sent.incident] += 1

    def messages(self) -> Iterable[Notification]:
        """Make the messages that may be sent now."""
        for key, pending in self._begins.items():
            if self._incident(key).may_report_more(pending[0].alert.kind, self._now):
                still_open = sum(each.alert.kind in each.record.open_alerts for each in pending)
                yield self._message(key, pending, self._open[key] + still_open)
            else:
                self.held_back += len(pending)
        for key, pending in self._ends.items():
            first = min(each.alert.at for each in pending)
            if not self._open[key] or self._now - first >= RECOVERY_DELAY:
                yield self._message(key, pending, self._open[key])

    def _settle_sent(
        self, record: Record, kind: AlertKind, alerts: Iterable[Alert]
    ) -> tuple[list[Alert], SentAlert | None]:
        """Settle alerts that were sent though their record does not say so. Return the others, and the last sent."""
        unsent, last = [], record.last_told(kind)
        for alert in alerts:
            is_end = alert.kind is AlertKind.RECOVERED
            # A recovery is reported in the incident in which the trouble was.
            key = last.incident if is_end and last is not None else incident_key(alert)
            if not self._was_sent(alert, key, last):
                unsent.append(alert)
                continue
            self.marks[key].add(alert.mark)
            told_at = self._incident(key).told_at  # before the alert, or never, if it was dropped rather than sent
            news = None if is_end or told_at is None or told_at < alert.at else SentAlert(kind, key, told_at)
            last = news or last
            self.settled.append(Settled(record, (alert,), news))
        return unsent, last

    def _was_sent(self, alert: Alert, key: str, last: SentAlert | None) -> bool:
        """Whether an alert was sent. A time until which all were sent is not that of one that was held back then, as
        its mirror had been reported a short time before."""
        incident = self._incident(key)
        if not incident.has_sent(alert) or alert.mark in incident.marks or alert.kind is AlertKind.RECOVERED:
            return incident.has_sent(alert)
        return last is None or incident.told_at is None or incident.told_at - last.at >= REPEAT_INTERVAL

    def _without_pairs(self, record: Record, alerts: Iterable[Alert]) -> list[Alert]:
        """Drop an alert together with the next one where that one takes it back."""
        left: list[Alert] = []
        for alert in alerts:
            is_pair = bool(left) and (left[-1].kind is AlertKind.RECOVERED) != (alert.kind is AlertKind.RECOVERED)
            if is_pair and left[-1].kind is not AlertKind.DRIFT:
                self._drop(record, left.pop(), alert)
            else:
                left.append(alert)
        return left

    def _begin(self, record: Record, alerts: Sequence[Alert], sent: SentAlert | None) -> None:
        pending = _PendingNotification(record, alerts[0], alerts[1] if len(alerts) > 1 else None)
        if sent is None or self._now - sent.at >= REPEAT_INTERVAL:
            self._begins[incident_key(pending.alert)].append(pending)
        elif pending.restored is not None:
            self._drop(record, pending.alert, pending.restored)
        else:
            self.held_back += 1

    def _drop(self, record: Record, *alerts: Alert) -> None:
        self.dropped.append(Settled(record, alerts))

    def _message(self, key: str, pending: Sequence[_PendingNotification], still_open: int) -> Notification:
        ordered = sorted(pending, key=lambda each: (each.alert.since, str(each.alert.mirror)))
        alert = ordered[0].alert
        notice = Notice(
            alert.kind,
            alert.about,
            key,
            tuple(each.alert for each in ordered[:MAX_NAMED]),
            len(ordered),
            still_open,
            self._now,
            restored=all(each.restored for each in ordered),
            **_counts(ordered),
        )
        return Notification(notice, tuple(each.settled(key, self._now) for each in ordered))

    def _incident(self, key: str) -> Incident:
        return self._incidents.get(key) or Incident(key)


def _counts(pending: Sequence[_PendingNotification]) -> dict[str, int]:
    """Count the rules among the subjects of a message, and how many mirrors ECR has a copy of."""
    mirrors = [each.record for each in pending if isinstance(each.record, MirrorRecord)]
    copied = sum(mirror.published_digest is not None for mirror in mirrors)
    return {"rules": len(pending) - len(mirrors), "copied": copied, "uncopied": len(mirrors) - copied}
