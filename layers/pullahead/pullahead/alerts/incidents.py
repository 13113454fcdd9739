"""Incidents: which alerts make one message, and when the next message may be sent.

An incident is trouble of one kind, at one upstream registry, with one cause. It notes when it was last reported and,
until they are removed from their records, which alerts were: so a crash repeats none of them.

Trouble of Pullahead itself is a condition: its rules are broken, or checks have stopped. A condition is reported once
when it begins and once when it is over; the same condition not again within a day.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec import structs

from pullahead.alerts.text import Notice
from pullahead.clock import Moment
from pullahead.errors import DeferredError, RateLimitedError, RegistryTimeoutError, RegistryUnavailableError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.rules.mirror_key import Subject

REPEAT_INTERVAL = timedelta(hours=24)
"""How long trouble of one kind with one mirror is not reported again."""
RECOVERY_DELAY = timedelta(hours=1)
"""How long the report of a recovery waits for the other mirrors of the incident to recover."""
MORE_INTERVAL = timedelta(hours=1)
"""How long after an incident was reported its further mirrors are reported, all together."""
INCIDENT_LIFETIME = timedelta(days=30)
MAX_MARKS = 20_000
"""Of 12 characters each: a DynamoDB item holds at most 400 KB (DynamoDB quotas). Of more alerts, a time is noted."""

_HOST_WIDE = frozenset({AlertKind.UPSTREAM_UNREACHABLE, AlertKind.RATE_LIMITED})
"""Trouble of an upstream rather than of tags: that it affects more tags is hardly news."""

_ONE_CAUSE = {
    RegistryTimeoutError.__name__: RegistryUnavailableError.__name__,  # the same outage, seen from two requests
    DeferredError.__name__: RateLimitedError.__name__,
}


class Incident(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is stored of one incident."""

    key: str
    told_at: Moment | None = None  # when a message last reported that something began
    marks: frozenset[str] = frozenset()  # of alerts that were sent and may still be in their records
    since: Moment | None = None  # of a condition: since when it holds
    standing: str = ""  # of a condition: what was reported and is not over
    last: str = ""  # of a condition: what was last reported, whether or not it is over
    begun_until: datetime | None = None  # where there were too many to mark: all that began until then were sent
    ended_until: datetime | None = None  # the same of recoveries

    def may_report_more(self, kind: AlertKind, now: datetime) -> bool:
        """Whether the incident may be reported, anew or of more mirrors."""
        interval = REPEAT_INTERVAL if kind in _HOST_WIDE else MORE_INTERVAL
        return self.told_at is None or now - self.told_at >= interval

    def has_sent(self, alert: Alert) -> bool:
        """Whether an alert that is still in its record was sent."""
        until = self.ended_until if alert.kind is AlertKind.RECOVERED else self.begun_until
        return alert.mark in self.marks or (until is not None and alert.at <= until)

    def with_sent(self, alerts: Iterable[Alert], began_at: datetime | None) -> "Incident":
        """Note that alerts were sent; `began_at` is given if they reported that something began."""
        told_at, sent = began_at or self.told_at, list(alerts)
        marks = self.marks.union(alert.mark for alert in sent)
        if len(marks) <= MAX_MARKS:
            return msgspec.structs.replace(self, told_at=told_at, marks=marks)
        begun = [alert.at for alert in sent if alert.kind is not AlertKind.RECOVERED]
        ended = [alert.at for alert in sent if alert.kind is AlertKind.RECOVERED]
        return msgspec.structs.replace(
            self,
            told_at=told_at,
            begun_until=max(begun, default=self.begun_until),
            ended_until=max(ended, default=self.ended_until),
        )

    def with_marks(self, marks: Iterable[str]) -> "Incident":
        """Keep only the marks of alerts that are still in a record."""
        return msgspec.structs.replace(self, marks=frozenset(marks))


def incident_key(alert: Alert) -> str:
    """Identify the incident that an alert belongs to."""
    error = _ONE_CAUSE.get(alert.error_kind, alert.error_kind)
    return "#".join((alert.about.value, alert.host, error))


def service_key(kind: AlertKind) -> str:
    """Identify the incident of a kind that is about Pullahead itself."""
    return f"{kind.value}##"


_CHANGE_INTERVAL = timedelta(hours=1)
"""Another problem in the rules is news; but whoever fixes them need not hear of every attempt."""

_UNREADABLE = "unreadable"
_OVER_SUBJECTS = {AlertKind.NOT_CHECKED: "mirrors", AlertKind.RULES_SKIPPED: "all rules"}


class ServiceSubject(Subject):
    """A part of Pullahead itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class Condition(NamedTuple):
    """Trouble of Pullahead itself. `identity` distinguishes two of the same kind."""

    subject: str
    since: datetime
    detail: str
    identity: str


def broken_rules(address: str, since: datetime, detail: str, *, unreadable: bool) -> Condition:
    """Describe a rules file that cannot be used."""
    # The text of a failed read may differ each time; a broken version is identified by its problems.
    identity = _UNREADABLE if unreadable else _identity(detail)
    return Condition(f"rules {address}", since, detail, identity)


def missing_checks(
    last_checks: datetime | None, watched_since: datetime, limit: timedelta, now: datetime
) -> Condition | None:
    """Describe that no checks were sent for too long, or never since the reviews began."""
    since = last_checks or watched_since
    if now - since < limit:
        return None
    what = "no checks have been sent since then" if last_checks is not None else "no checks were ever sent"
    return Condition("mirrors", since, what, "silence")


def empty_rules(mirrors: int, now: datetime) -> Condition:
    """Describe rules that match no mirror that has a record."""
    return Condition("the rules", now, f"{mirrors} mirrors have records; the rules match none of them", "empty")


def skipped_rules(notices: Sequence[str], now: datetime) -> Condition:
    """Describe rules that are skipped, since Pullahead may not pull from their upstreams."""
    detail = "\n".join(notice.replace(". ", ".\n") for notice in notices)  # a line for each sentence
    return Condition("some rules", now, detail, _identity(detail))


def notify_condition(
    kind: AlertKind, condition: Condition | None, known: Incident | None, now: datetime
) -> tuple[Notice, Incident] | None:
    """Make the message that a condition holds, or is over, and the incident to store then; None: no news."""
    incident = known or Incident(service_key(kind))
    if condition is None:
        return _over(kind, incident, now) if incident.standing else None
    if not _is_news(condition, incident, now):
        return None
    alert = Alert(kind, ServiceSubject(condition.subject), "", condition.since, now, condition.detail)
    reported = structs.replace(
        incident, told_at=now, since=condition.since, standing=condition.identity, last=condition.identity
    )
    return Notice(kind, kind, incident.key, (alert,), 1, 1, now), reported


def _identity(detail: str) -> str:
    return hashlib.sha256(detail.encode()).hexdigest()[:12]


def _is_news(condition: Condition, incident: Incident, now: datetime) -> bool:
    if incident.told_at is None:
        return True
    ago = now - incident.told_at
    if incident.standing:
        return condition.identity != incident.standing and ago >= _CHANGE_INTERVAL
    return condition.identity != incident.last or ago >= REPEAT_INTERVAL


def _over(kind: AlertKind, incident: Incident, now: datetime) -> tuple[Notice, Incident]:
    subject = _OVER_SUBJECTS.get(kind, "the rules")
    alert = Alert(AlertKind.RECOVERED, ServiceSubject(subject), "", incident.since or now, now, of=kind)
    return Notice(alert.kind, kind, incident.key, (alert,), 1, 0, now), structs.replace(incident, standing="")
