"""What was demanded by a pull, and how long that counts. Pure.

A demand is kept once ECR served what was demanded. Before, it may be a mistake of whoever pulled: then upstream is
asked again only by a later pull, and each time later. A pull of what is kept is noted once a day.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.errors import AccessDeniedError
from pullahead.mirrors.record import Record, State
from pullahead.rules.model import OnDemand

NOTE_EVERY = timedelta(days=1)
_FIRST_PATIENCE, _LAST_PATIENCE = timedelta(hours=1), timedelta(days=1)
_FORGET_ABSENT_AFTER = timedelta(days=3)  # of no pull
_LEFT_OVER_AFTER = timedelta(days=7)  # nothing follows what its rule would have removed: the rule is gone


class Demand(NamedTuple):
    """That somebody pulled a mirror. `since`: when it was last noted; `asked_at`: when a check was last sent for it."""

    key: str
    rule: str
    since: datetime
    asked_at: datetime
    tries: int = 1
    kept: bool = False

    def expires_at(self, bounds: OnDemand) -> datetime:
        """When the demand may be forgotten, whether or not anybody looks at it."""
        return self.since + bounds.expire_after + _LEFT_OVER_AFTER

    def is_over(self, bounds: OnDemand, now: datetime) -> bool:
        """Whether nobody has pulled it for as long as its rule says."""
        return now - self.since >= bounds.expire_after

    def is_to_note(self, rule: str, at: datetime) -> bool:
        """Whether a pull is news: the first of a day, or the first since another rule answers it."""
        return self.rule != rule or at - self.since >= NOTE_EVERY

    def may_be_asked_again(self, now: datetime) -> bool:
        """Whether a pull of what upstream did not have may ask upstream once more."""
        patience = min(_LAST_PATIENCE, _FIRST_PATIENCE * 2 ** min(self.tries - 1, 10))
        return not self.kept and now - self.asked_at >= patience

    def is_mistaken(self, now: datetime) -> bool:
        """Whether what upstream does not have is no longer pulled either."""
        return now - self.since >= _FORGET_ABSENT_AFTER


def was_published(record: Record | None) -> bool:
    """Whether ECR serves a mirror, or has served it."""
    return record is not None and (record.published_digest is not None or record.last_refresh is not None)


def is_absent(record: Record | None) -> bool:
    """Whether upstream has nothing under the name, nor ever had since it was demanded.

    Docker Hub and GHCR refuse what does not exist rather than saying so.
    """
    if record is None or was_published(record):
        return False
    is_refused = record.state is State.UNKNOWN and record.error_kind == AccessDeniedError.__name__
    return record.state is State.GONE or is_refused


class DemandsLookup(NamedTuple):
    """How many demanded mirrors were sent for checking, and how many demands were forgotten."""

    followed: int
    forgotten: int
