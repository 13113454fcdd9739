"""Which tags are to be removed from ECR: those that upstream removed, or that their rule no longer chooses. Pure.

Everything here errs towards keeping. A tag is due only if all of this holds:

- Its rule prunes, chooses tags by patterns, follows now, and is of the rules file.
- Pullahead published what ECR serves under it.
- No rule names it, no other rule may choose it, and none pins its digest; nothing keeps its digest as a previous one.
- It was found missing on enough different days, by listings that are sound: neither failed, nor empty, nor without most
  of what they had. A day without such a listing does not count; after a week without one, as after a clock that jumps
  so far, counting begins anew.
- No more than a share of the rule's tags goes in a day.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import structs

from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.mirrors.previous import KeptDigest, still_kept
from pullahead.mirrors.record import MirrorRecord, Record, RuleRecord, State
from pullahead.oci import Digest
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import KeepPrevious, Prune, Rule, Rules, Source
from pullahead.rules.published_tags import published_from
from pullahead.rules.tag_patterns import allows, select

_COUNTED_EVERY = timedelta(hours=20)  # of a function that runs once a day
_FORGOTTEN_AFTER = timedelta(days=7)  # nobody has looked for so long: it may have been there meanwhile
_SUSPICIOUS_SHARE = 0.5
_SOUND_FOR = timedelta(days=1)  # a listing that has only just recovered may be short
_DAY = timedelta(days=1)


class PublishedTag(NamedTuple):
    """A tag in ECR that a rule has published: its record, and what ECR serves under it now."""

    record: MirrorRecord
    served: Digest | None

    @property
    def missing(self) -> Missing | None:
        """Since when it is missing from what the rule chooses, as far as earlier days tell."""
        return self.record.missing


class PrunePlan(NamedTuple):
    """What to remove now, why the others that are due stay, and what is to be remembered of each tag."""

    due: tuple[MirrorKey, ...]
    held: Mapping[MirrorKey, str]
    missing: Mapping[MirrorKey, Missing | None]
    doubt: str | None = None  # why the listing proves nothing today, so that no day is counted


def plan_pruning(
    rule: Rule,
    policy: Prune,
    listing: Record | None,
    tags: Sequence[PublishedTag],
    rules: Rules,
    now: datetime,
    pruned_today: int = 0,
    others: Sequence[MirrorRecord] = (),
) -> PrunePlan:
    """Plan what goes of the tags that one rule has published into one repository.

    `tags` are all of them, those that are not missing included; `pruned_today` went already. `others` are records of
    the repository besides: they may keep previous digests, too.
    """
    known = {each.record.key: each.missing for each in tags}
    if (doubt := _doubt(rule, listing, tags, rules, now)) is not None:
        due = {key: doubt for key, missing in known.items() if _is_due(missing, policy, now)}
        return PrunePlan((), due, known, doubt)
    found = {each.record.key: _next(each, rule, listing, now) for each in tags}
    due_now = [each for each in tags if _is_due(found[each.record.key], policy, now)]
    keeping = _keeping([*(each.record for each in tags), *others], rule, rules, now)
    named = ((each.record.key, _named_by(each, rule, keeping, rules)) for each in due_now)
    held = {key: why for key, why in named if why is not None}
    ready = sorted(
        (each.record.key for each in due_now if each.record.key not in held), key=lambda key: (*_turn(found[key]), key)
    )
    room = room_of(policy, len(tags), pruned_today) if policy.deletes else len(ready)
    limit = f"at_most: no more than {policy.at_most:.0%} of {len(tags)} tags go in a day"
    return PrunePlan(tuple(ready[:room]), held | dict.fromkeys(ready[room:], limit), found)


def room_of(policy: Prune, tags: int, pruned_today: int) -> int:
    """Return how many of a rule's tags may still go today."""
    return max(0, int(tags * policy.at_most) - pruned_today)


def expired_previous(
    record: MirrorRecord, rule: Rule, rules: Rules, now: datetime, *, is_pruned: bool = False
) -> tuple[KeptDigest, ...]:
    """List what `keep_previous` kept of a tag, and keeps no longer.

    Where the rules do not say for how long, nothing; or all of it, if the tag itself was pruned.
    """
    policy = _keeps(record.key, rule, rules)
    if (policy is None and not is_pruned) or rules.is_inactive(rule.name):
        return ()
    kept = still_kept(record.kept, policy, now)
    pinned = _pinned(rules.rules_of(record.key.repository))
    return tuple(each for each in record.kept if each not in kept and each.digest not in pinned)


def _keeps(key: MirrorKey, rule: Rule, rules: Rules) -> KeepPrevious | None:
    """Find what is kept of a tag: what its rule says or, where no rule chooses it, the one that published it."""
    mirror = rules.find(key.repository, key.tag)
    return mirror.keep_previous if mirror is not None else rule.keep_previous


def _pinned(rules: Iterable[Rule]) -> frozenset[Digest]:
    return frozenset(named.digest for rule in rules for named in rule.tags.renamed if named.digest is not None)


def _turn(missing: Missing | None) -> tuple[bool, datetime, datetime]:
    """Order tags that are due: the longest missing first, those that ECR did not let go last, or they took every day's
    share."""
    assert missing is not None  # noqa: S101 - it is due
    return missing.left_at is not None, missing.left_at or missing.since, missing.since


def _doubt(rule: Rule, listing: Record | None, tags: Sequence[PublishedTag], rules: Rules, now: datetime) -> str | None:
    """Return why the listing of a rule proves nothing about what is missing."""
    if rule.source is not Source.FILE or rule.on_demand is not None or not rule.tags.patterns or rule.is_namespace:
        return "the rule does not choose tags of one repository by patterns"
    if rules.is_inactive(rule.name):
        return "the rule is paused, or cannot be followed"
    if not isinstance(listing, RuleRecord) or listing.state is not State.FRESH:
        return "the last listing failed, or there is none"
    if not listing.followed:
        return "the last listing chose nothing, or too much to be kept"
    if now - listing.since < _SOUND_FOR:
        return "the listing has not been sound for a day"
    return _why_suspicious(rule, listing, tags)


def _why_suspicious(rule: Rule, listing: RuleRecord, tags: Sequence[PublishedTag]) -> str | None:
    """Say so where a listing is without most of the tags that it had, though the rule would choose them.

    What the rule no longer chooses, since it was changed or by `newest`, says nothing about the listing. What is found
    missing is not counted meanwhile: the listing stays suspicious until it has the tags again.
    """
    had, lost = 0, 0
    for each in tags:
        if _is_followed(each.record, rule, listing):
            had += 1
        elif each.missing is None and _reason(each.record, rule, listing) is PruneReason.GONE:
            lost += 1
    if lost > (had + lost) * _SUSPICIOUS_SHARE:
        return f"{lost} of {had + lost} tags are missing upstream all at once, which is suspicious"
    return None


def _reason(record: MirrorRecord, rule: Rule, listing: RuleRecord) -> PruneReason:
    """Tell why a tag is not in a listing's choice: the rule would choose it, so that upstream cannot have listed it."""
    tag = published_from(rule.tags.template, record.key.tag)
    if record.state is State.GONE:
        return PruneReason.GONE
    if tag is None or not allows(rule.tags, tag):
        return PruneReason.UNCHOSEN
    if rule.tags.newest is None:
        return PruneReason.GONE
    named = (each.name for each in rule.tags.named if each.name is not None)
    without_limits = rule.tags._replace(min_tags=0, max_tags=sys.maxsize)
    would_choose = tag in select(without_limits, (*listing.followed, *named, tag))
    return PruneReason.GONE if would_choose else PruneReason.UNCHOSEN


def _is_followed(record: MirrorRecord, rule: Rule, listing: RuleRecord) -> bool:
    tag = published_from(rule.tags.template, record.key.tag)
    return rule.tags.is_named(record.key.tag) or tag in listing.followed


def _next(each: PublishedTag, rule: Rule, listing: Record | None, now: datetime) -> Missing | None:
    """Count another day on which a tag is missing; one on which it is not begins anew."""
    if not isinstance(listing, RuleRecord) or _is_followed(each.record, rule, listing):
        return None
    reason, before = _reason(each.record, rule, listing), each.missing
    if before is None or before.reason is not reason or not timedelta() <= now - before.last <= _FORGOTTEN_AFTER:
        return Missing(reason, now, 1, now)
    if now - before.last < _COUNTED_EVERY:
        return before
    return structs.replace(before, days=before.days + 1, last=now)


def _is_due(missing: Missing | None, policy: Prune, now: datetime) -> bool:
    if missing is None:
        return False
    after = policy.gone if missing.reason is PruneReason.GONE else policy.unchosen
    return after is not None and now - missing.since >= after and missing.days >= after / _DAY


def _keeping(records: Iterable[MirrorRecord], rule: Rule, rules: Rules, now: datetime) -> frozenset[Digest]:
    """Collect the digests that tags have served and `keep_previous` still keeps."""
    with_kept = (record for record in records if record.kept)
    kept = (still_kept(record.kept, _keeps(record.key, rule, rules), now) for record in with_kept)
    return frozenset(each.digest for some in kept for each in some)


def _named_by(each: PublishedTag, rule: Rule, keeping: frozenset[Digest], rules: Rules) -> str | None:
    """Return what still names a tag, or what it serves; or why it is not Pullahead's own."""
    record, served = each.record, each.served
    key, last = record.key, record.last_refresh.digest if record.last_refresh is not None else None
    if served is None or served != record.published_digest or last != served:
        return "Pullahead has not published what ECR serves"
    candidates = rules.rules_of(key.repository)
    if rules.named_mirrors.find(key) is not None or any(one.tags.is_named(key.tag) for one in candidates):
        return "a rule names it"
    chooses = rules.find_rule(key.repository, key.tag)
    if chooses is not None and chooses.name != rule.name:
        return f"the rule {chooses.name} may choose it"
    wanted = {served, record.upstream_digest}
    if wanted & _pinned(candidates):
        return "a rule pins its digest"
    return "keep_previous names its digest" if wanted & keeping else None
