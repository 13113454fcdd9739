"""Retire records that no rule follows any more. They are deleted after a while, and kept if a rule comes back. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import MirrorRecord, Record, RuleRecord, State
from pullahead.rules.mirror_key import RecordKey, RuleKey
from pullahead.rules.model import Mirror, Rule, Rules, rule_named

FORGOTTEN_AFTER = timedelta(days=7)
"""A rule that is added back within this time finds its mirrors' records as they were."""

_R = TypeVar("_R", bound=Record)


class UnfollowedRecords(NamedTuple):
    """The records to retire: mirrors that no rule names any more, which is alerted; what else is of no use; and how
    many records stay."""

    mirrors: tuple[MirrorRecord, ...]
    others: tuple[Record, ...]  # of rules that are gone, and of what their rule no longer selects
    followed: int

    @property
    def is_all(self) -> bool:
        """Whether there are mirrors to retire, and no record would stay."""
        return bool(self.mirrors) and not self.followed


def find_unfollowed_records(records: Iterable[Record], rules: Rules) -> UnfollowedRecords:
    """Find the records that the rules do not need, of those that are not retired yet."""
    known = {record.key: record for record in records if record.expires_at is None}
    names = frozenset(rule.name for rule in rules.rules)
    mirrors, others, followed = list[MirrorRecord](), list[Record](), 0
    for record in known.values():
        mirror = rules.find(record.key.repository, record.key.tag) if isinstance(record, MirrorRecord) else None
        if isinstance(record, MirrorRecord) and mirror is None:
            mirrors.append(record)
        elif _is_of_unlisted_repository(record, rules, known) or (
            _is_unselected(mirror, rules, known) if mirror is not None else not _has_rule(record.key, rules, names)
        ):
            others.append(record)
        else:
            followed += 1
    return UnfollowedRecords(tuple(mirrors), tuple(others), followed)


def retired(record: _R, now: datetime, *, alerted: bool) -> _R:
    """Let a record expire. Open alerts are closed silently; `alerted` adds an alert about the retirement itself."""
    alert = Alert(AlertKind.RETIRED, record.key, record.upstream, now, now)
    return record.with_changes(expires_at=now + FORGOTTEN_AFTER, alerted=(), pending=(alert,) if alerted else ())


def followed_again(record: _R) -> _R:
    """Keep a record that was to expire."""
    if record.expires_at is None:
        return record
    pending = tuple(alert for alert in record.pending if alert.kind is not AlertKind.RETIRED)
    return record.with_changes(expires_at=None, pending=pending)


def _has_rule(key: RecordKey, rules: Rules, names: frozenset[str]) -> bool:
    """Whether a rule publishes into the repository that its record names."""
    if not isinstance(key, RuleKey) or key.rule not in names:
        return False
    return any((rule.name, rule.repository) == (key.rule, key.repository) for rule in rules.rules) or any(
        rule.name == key.rule for rule in rules.rules_of(key.repository)
    )


def _is_of_unlisted_repository(record: Record, rules: Rules, known: Mapping[RecordKey, Record]) -> bool:
    """Whether it is about a repository that the listing of its namespace no longer has."""
    candidates = [rule_named(rule.name, rules) for rule in rules.rules_of(record.key.repository)]
    path = record.upstream.partition("/")[2]
    if isinstance(record, MirrorRecord):
        path = path.rpartition(":")[0]
    elif isinstance(record.key, RuleKey):
        candidates = [rule for rule in candidates if rule is not None and rule.name == record.key.rule]
    if path.endswith("*"):  # it is about the namespace itself
        return False
    return bool(candidates) and all(
        rule is not None
        and rule.is_namespace
        and isinstance(listing := known.get(RuleKey(rule.repository, rule.name)), RuleRecord)
        and listing.state is State.FRESH
        and bool(listing.followed)
        and path not in listing.followed
        for rule in candidates
    )


def _is_unselected(mirror: Mirror, rules: Rules, known: Mapping[RecordKey, Record]) -> bool:
    """Whether the listings that select this repository's tags were usable and did not select the tag."""
    selecting = _selecting_rules(mirror, rules)
    listings = [known.get(RuleKey(rule.repository, rule.name)) for rule in selecting]
    return bool(listings) and all(
        isinstance(listing, RuleRecord)
        and listing.state is State.FRESH
        and bool(listing.followed)  # empty where version 0.1 had too many to keep, or upstream lists none that fit
        and mirror.tag not in listing.followed
        for listing in listings
    )


def _selecting_rules(mirror: Mirror, rules: Rules) -> Sequence[Rule]:
    """Find the rules that may have selected the tag; none where a rule names it exactly."""
    candidates = rules.rules_of(mirror.repository)
    if any(mirror.tag in rule.tags.names for rule in candidates):
        return ()
    return [rule for rule in candidates if rule.tags.patterns]
