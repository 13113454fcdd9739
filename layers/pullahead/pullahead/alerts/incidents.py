"""What belongs together in one message, and when people may hear of it again. Pure.

An incident is trouble of one kind, at one upstream registry, for one cause. It is remembered when it was last told and,
until they are known to be taken out of their records, which alerts were: so a crash repeats none of them.

What is the matter with Pullahead itself, of which no mirror has a record: its rules, and checks that stopped. Pure.

Told once when it begins and once when it is over; the same is not told again within a day.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec import structs

from pullahead.alerts.text import Notice
from pullahead.errors import DeferredError, RateLimitedError, RegistryTimeoutError, RegistryUnavailableError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.rules.mirror_key import Subject

AGAIN_AFTER = timedelta(hours=24)
"""So long nothing is said twice: of one mirror, of one kind."""
RECOVERED_AFTER = timedelta(hours=1)
"""So long it is awaited that the others recover, too."""
REMEMBERED_FOR = timedelta(days=30)
MAX_MARKS = 20_000
"""Of 12 characters each: an item of DynamoDB holds 400 KB at most (DynamoDB quotas)."""

_MORE_AFTER = timedelta(hours=1)
_HOST_WIDE = frozenset({AlertKind.UPSTREAM_UNREACHABLE, AlertKind.RATE_LIMITED})
"""Trouble of an upstream rather than of tags: that it has reached others is hardly news."""

_ONE_CAUSE = {
    RegistryTimeoutError.__name__: RegistryUnavailableError.__name__,  # the same outage, seen from two requests
    DeferredError.__name__: RateLimitedError.__name__,
}


class Incident(msgspec.Struct, frozen=True):
    """What is remembered of one incident."""

    key: str
    told_at: datetime | None = None  # the last message that something began
    marks: frozenset[str] = frozenset()  # of alerts that were told and may still be in their records
    since: datetime | None = None  # of what is no mirror's: since when it is the case
    standing: str = ""  # of what is no mirror's: what was told and stands
    last: str = ""  # and what was last told, whether it stands or not

    def may_tell_more(self, kind: AlertKind, now: datetime) -> bool:
        """Whether the incident may be told, anew or of more mirrors."""
        rhythm = AGAIN_AFTER if kind in _HOST_WIDE else _MORE_AFTER
        return self.told_at is None or now - self.told_at >= rhythm

    def has_told(self, alert: Alert) -> bool:
        """Whether an alert that is still in its record was told."""
        return alert.mark in self.marks

    def after_telling(self, alerts: Iterable[Alert], began_at: datetime | None) -> "Incident":
        """Remember that alerts were told; `began_at` is given where they said that something began."""
        marks = dict.fromkeys([*(alert.mark for alert in alerts), *self.marks])
        kept = frozenset(list(marks)[:MAX_MARKS])
        return msgspec.structs.replace(self, told_at=began_at or self.told_at, marks=kept)

    def with_marks(self, marks: Iterable[str]) -> "Incident":
        """Forget the marks of alerts that are no longer in any record."""
        return msgspec.structs.replace(self, marks=frozenset(marks))


def incident_key(alert: Alert) -> str:
    """Identify the incident that an alert belongs to."""
    error = _ONE_CAUSE.get(alert.error_kind, alert.error_kind)
    return "#".join((alert.about.value, alert.host, error))


def service_key(kind: AlertKind) -> str:
    """Identify the incident of a kind that is about Pullahead itself."""
    return f"{kind.value}##"


_OTHER_AFTER = timedelta(hours=1)
"""Another mistake in the rules is no repetition; but whoever mends them is not to be told of every try."""

_UNREADABLE = "unreadable"


class ServiceSubject(Subject):
    """A part of Pullahead itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class Condition(NamedTuple):
    """What is the case. `identity` tells one thing from another of the same kind."""

    subject: str
    since: datetime
    detail: str
    identity: str


def broken_rules(address: str, since: datetime, detail: str, *, unreadable: bool) -> Condition:
    """Say what is the matter with the rules file that people keep."""
    # How reading fails may be put in other words each time; a broken version is told by its mistakes.
    identity = _UNREADABLE if unreadable else hashlib.sha256(detail.encode()).hexdigest()[:12]
    return Condition(f"rules {address}", since, detail, identity)


def silence(last_checks: datetime | None, watched_since: datetime, limit: timedelta, now: datetime) -> Condition | None:
    """Say that no checks were sent for too long, or none at all since somebody watches."""
    since = last_checks or watched_since
    if now - since < limit:
        return None
    what = "the last checks were sent then" if last_checks is not None else "no checks were ever sent"
    return Condition("mirrors", since, what, "silence")


def empty_rules(mirrors: int, now: datetime) -> Condition:
    """Say that rules follow nothing of what they followed before."""
    return Condition("the rules", now, f"none of the {mirrors} mirrors that Pullahead knows is followed", "empty")


def notify_condition(
    kind: AlertKind, condition: Condition | None, known: Incident | None, now: datetime
) -> tuple[Notice, Incident] | None:
    """Decide whether people are told of what is the case, or no longer is; and what is remembered then."""
    incident = known or Incident(service_key(kind))
    if condition is None:
        return _over(kind, incident, now) if incident.standing else None
    if not _is_news(condition, incident, now):
        return None
    alert = Alert(kind, ServiceSubject(condition.subject), "", condition.since, now, condition.detail)
    told = structs.replace(
        incident, told_at=now, since=condition.since, standing=condition.identity, last=condition.identity
    )
    return Notice(kind, kind, incident.key, (alert,), 1, 1, now), told


def _is_news(condition: Condition, incident: Incident, now: datetime) -> bool:
    if incident.told_at is None:
        return True
    ago = now - incident.told_at
    if incident.standing:
        return condition.identity != incident.standing and ago >= _OTHER_AFTER
    return condition.identity != incident.last or ago >= AGAIN_AFTER


def _over(kind: AlertKind, incident: Incident, now: datetime) -> tuple[Notice, Incident]:
    subject = "mirrors" if kind is AlertKind.NOT_CHECKED else "the rules"
    alert = Alert(AlertKind.RECOVERED, ServiceSubject(subject), "", incident.since or now, now, of=kind)
    return Notice(alert.kind, kind, incident.key, (alert,), 1, 0, now), structs.replace(incident, standing="")
