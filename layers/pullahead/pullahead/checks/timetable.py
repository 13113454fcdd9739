"""When mirrors are due for a check, and rules for a listing. Pure, and without memory: a fresh tag costs no write.

Every repository has times of its own, shifted by a hash of its name, so that repositories are not all checked at once.
Tags of one repository that are checked equally often are due together: they share messages, reads of records and, in
those checks that ask for it, DescribeImages. Where one interval is a multiple of another, their times meet, too. Rules
of one upstream repository are listed together, and share a listing.
"""

import hashlib
from datetime import datetime, timedelta

from pullahead.rules.model import Mirror, Rule
from pullahead.rules.named_mirrors import NamedTags

ECR_ASKED_EVERY = timedelta(minutes=30)
"""How often ECR is asked at least what a fresh tag serves. Between these times its events tell of changes."""

SCHEME = "repository"
"""Names how times are shared. A schedule that follows one with another scheme takes everything for due, once."""


def is_due(mirror: Mirror | NamedTags, last: datetime | None, now: datetime) -> bool:
    """Whether a time of a mirror, or of tags, is after `last` and not after `now`. Without a `last`, they are due."""
    return _has_time(mirror.repository, mirror.check_every, last, now)


def is_listing_due(rule: Rule, last: datetime | None, now: datetime) -> bool:
    """Whether one of the rule's times is after `last` and not after `now`."""
    return _has_time(str(rule.upstream), rule.check_every, last, now)


def last_time(tags: NamedTags, now: datetime) -> datetime:
    """Return the last time of tags until now."""
    every = tags.check_every
    return _next_time(tags.repository, every, now) - every


def next_check(mirror: Mirror, now: datetime) -> datetime:
    """Return the mirror's next time; the first schedule after it queues the check."""
    return _next_time(mirror.repository, mirror.check_every, now)


def last_checks(mirror: Mirror, now: datetime) -> tuple[datetime, datetime]:
    """Return the mirror's last time until now, and the one before it, which comes first."""
    last = next_check(mirror, now) - mirror.check_every
    return last - mirror.check_every, last


def spread_of(mirror: Mirror) -> float:
    """Return a number of 0 to 1 that spreads what is done once in a while over that while, each mirror by itself."""
    return _shift(str(mirror.key), 1.0 * 2**32) / 2**32


def is_ecr_asked(mirror: Mirror, asked_at: datetime) -> bool:
    """Whether a check of the schedule asks ECR about a tag that seems unchanged.

    So do one check of a repository in ECR_ASKED_EVERY, and all that are less frequent.
    """
    return _asks_ecr(mirror.repository, mirror.check_every, asked_at)


def is_ecr_asked_by_listing(rule: Rule, asked_at: datetime) -> bool:
    """The same of the check that follows a listing."""
    return _asks_ecr(str(rule.upstream), rule.check_every, asked_at)


def next_listing(rule: Rule, now: datetime) -> datetime:
    """Return the next time of a rule's listing."""
    return _next_time(str(rule.upstream), rule.check_every, now)


def _asks_ecr(name: str, check_every: timedelta, asked_at: datetime) -> bool:
    """Whether a time of ECR_ASKED_EVERY is after the check before, and not after this one, by the times of both."""
    last = _next_time(name, check_every, asked_at) - check_every
    return _has_time(name, ECR_ASKED_EVERY, last - check_every, last)


def _has_time(name: str, check_every: timedelta, last: datetime | None, now: datetime) -> bool:
    return last is None or _times_until(name, check_every, now) > _times_until(name, check_every, last)


def _next_time(name: str, check_every: timedelta, now: datetime) -> datetime:
    every = check_every.total_seconds()
    seconds = (_times_until(name, check_every, now) + 1) * every + _shift(name, every)
    return datetime.fromtimestamp(seconds, now.tzinfo)


def _times_until(name: str, check_every: timedelta, moment: datetime) -> float:
    every = check_every.total_seconds()
    return (moment.timestamp() - _shift(name, every)) // every


def _shift(name: str, every: float) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % every
