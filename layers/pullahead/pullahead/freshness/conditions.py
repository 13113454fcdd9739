"""What is the matter with Pullahead itself, of which no mirror has a record: its rules, and checks that stopped. Pure.

Told once when it begins and once when it is over; the same is not told again within a day.
"""

import hashlib
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import structs

from pullahead.freshness.alerts import Alert, AlertKind
from pullahead.freshness.incidents import AGAIN_AFTER, Incident, service_key
from pullahead.freshness.notices import Notice

_OTHER_AFTER = timedelta(hours=1)
"""Another mistake in the rules is no repetition; but whoever mends them is not to be told of every try."""

_UNREADABLE = "unreadable"


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


def tell_condition(
    kind: AlertKind, condition: Condition | None, known: Incident | None, now: datetime
) -> tuple[Notice, Incident] | None:
    """Decide whether people are told of what is the case, or no longer is; and what is remembered then."""
    incident = known or Incident(service_key(kind))
    if condition is None:
        return _over(kind, incident, now) if incident.standing else None
    if not _is_news(condition, incident, now):
        return None
    alert = Alert(kind, condition.subject, "", condition.since, now, condition.detail)
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
    alert = Alert(AlertKind.RECOVERED, subject, "", incident.since or now, now, of=kind)
    return Notice(alert.kind, kind, incident.key, (alert,), 1, 0, now), structs.replace(incident, standing="")
