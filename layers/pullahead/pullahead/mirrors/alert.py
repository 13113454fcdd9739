"""Alerts: the kinds that there are, and what one says of a mirror. Pure data."""

import hashlib
from collections import Counter
from enum import StrEnum
from typing import Final

import msgspec

from pullahead.clock import Moment
from pullahead.rules.mirror_key import Subject


class AlertKind(StrEnum):
    """What an alert reports. Also a message attribute, for subscription filters."""

    STALE = "STALE"
    UPSTREAM_UNREACHABLE = "UPSTREAM_UNREACHABLE"
    RATE_LIMITED = "RATE_LIMITED"
    ACCESS_DENIED = "ACCESS_DENIED"
    BLOCKED = "BLOCKED"
    GONE = "GONE"
    NOT_FOUND = "NOT_FOUND"
    UNLISTED = "UNLISTED"
    DRIFT = "DRIFT"
    CACHE_FAILED = "CACHE_FAILED"
    REFERRERS_FAILED = "REFERRERS_FAILED"
    PIN_MOVED = "PIN_MOVED"
    HELD = "HELD"
    WITHDRAWN = "WITHDRAWN"
    RECOVERED = "RECOVERED"
    RULES_BROKEN = "RULES_BROKEN"
    RULES_EMPTY = "RULES_EMPTY"
    RULES_SKIPPED = "RULES_SKIPPED"
    NOT_CHECKED = "NOT_CHECKED"
    RETIRED = "RETIRED"
    RECORD_DAMAGED = "RECORD_DAMAGED"
    DEMAND_LIMIT = "DEMAND_LIMIT"


class Alert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One alert about one subject, with what its text needs."""

    kind: AlertKind
    mirror: Subject
    upstream: str
    since: Moment
    at: Moment
    detail: str = ""
    error_kind: str = ""  # the class of the error that is the cause
    of: AlertKind | None = None  # of RECOVERED: the kind that is over

    @property
    def about(self) -> AlertKind:
        """The kind of trouble that the alert is about, whether it begins or ends."""
        return self.of or self.kind

    @property
    def host(self) -> str:
        """The upstream registry."""
        return self.upstream.partition("/")[0]

    @property
    def mark(self) -> str:
        """A short identity of the alert."""
        identity = "\n".join((str(self.mirror), self.kind, self.of or "", self.at.isoformat()))
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


MAX_PENDING: Final = 40
"""Alerts of one record that may wait to be sent: 100 KB at most, of the 400 KB of an item."""


def bounded(pending: tuple[Alert, ...]) -> tuple[Alert, ...]:
    """Leave out what nobody has sent for long: an end and the beginning after it, of trouble that came most often.

    What is left says when it first began, and whether it is over.
    """
    while len(pending) > MAX_PENDING:
        ((often, _),) = Counter(alert.about for alert in pending).most_common(1)
        places = [place for place, alert in enumerate(pending) if alert.about is often]
        pending = tuple(alert for place, alert in enumerate(pending) if place not in places[1:3])
    return pending


class SentAlert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the last alert about one kind of trouble was sent, and in which incident."""

    kind: AlertKind
    incident: str
    at: Moment
