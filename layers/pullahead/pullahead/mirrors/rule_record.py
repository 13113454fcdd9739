"""What a listing does to what is remembered of it: a rule that chooses its tags has a record of its own. Pure.

A listing that fails, or brings suspiciously little, changes nothing of what is followed: that is an upstream's fault
and no wish.

What is told where a rule on demand has made as many new mirrors as it may in a day. Pure.
"""

from datetime import datetime
from typing import NamedTuple

from pullahead.errors import ConfigError, ListingRefusedError, NotFoundError, PullaheadError
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.judge import with_alert
from pullahead.mirrors.record import Record, State
from pullahead.mirrors.retirement import followed_again
from pullahead.rules.model import Rule, mirror_key

_MAX_REMEMBERED_BYTES = 200_000  # an item of DynamoDB holds 400 KB at most (DynamoDB quotas)


class ListingOutcome(NamedTuple):
    """What was chosen from a listing, None where nothing could be; and what is wrong with it, or with a part of it."""

    chosen: tuple[str, ...] | None
    error: PullaheadError | None = None


def needs_listing(rule: Rule) -> bool:
    """Whether a rule chooses, rather than naming all that it follows."""
    return bool(rule.tags.patterns) or rule.is_namespace


def listing_key(rule: Rule) -> str:
    """Identify the record of a rule's listing; the `*` keeps it apart from every mirror's, since no tag holds one."""
    return mirror_key(f"{rule.repository} ({rule.name})", "*")


def judge_listing(listed: ListingOutcome, before: Record | None, rule: Rule, now: datetime) -> Record:
    """Conclude from a listing and what is remembered of the last ones."""
    state, error = _state_of(listed.error), listed.error
    known = followed_again(before) if before is not None else Record(listing_key(rule), str(rule.upstream), state, now)
    after = known.with_changes(
        upstream=str(rule.upstream),
        state=state,
        since=known.since if known.state is state else now,
        unfresh_since=None if error is None else known.unfresh_since or now,
        error_kind=type(error).__name__ if error is not None else None,
        error=str(error) if error is not None else None,
        followed=known.followed if listed.chosen is None else _remembered(listed.chosen),
    )
    return with_alert(before, after, _due_alert(after, rule, now), now)


def _state_of(error: PullaheadError | None) -> State:
    if isinstance(error, ListingRefusedError | ConfigError):
        return State.BLOCKED
    if isinstance(error, NotFoundError):
        return State.GONE
    return State.UNKNOWN if error is not None else State.FRESH


def _remembered(chosen: tuple[str, ...]) -> tuple[str, ...]:
    return chosen if sum(len(name) + 3 for name in chosen) <= _MAX_REMEMBERED_BYTES else ()


def _due_alert(record: Record, rule: Rule, now: datetime) -> AlertKind | None:
    is_late = now - (record.unfresh_since or now) >= rule.alert_after
    return AlertKind.UNLISTED if is_late or record.state in (State.BLOCKED, State.GONE) else None


def limit_key(rule: Rule) -> str:
    """Identify the record that says so."""
    return listing_key(rule)


def limit_reached(before: Record | None, rule: Rule, refused: str, now: datetime) -> Record:
    """Block a rule's new mirrors for the rest of the day."""
    if before is not None and before.state is State.BLOCKED:
        return before
    upstream = str(rule.upstream)
    known = followed_again(before) if before is not None else Record(limit_key(rule), upstream, State.FRESH, now)
    limit = rule.on_demand.daily_limit if rule.on_demand is not None else 0
    after = known.with_changes(
        upstream=upstream,
        state=State.BLOCKED,
        since=now,
        unfresh_since=now,
        error_kind="DemandLimit",
        error=f"{refused} was pulled, and {limit} new mirrors were made today already (daily_limit, counted in UTC)",
    )
    return with_alert(before, after, AlertKind.DEMAND_LIMIT, now)


def limit_over(before: Record | None, now: datetime) -> Record | None:
    """Take it back on another day; None where there is nothing to take back."""
    if before is None or before.state is not State.BLOCKED or before.since.date() >= now.date():
        return None
    after = before.with_changes(state=State.FRESH, since=now, unfresh_since=None, error_kind=None, error=None)
    return with_alert(before, after, None, now)
