"""What is remembered of an image's referrers, when late ones are looked for, and the alert about those that fail. Pure.

After a new digest its referrers are looked for with each check for an hour, then hourly for a day, then daily. When
follows from the time of the digest and the mirror's own times of checks, so that nothing is written for a look.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from pullahead.clock import Moment
from pullahead.messages import ReferrersOutcome, Trouble
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.oci import Digest
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import ReferrersPolicy

EVERY_CHECK_FOR: Final = timedelta(hours=1)
HOURLY_FOR: Final = timedelta(days=1)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_FIRST_RETRY, _LAST_RETRY = timedelta(minutes=5), timedelta(hours=6)
_NOT_BY_ITSELF = frozenset(
    {
        "AccessDeniedError",
        "ConflictError",
        "DigestMismatchError",
        "InvalidManifestError",
        "ManifestRefusedError",
        "TagImmutableError",
        "UnsupportedMediaTypeError",
    }
)
"""Classes of errors that hardly pass by themselves: these are alerted at once."""


class KnownReferrers(msgspec.Struct, frozen=True, omit_defaults=True):
    """The referrers of the digest that a mirror serves, as of the last refresh that copied any."""

    digest: Digest  # upstream's, which they belong to
    since: Moment  # when that was first published
    outcome: ReferrersOutcome
    execution: str = ""
    tries: int = 0  # in a row that ended in trouble
    failing_since: Moment | None = None
    retry_at: Moment | None = None
    alerted: bool = False

    @property
    def cause(self) -> str:
        """Why some are not copied, in one line."""
        return self.outcome.troubles[0].text if self.outcome.troubles else ""

    @property
    def cause_kind(self) -> str:
        """The class of the error that is the cause."""
        return self.outcome.troubles[0].kind if self.outcome.troubles else ""


def after_referrers(
    before: KnownReferrers | None, digest: Digest, outcome: ReferrersOutcome, execution: str, now: datetime
) -> KnownReferrers:
    """Remember what became of the referrers of a digest. What failed is retried, after a longer time each time."""
    if before is not None and execution and before.execution == execution:
        return before  # recorded before
    same = before if before is not None and before.digest == digest else None
    tries = (same.tries if same is not None else 0) + 1 if outcome.failed else 0
    since = (same.failing_since if same is not None else None) or now
    return KnownReferrers(
        digest,
        same.since if same is not None else now,
        outcome,
        execution,
        tries,
        since if outcome.failed else None,
        now + min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(tries - 1, 10)) if outcome.failed else None,
        before is not None and before.alerted,
    )


def after_trouble(
    before: KnownReferrers | None, digest: Digest, trouble: Trouble, execution: str, now: datetime
) -> KnownReferrers:
    """Remember that late referrers could not even be looked for, or copied; what was copied before is still there."""
    known = before.outcome if before is not None and before.digest == digest else ReferrersOutcome("")
    failed = msgspec.structs.replace(known, failed=max(1, known.failed), troubles=(trouble,))
    return after_referrers(before, digest, failed, execution, now)


def due_alert(
    known: KnownReferrers, key: MirrorKey, upstream: str, alert_after: timedelta, now: datetime
) -> Alert | None:
    """Make the alert that referrers fail, or that they no longer do; None where there is nothing to report."""
    since = known.failing_since
    if since is None:
        over = Alert(AlertKind.RECOVERED, key, upstream, now, now, of=AlertKind.REFERRERS_FAILED)
        return over if known.alerted else None
    is_due = now - since >= alert_after or any(each.kind in _NOT_BY_ITSELF for each in known.outcome.troubles)
    if known.alerted or not is_due:
        return None
    return Alert(AlertKind.REFERRERS_FAILED, key, upstream, since, now, known.cause, known.cause_kind)


def is_retry_due(known: KnownReferrers | None, now: datetime) -> bool:
    """Tell whether what failed is to be tried again."""
    return known is not None and known.retry_at is not None and now >= known.retry_at


def is_look_due(
    known: KnownReferrers | None, policy: ReferrersPolicy, checks: tuple[datetime, datetime], phase: float
) -> bool:
    """Tell whether late referrers are to be looked for at the later of two times of checks that follow each other.

    `phase`, of 0 to 1, spreads the daily looks of mirrors whose referrers were never looked for.
    """
    if not policy.copies_any or policy.late == timedelta():
        return False
    before, now = checks
    if known is None:
        return _has_time(before, now, _DAY, phase * _DAY.total_seconds())
    age = now - known.since
    if policy.late is not None and age > policy.late:
        return False
    if age <= EVERY_CHECK_FOR:
        return True
    every = _HOUR if age <= HOURLY_FOR else _DAY
    return _has_time(before, now, every, known.since.timestamp())


def _has_time(before: datetime, now: datetime, every: timedelta, phase: float) -> bool:
    """Tell whether one of the times that are `every` apart is after `before` and not after `now`."""
    seconds = every.total_seconds()
    return (now.timestamp() - phase) // seconds > (before.timestamp() - phase) // seconds
