"""Retire records that no rule follows any more. They are deleted after a while, and kept if a rule comes back. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple, TypeVar

from pullahead.errors import ConfigError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import Record, RuleRecord, State
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey
from pullahead.rules.model import Rule, Rules, rule_named
from pullahead.rules.published_tags import published_from

FORGOTTEN_AFTER = timedelta(days=7)
"""A rule that is added back within this time finds its mirrors' records as they were."""

_MAX_REMEMBERED_TAGS: Final = 200_000  # of listings: some 30 MB
_R = TypeVar("_R", bound=Record)


class Need(Enum):
    """Whether a record is needed: a rule follows it; it is a mirror's that no rule names any more, which is alerted;
    or it is of no use otherwise, such as that of a rule that is gone, or of a tag that its rule no longer selects."""

    FOLLOWED = "followed"
    UNNAMED = "unnamed"
    UNUSED = "unused"


LoadListings = Callable[[Collection[RuleKey]], Mapping[RuleKey, Record]]


class NeedFinder:
    """Finds out which records the rules need, some hundred records at a time. Each tag is looked up in a set."""

    def __init__(self, rules: Rules, load_listings: LoadListings) -> None:
        self._rules, self._load_listings = rules, load_listings
        self._rule_names = frozenset(rule.name for rule in rules.rules)
        self._rule_keys = frozenset(RuleKey(rule.repository, rule.name) for rule in rules.rules)
        self._repositories: dict[str, _RepositoryRules] = {}
        self._selected: dict[RuleKey, frozenset[str] | None] = {}

    def __call__(self, records: Sequence[Record]) -> list[Need]:
        """Judge records that are not retired yet. Raises: StorageError, from `load_listings`."""
        self._read_listings(records)
        return list(map(self._need, records))

    def _need(self, record: Record) -> Need:
        key = record.key
        if self._is_unlisted(record):
            return Need.UNUSED
        if not isinstance(key, MirrorKey):
            return Need.FOLLOWED if self._has_rule(key) else Need.UNUSED
        if self._rules.find(key.repository, key.tag) is None:
            return Need.UNNAMED
        selected = [(self._selected[rule], tag) for rule, tag in self._selecting(key)]
        is_unselected = bool(selected) and all(tags is not None and tag not in tags for tags, tag in selected)
        return Need.UNUSED if is_unselected else Need.FOLLOWED

    def _is_unlisted(self, record: Record) -> bool:
        """Whether it is about an upstream repository that its namespace no longer lists."""
        path = record.upstream.partition("/")[2]
        path = path.partition("@")[0].partition(":")[0] if isinstance(record.key, MirrorKey) else path
        listed = [self._selected[namespace] for namespace in self._namespaces(record.key)]
        return bool(listed) and all(paths is not None and path not in paths for paths in listed)

    def _namespaces(self, key: RecordKey) -> Sequence[RuleKey]:
        """Find the namespaces of which a repository may be; none where a rule names it."""
        if key in self._rule_keys:  # it is the listing of a whole rule
            return ()
        namespaces = self._of(key.repository).namespaces
        return [each for each in namespaces if not isinstance(key, RuleKey) or each.rule == key.rule]

    def _has_rule(self, key: RecordKey) -> bool:
        """Whether a rule publishes into the repository that its record names."""
        if not isinstance(key, RuleKey) or key.rule not in self._rule_names:
            return False
        return key in self._rule_keys or key.rule in self._of(key.repository).rules

    def _selecting(self, key: MirrorKey) -> Sequence[tuple[RuleKey, str]]:
        """Find the rules that may have selected the tag, and its name upstream; none where a rule names it exactly."""
        repository = self._of(key.repository)
        if key.tag in repository.named:
            return ()
        found = ((rule, published_from(template, key.tag)) for rule, template in repository.selecting)
        return [(rule, tag) for rule, tag in found if tag is not None]

    def _of(self, name: str) -> "_RepositoryRules":
        if name not in self._repositories:
            rules = self._rules.rules_of(name)
            self._repositories[name] = _RepositoryRules(
                frozenset(rule.name for rule in rules),
                frozenset(each.target for rule in rules for each in rule.tags.named),
                tuple(
                    (RuleKey(rule.repository, rule.name), rule.tags.template) for rule in rules if rule.tags.patterns
                ),
                self._namespaces_among(rules),
            )
        return self._repositories[name]

    def _namespaces_among(self, rules: Sequence[Rule]) -> tuple[RuleKey, ...]:
        declared = [rule_named(rule.name, self._rules) for rule in rules]
        namespaces = [rule for rule in declared if rule is not None and rule.is_namespace]
        if len(namespaces) < len(rules):
            return ()
        return tuple(RuleKey(rule.repository, rule.name) for rule in namespaces)

    def _read_listings(self, records: Sequence[Record]) -> None:
        """Read the listings that may have selected some records, and forget the others when they become many."""
        if sum(len(tags or ()) for tags in self._selected.values()) > _MAX_REMEMBERED_TAGS:
            self._selected.clear()
        mirrors = (record.key for record in records if isinstance(record.key, MirrorKey))
        needed = {rule for key in mirrors for rule, _ in self._selecting(key)}
        needed |= {rule for record in records for rule in self._namespaces(record.key)}
        needed -= self._selected.keys()
        listings = self._load_listings(needed) if needed else {}
        self._selected.update((rule, _usable_selection(listings.get(rule))) for rule in needed)


class _RepositoryRules(NamedTuple):
    """What the rules say of one repository."""

    rules: frozenset[str]
    named: frozenset[str]  # tags in ECR that a rule names exactly
    selecting: tuple[tuple[RuleKey, str], ...]  # rules that select tags, and the templates of their names in ECR
    namespaces: tuple[RuleKey, ...]  # of which it is, unless a rule names it


def _usable_selection(listing: Record | None) -> frozenset[str] | None:
    """Return what a listing selected; None where it failed, or selected nothing. A part of it may have been refused."""
    if not isinstance(listing, RuleRecord) or not listing.followed:
        return None
    is_usable = listing.state is State.FRESH or listing.error_kind == ConfigError.__name__
    return frozenset(listing.followed) if is_usable else None


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
