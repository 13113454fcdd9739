"""Demands: mirrors that are followed because somebody pulled them, and for how long. Pure.

A demand is kept once ECR has served the mirror. Before that the pull may be a mistake: then only another pull asks
upstream again, after a longer time each time. Pulls of a kept mirror are written down once a day.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.errors import AccessDeniedError
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import OnDemand

NOTE_EVERY = timedelta(days=1)
_FIRST_PATIENCE, _LAST_PATIENCE = timedelta(hours=1), timedelta(days=1)
_FORGET_ABSENT_AFTER = timedelta(days=3)  # of no pull
_LEFT_OVER_AFTER = timedelta(days=7)  # its rule, which would have deleted it, is gone


class Demand(NamedTuple):
    """A mirror that somebody pulled. `since`: the last pull written down; `asked_at`: the last check queued."""

    key: MirrorKey
    rule: str
    since: datetime
    asked_at: datetime
    tries: int = 1
    kept: bool = False

    def expires_at(self, bounds: OnDemand) -> datetime:
        """When the demand is deleted, whether or not anything follows it."""
        return self.since + bounds.expire_after + _LEFT_OVER_AFTER

    def is_over(self, bounds: OnDemand, now: datetime) -> bool:
        """Whether nobody has pulled the mirror for as long as its rule says."""
        return now - self.since >= bounds.expire_after

    def is_to_note(self, rule: str, at: datetime) -> bool:
        """Whether to write a pull down: the first of a day, or the first since another rule allows it."""
        return self.rule != rule or at - self.since >= NOTE_EVERY

    def may_be_asked_again(self, now: datetime) -> bool:
        """Whether a pull of what upstream did not have may queue another check."""
        patience = min(_LAST_PATIENCE, _FIRST_PATIENCE * 2 ** min(self.tries - 1, 10))
        return not self.kept and now - self.asked_at >= patience

    def is_mistaken(self, now: datetime) -> bool:
        """Whether what upstream does not have is no longer pulled, either."""
        return now - self.since >= _FORGET_ABSENT_AFTER


def was_published(record: MirrorRecord | None) -> bool:
    """Whether ECR serves a mirror, or has served it."""
    return record is not None and (record.published_digest is not None or record.last_refresh is not None)


def is_absent(record: MirrorRecord | None) -> bool:
    """Whether upstream does not have the tag, and has not had it since it was demanded.

    Docker Hub and GHCR refuse access to what does not exist.
    """
    if record is None or was_published(record):
        return False
    is_refused = record.state is State.UNKNOWN and record.error_kind == AccessDeniedError.__name__
    return record.state is State.GONE or is_refused


class DemandsLookup(NamedTuple):
    """How many checks of demanded mirrors were queued, and how many demands were deleted."""

    followed: int
    forgotten: int
