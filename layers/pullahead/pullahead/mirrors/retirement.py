"""What becomes of records that no rule has a use for: they are forgotten in time, and may be taken back. Pure.

Rules that follow nothing at all forget nothing: a file that was emptied by mistake is told, and costs no memory.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import Record, State
from pullahead.rules.model import Mirror, Rule, Rules

FORGOTTEN_AFTER = timedelta(days=7)
"""So long a rule may be away, and its mirrors are known again, with their past, when it comes back."""

_LISTING = re.compile(r"(?P<repository>.+) \((?P<rule>.+)\):\*")
"""As `freshness.listing.listing_key` writes it."""


class UnfollowedRecords(NamedTuple):
    """Records to be retired: those that no rule names, which is told of mirrors, and tags that are no longer chosen."""

    unnamed: tuple[Record, ...]
    unchosen: tuple[Record, ...]
    followed: int  # records that stay

    @property
    def mirrors(self) -> tuple[Record, ...]:
        """The mirrors that no rule names, without the listings that chose some of them."""
        return tuple(record for record in self.unnamed if not is_listing(record))

    @property
    def is_all(self) -> bool:
        """Whether no mirror would stay of those that were followed."""
        return bool(self.mirrors) and not self.followed


def is_listing(record: Record) -> bool:
    """Whether a record is of what a rule chooses from, and of no mirror."""
    return _LISTING.fullmatch(record.key) is not None


def find_unfollowed_records(
    records: Iterable[Record], rules: Rules, listing_key: Callable[[Rule], str]
) -> UnfollowedRecords:
    """Find the records that no rule has a use for, of those that are not retired yet."""
    known = {record.key: record for record in records if record.expires_at is None}
    by_name = {rule.name: rule for rule in rules.rules}
    unnamed, unchosen, followed = [], [], 0
    for record in known.values():
        listing = _LISTING.fullmatch(record.key)
        if listing is not None:
            is_named, is_wanted = _is_listed(listing, rules, by_name), True
        else:
            repository, _, tag = record.key.rpartition(":")
            mirror = rules.find(repository, tag)
            is_named = mirror is not None
            is_wanted = mirror is None or not _is_passed_over(mirror, rules, known, listing_key)
        if not is_named:
            unnamed.append(record)
        elif not is_wanted:
            unchosen.append(record)
        else:
            followed += 1
    return UnfollowedRecords(tuple(unnamed), tuple(unchosen), followed)


def retired(record: Record, now: datetime, *, told: bool) -> Record:
    """Let a record be forgotten in time. What stood about the mirror stands no more; nothing else is told of it."""
    alert = Alert(AlertKind.RETIRED, record.key, record.upstream, now, now)
    return record.with_changes(expires_at=now + FORGOTTEN_AFTER, alerted=(), pending=(alert,) if told else ())


def followed_again(record: Record) -> Record:
    """Take back that a record is to be forgotten."""
    if record.expires_at is None:
        return record
    pending = tuple(alert for alert in record.pending if alert.kind is not AlertKind.RETIRED)
    return record.with_changes(expires_at=None, pending=pending)


def _is_listed(listing: re.Match[str], rules: Rules, by_name: Mapping[str, Rule]) -> bool:
    rule, repository = by_name.get(listing["rule"]), listing["repository"]
    if rule is None:
        return False
    return rule.repository == repository or any(each.name == rule.name for each in rules.rules_of(repository))


def _is_passed_over(
    mirror: Mirror, rules: Rules, known: Mapping[str, Record], listing_key: Callable[[Rule], str]
) -> bool:
    """Whether the listing that chooses for this repository was good and did not choose the tag."""
    choosing = _choosing_rules(mirror, rules)
    listings = [known.get(listing_key(rule)) for rule in choosing]
    return bool(listings) and all(
        listing is not None
        and listing.state is State.FRESH
        and bool(listing.followed)  # none are remembered where they are too many
        and mirror.tag not in listing.followed
        for listing in listings
    )


def _choosing_rules(mirror: Mirror, rules: Rules) -> Sequence[Rule]:
    """The rules that may have chosen the tag by its name; none where one names it exactly."""
    candidates = rules.rules_of(mirror.repository)
    if any(mirror.tag in rule.tags.names for rule in candidates):
        return ()
    return [rule for rule in candidates if rule.tags.patterns]
