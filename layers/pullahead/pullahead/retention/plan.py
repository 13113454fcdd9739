"""Plan what each rule that prunes would remove from ECR. Reads rules, records and the tags of repositories; no writes.

Nothing is planned by rules that are not those of the last checks, or while no checks are made: what is missing then
proves nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import structs

from pullahead.alerts.review import rules_allow_retirement
from pullahead.clock import Clock
from pullahead.errors import NewerRecordError, PullaheadError
from pullahead.mirrors.previous import KeptDigest
from pullahead.mirrors.pruning import PrunePlan, PublishedTag, expired_previous, plan_pruning
from pullahead.mirrors.record import MirrorRecord, Record, RuleRecord
from pullahead.mirrors.rule_record import rule_key
from pullahead.mirrors.store import RecordStore
from pullahead.oci import Digest, parse_reference
from pullahead.oci.referrers import subject_of_tag
from pullahead.retention.ports import TagLister
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import Prune, Rule, Rules
from pullahead.rules.ports import ActiveRules, RulesStateStore
from pullahead.rules.published_tags import published_from, tag_before_move

_CHECKED_WITHIN: Final = timedelta(days=1)


class Expired(NamedTuple):
    """A tag that keeps what another tag served before it moved, for longer than the rules say."""

    key: MirrorKey  # of the tag that moved
    kept: KeptDigest


class RulePlan(NamedTuple):
    """What pruning does for one rule; or the error for which it does nothing. `listed`: every tag of its repository."""

    rule: Rule
    policy: Prune
    plan: PrunePlan
    tags: Mapping[MirrorKey, PublishedTag]
    listed: Mapping[str, Digest]
    records: Sequence[MirrorRecord] = ()  # of the repository, those of other rules included
    expired: tuple[Expired, ...] = ()
    error: PullaheadError | None = None


class RulesNotInForce(NamedTuple):
    """Why nothing can be planned now."""

    why: str


class PlanPruning:
    """Plans, one rule after the other. Holds the records of one repository at a time."""

    def __init__(
        self, rules: ActiveRules, state: RulesStateStore, records: RecordStore, lister: TagLister, clock: Clock
    ) -> None:
        self._rules, self._state, self._records, self._lister, self._clock = rules, state, records, lister, clock

    def rules_that_prune(self) -> tuple[Rules, list[Rule]] | RulesNotInForce:
        """Find the rules, another one first each day, so that none is left out for good when time runs short.

        Raises: ConfigError, StorageError.
        """
        rules = self._rules()
        found = sorted((rule for rule in rules.rules if rule.prune is not None), key=lambda rule: rule.name)
        if found and (why := self._why_not(rules)) is not None:
            return RulesNotInForce(why)
        first = self._clock().toordinal() % len(found) if found else 0
        return rules, [*found[first:], *found[:first]]

    def _why_not(self, rules: Rules) -> str | None:
        heartbeat = self._records.load_heartbeat()
        if not rules_allow_retirement(rules, self._state.load(), heartbeat):
            return "the rules are not those of the last checks, or are not valid"
        if heartbeat is None or self._clock() - heartbeat.at > _CHECKED_WITHIN:
            return "no checks were made for a day"
        return None

    def plan(self, rule: Rule, rules: Rules) -> RulePlan:
        """Plan what goes of one rule's tags. What fails is part of the plan."""
        policy = rule.prune or Prune()
        try:
            return self._plan(rule, policy, rules, self._clock())
        except PullaheadError as error:
            return RulePlan(rule, policy, PrunePlan((), {}, {}), {}, {}, error=error)

    def _plan(self, rule: Rule, policy: Prune, rules: Rules, now: datetime) -> RulePlan:
        key = rule_key(rule)
        listing = self._listing(key)
        listed = {} if rule.is_namespace else self._lister.list_tags(rule.repository)
        records = self._load(rule.repository, listed)
        mine = [record for record in records if record.key.tag in listed and _is_of(record, rule, rules)]
        tags = {record.key: PublishedTag(record, listed[record.key.tag]) for record in mine}
        others = [record for record in records if record.key not in tags]
        today = pruned_today(listing, now)
        plan = plan_pruning(rule, policy, listing, list(tags.values()), rules, now, today, others)
        expired = tuple(
            Expired(record.key, kept)
            for record in records
            if plan.doubt is None and record.kept and _is_of(record, rule, rules)
            for kept in expired_previous(record, rule, rules, now, is_pruned=_is_pruned(record, listed))
            if listed.get(kept.tag) == kept.digest
        )
        return RulePlan(rule, policy, plan, tags, listed, records, expired)

    def _listing(self, key: RuleKey) -> Record | None:
        try:
            return self._records.load_one(key)
        except NewerRecordError:
            return None

    def _load(self, repository: str, listed: Mapping[str, Digest]) -> list[MirrorRecord]:
        """Read the records of tags, and of those whose previous digests are kept, without their history."""
        named = {tag_before_move(tag) or tag for tag in listed if subject_of_tag(tag) is None}
        found = self._records.load([MirrorKey(repository, tag) for tag in sorted(named)])
        return [structs.replace(record, past=(), outbox=(), scan=None) for record in found.values()]


def pruned_today(listing: Record | None, now: datetime) -> int:
    """Return how many of a rule's tags were removed on this day, in UTC."""
    is_today = isinstance(listing, RuleRecord) and listing.pruned_on == now.date().isoformat()
    return listing.pruned_count if is_today and isinstance(listing, RuleRecord) else 0


def _is_pruned(record: MirrorRecord, listed: Mapping[str, Digest]) -> bool:
    missing = record.missing
    return missing is not None and missing.removed_at is not None and record.key.tag not in listed


def _is_of(record: MirrorRecord, rule: Rule, rules: Rules) -> bool:
    """Whether a rule has published a tag: by its upstream, its template, and as no other rule may choose it now."""
    key = record.key
    upstream = parse_reference(record.upstream)
    if upstream.repository != rule.upstream or upstream.tag != published_from(rule.tags.template, key.tag):
        return rule.tags.is_named(key.tag)
    chooses = rules.find_rule(key.repository, key.tag)
    return chooses is None or chooses.name == rule.name
