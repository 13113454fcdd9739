"""What belongs together in one message, and when people may hear of it again. Pure.

An incident is trouble of one kind, at one upstream registry, for one cause. It is remembered when it was last told and,
until they are known to be taken out of their records, which alerts were: so a crash repeats none of them.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from pullahead.errors import DeferredError, RateLimitedError, RegistryTimeoutError, RegistryUnavailableError
from pullahead.freshness.alerts import Alert, AlertKind

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
