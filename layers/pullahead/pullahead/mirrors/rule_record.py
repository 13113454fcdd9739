"""The records of rules: what a listing of tags to select from came to, and whether a daily limit is reached. Pure.

A listing that fails, or of which too little is left, does not change what is followed: the fault is upstream's.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pullahead.errors import (
    AccessDeniedError,
    ConfigError,
    DeferredError,
    ListingRefusedError,
    ListingTooLongError,
    NotFoundError,
    PullaheadError,
    RateLimitedError,
    RegistryTimeoutError,
    RegistryUnavailableError,
)
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.judge import with_alert
from pullahead.mirrors.record import DailyLimitRecord, Record, RuleRecord, State
from pullahead.mirrors.retirement import followed_again
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import Rule
from pullahead.text import one_line

_MAX_FOLLOWED_BYTES = 200_000  # an item of DynamoDB holds 400 KB at most (DynamoDB quotas)
_MAX_ERROR_CHARACTERS = 2000
_FEWEST_NEW = 100  # that every rule may take up in a day, however little it follows
_NEW_WITHIN = timedelta(days=1)


_ALERTS_OF_UPSTREAM = {
    AccessDeniedError.__name__: AlertKind.ACCESS_DENIED,
    DeferredError.__name__: AlertKind.RATE_LIMITED,
    RateLimitedError.__name__: AlertKind.RATE_LIMITED,
    RegistryTimeoutError.__name__: AlertKind.UPSTREAM_UNREACHABLE,
    RegistryUnavailableError.__name__: AlertKind.UPSTREAM_UNREACHABLE,
}
"""Trouble of the registry, which its mirrors have, too: so that it is one incident."""


class ListingOutcome(NamedTuple):
    """What was selected from a listing, None where nothing could be; and the error of it, or of a part of it."""

    chosen: tuple[str, ...] | None
    error: PullaheadError | None = None


def needs_listing(rule: Rule) -> bool:
    """Whether a rule selects tags or repositories from a listing, rather than naming them all."""
    return bool(rule.tags.patterns) or rule.is_namespace


def rule_key(rule: Rule) -> RuleKey:
    """Identify the record of a rule."""
    return RuleKey(rule.repository, rule.name)


def judge_listing(listed: ListingOutcome, before: Record | None, rule: Rule, now: datetime) -> RuleRecord:
    """Derive a rule's record from a listing and the record before."""
    listed, counted = _bounded(listed, before, rule, now)
    state, error = _state_of(listed.error), listed.error
    known = _listing_before(before, rule, state, now)
    after = known.with_changes(
        upstream=str(rule.upstream),
        state=state,
        since=known.since if known.state is state else now,
        unfresh_since=None if error is None else known.unfresh_since or now,
        error_kind=type(error).__name__ if error is not None else None,
        error=one_line(str(error), _MAX_ERROR_CHARACTERS) if error is not None else None,
        denied=error.sent if isinstance(error, AccessDeniedError) else "",
        followed=known.followed if listed.chosen is None else listed.chosen,
        **counted,
    )
    return with_alert(before, after, _due_alert(after, rule, now), now)


def limit_reached(before: Record | None, rule: Rule, refused: MirrorKey, now: datetime) -> DailyLimitRecord:
    """Record that a rule makes no new mirrors for the rest of the day."""
    if isinstance(before, DailyLimitRecord) and before.state is State.BLOCKED:
        return before
    upstream = str(rule.upstream)
    if before is None:
        known = DailyLimitRecord(rule_key(rule), upstream, State.FRESH, now)
    else:
        known = followed_again(DailyLimitRecord(**_common_fields(before)))
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


def limit_over(before: Record | None, now: datetime) -> DailyLimitRecord | None:
    """Record on another day that the limit is no longer reached; None where it was not."""
    if (
        not isinstance(before, DailyLimitRecord)
        or before.state is not State.BLOCKED
        or before.since.date() >= now.date()
    ):
        return None
    after = before.with_changes(state=State.FRESH, since=now, unfresh_since=None, error_kind=None, error=None)
    return with_alert(before, after, None, now)


def _listing_before(before: Record | None, rule: Rule, state: State, now: datetime) -> RuleRecord:
    if before is None:
        return RuleRecord(rule_key(rule), str(rule.upstream), state, now)
    return followed_again(before if isinstance(before, RuleRecord) else RuleRecord(**_common_fields(before)))


def _common_fields(record: Record) -> dict[str, Any]:
    """Carry a record over where a rule begins, or stops, to be one on demand: its version, and its open alerts."""
    return {name: getattr(record, name) for name in Record.__struct_fields__}


def _state_of(error: PullaheadError | None) -> State:
    if isinstance(error, ListingRefusedError | ListingTooLongError | ConfigError):
        return State.BLOCKED
    if isinstance(error, NotFoundError):
        return State.GONE
    return State.UNKNOWN if error is not None else State.FRESH


def _bounded(
    listed: ListingOutcome, before: Record | None, rule: Rule, now: datetime
) -> tuple[ListingOutcome, dict[str, Any]]:
    """Keep what was followed where more is listed than a record can hold, or too much of it is new: nothing is cut.

    Each tag that is new makes a record that lasts for days: an upstream could list others each time. Return how much is
    new today, too. What the first listing has is not new.
    """
    if listed.chosen is None:
        return listed, {}
    what = "repositories" if rule.is_namespace else "tags"
    if sum(len(name) + 3 for name in listed.chosen) > _MAX_FOLLOWED_BYTES:
        cause = f"the rule selects {len(listed.chosen)} {what}, whose names are too long to be kept"
        return ListingOutcome(None, ListingTooLongError(f"{cause}. Select fewer.")), {}
    known = before if isinstance(before, RuleRecord) else None
    if known is None or (known.new_since is None and not known.followed):
        return listed, {"new_since": now}
    new = len(set(listed.chosen).difference(known.followed))
    if not new:
        return listed, {}
    is_same_day = known.new_since is not None and now - known.new_since < _NEW_WITHIN
    count = new + (known.new_count if is_same_day else 0)
    most = max(_FEWEST_NEW, len(known.followed) if rule.is_namespace else rule.tags.max_tags)
    if count > most:
        cause = f"{count} {what} would be new within a day, and a rule may follow {most} new ones a day"
        error = ListingTooLongError(f"{cause}. Those followed so far stay followed. Select fewer, or raise `max_tags`.")
        return ListingOutcome(None, error), {}
    return listed, {"new_since": known.new_since if is_same_day else now, "new_count": count}


def _due_alert(record: RuleRecord, rule: Rule, now: datetime) -> AlertKind | None:
    kind = _ALERTS_OF_UPSTREAM.get(record.cause_kind, AlertKind.UNLISTED)
    needs_action = kind is AlertKind.ACCESS_DENIED or record.state in (State.BLOCKED, State.GONE)
    is_late = now - (record.unfresh_since or now) >= rule.alert_after
    return kind if needs_action or (is_late and not record.alerted) else None
