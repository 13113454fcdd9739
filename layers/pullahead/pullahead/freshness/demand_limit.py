"""What is told where a rule on demand has made as many new mirrors as it may in a day. Pure."""

from datetime import datetime

from pullahead.freshness.alerts import AlertKind
from pullahead.freshness.judge import with_alert
from pullahead.freshness.listing import listing_key
from pullahead.freshness.records import Record, State
from pullahead.freshness.retirement import followed_again
from pullahead.rules.model import Rule


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
