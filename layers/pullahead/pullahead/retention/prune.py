"""Remove from ECR what the rules' plans say, or report it, and remember since when each tag is missing.

What makes a removal right is written before it: the day's count in the rule's record, so that a run that dies, or two
at once, never remove more than the share; and in the tag's record that it goes, so that the event of its deletion does
not restore it. A tag whose removal fails is due again the next day.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

from msgspec import structs

from pullahead.clock import Clock
from pullahead.errors import PullaheadError
from pullahead.mirrors.missing import Missing
from pullahead.mirrors.outbox import OutboxSender, with_pruning
from pullahead.mirrors.outcome_event import OutcomeKind
from pullahead.mirrors.pruning import room_of
from pullahead.mirrors.record import MirrorRecord, Record, RuleRecord
from pullahead.mirrors.retirement import FORGOTTEN_AFTER, retired
from pullahead.mirrors.rule_record import rule_key
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.oci import Digest
from pullahead.oci.referrers import cosign_tags, fallback_tag, subject_of_tag
from pullahead.retention.plan import Expired, PlanPruning, RulePlan, RulesNotInForce, pruned_today
from pullahead.retention.ports import Removal, Removed, TagRemover
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.published_tags import tag_before_move

MAX_REMOVED: Final = 1000
"""Tags, and as many previous digests, of one rule in one run: the others follow the next day."""

_T = TypeVar("_T")
_THREADS: Final = 8
_RULE_SECONDS: Final = 120.0  # without so much, no further rule is begun
_RESERVED_SECONDS: Final = 30.0  # for what is running when the time ends


class PrunedRule(NamedTuple):
    """What was done for one rule: which tags went, or would; how many are held, and why the first is."""

    rule: str
    removed: tuple[str, ...] = ()
    due: tuple[str, ...] = ()
    missing: int = 0
    held: int = 0
    why_held: str = ""
    doubt: str = ""
    previous_removed: int = 0
    errors: tuple[PullaheadError, ...] = ()


class Pruned(NamedTuple):
    """What one run did. `left`: rules for which there was no time; `why_not`: why nothing could be done at all."""

    rules: tuple[PrunedRule, ...] = ()
    left: int = 0
    why_not: str = ""

    @property
    def errors(self) -> tuple[PullaheadError, ...]:
        """What failed. It stopped nothing else."""
        return tuple(error for rule in self.rules for error in rule.errors)


class PrunePorts(NamedTuple):
    """What pruning writes to."""

    records: RecordStore
    remover: TagRemover
    outbox: OutboxSender
    clock: Clock


class PruneTags:
    """Prunes once, as the schedule asks for once a day."""

    def __init__(self, plan: PlanPruning, ports: PrunePorts) -> None:
        self._plan, self._ports = plan, ports

    def __call__(self, remaining_seconds: Callable[[], float]) -> Pruned:
        """Prune by every rule that prunes. Raises: ConfigError, StorageError where rules or heartbeat are unknown."""
        found = self._plan.rules_that_prune()
        if isinstance(found, RulesNotInForce):
            return Pruned(why_not=found.why)
        rules, pruning = found
        done: list[PrunedRule] = []
        for rule in pruning:
            if remaining_seconds() < _RULE_SECONDS:
                break
            done.append(_Pruning(self._ports, self._plan.plan(rule, rules), remaining_seconds).run())
        self._ports.outbox.flush()
        return Pruned(tuple(done), len(pruning) - len(done))


class _Pruning:
    """The pruning of one rule."""

    def __init__(self, ports: PrunePorts, found: RulePlan, remaining_seconds: Callable[[], float]) -> None:
        self._records, self._remover, self._outbox, clock = ports
        self._found, self._remaining_seconds, self._now = found, remaining_seconds, clock()
        self._tags_of = Counter(digest for tag, digest in found.listed.items() if subject_of_tag(tag) is None)
        self._tagged = frozenset(found.listed.values())
        self._errors: list[PullaheadError] = [found.error] if found.error is not None else []

    def run(self) -> PrunedRule:
        found = self._found
        self._each(sorted(self._to_remember()), self._remember)
        removed, expired = tuple[str, ...](), 0
        if found.policy.deletes:
            removed = tuple(key.tag for key in self._one_by_one(self._reserved(), self._remove))
            expired = len(list(self._one_by_one(found.expired[:MAX_REMOVED], self._remove_previous)))
        else:
            self._each(found.plan.due, self._report)
        return PrunedRule(
            found.rule.name,
            removed,
            tuple(key.tag for key in found.plan.due),
            sum(missing is not None for missing in found.plan.missing.values()),
            len(found.plan.held),
            next(iter(found.plan.held.values()), ""),
            found.plan.doubt or "",
            expired,
            tuple(self._errors),
        )

    def _to_remember(self) -> Iterator[MirrorKey]:
        """Find the tags of which something is to be written: what is missing is written once a day."""
        keeping = {tag_before_move(tag) for tag in self._found.listed}
        for record in self._found.records:
            missing = self._found.plan.missing.get(record.key, record.missing)
            is_needed = missing is not None or record.key.tag in keeping
            if missing != record.missing or (is_needed and record.expires_at is not None):
                yield record.key

    def _remember(self, key: MirrorKey) -> None:
        """Write since when a tag is missing; and keep a retired record for as long as it may be needed here."""

        def change(known: MirrorRecord | None) -> MirrorRecord | None:
            if known is None:
                return None
            missing = self._found.plan.missing.get(key, known.missing)
            expires_at = known.expires_at if known.expires_at is None else self._now + FORGOTTEN_AFTER
            return known.with_changes(missing=missing, expires_at=expires_at)

        update_record(self._records, key, change)

    def _reserved(self) -> Sequence[MirrorKey]:
        """Count what goes today in the rule's record before it goes, by a conditional write."""
        found, taken = self._found, list[MirrorKey]()

        def change(known: Record | None) -> RuleRecord | None:
            room = room_of(found.policy, len(found.tags), pruned_today(known, self._now))
            taken[:] = found.plan.due[: min(room, MAX_REMOVED)]
            if not isinstance(known, RuleRecord) or not taken:
                taken.clear()
                return None
            count = pruned_today(known, self._now) + len(taken)
            return known.with_changes(pruned_on=self._now.date().isoformat(), pruned_count=count)

        try:
            update_record(self._records, rule_key(found.rule), change)
        except PullaheadError as error:
            self._errors.append(error)
            return ()
        return tuple(taken)

    def _remove(self, key: MirrorKey) -> bool:
        served = self._found.tags[key].served
        if served is None or not self._announce(key, served):
            return False
        if not self._remove_tag(key.tag, served):
            self._take_back(key)
            return False

        def change(known: MirrorRecord) -> MirrorRecord | None:
            if known.missing is None or known.published_digest != served:
                return None
            gone = retired(known, self._now, alerted=False).with_changes(published_digest=None)
            return with_pruning(gone, OutcomeKind.PRUNED, known.missing, self._found.rule.name, self._now)

        self._update_with_event(key, change)
        return True

    def _announce(self, key: MirrorKey, served: Digest) -> bool:
        """Write that a tag goes; not where anything has changed since the plan."""
        is_due = False

        def change(known: MirrorRecord | None) -> MirrorRecord | None:
            nonlocal is_due
            planned = self._found.plan.missing[key]
            is_due = (
                known is not None
                and known.missing is not None
                and planned is not None
                and known.missing.since == planned.since
                and known.published_digest == served
            )
            return _with_removal(known, removed_at=self._now) if is_due and known is not None else None

        update_record(self._records, key, change)
        return is_due

    def _take_back(self, key: MirrorKey) -> None:
        def change(known: MirrorRecord | None) -> MirrorRecord | None:
            return _with_removal(known, removed_at=None, left_at=self._now) if known is not None else None

        update_record(self._records, key, change)

    def _remove_tag(self, tag: str, digest: Digest) -> bool:
        """Remove a tag; and with the last one of a manifest what belongs to it."""
        repository = self._found.rule.repository
        removal = Removal(tag, digest)
        if self._tags_of[digest] == 1:
            removal = Removal(tag, digest, self._referring_tags([digest]), with_manifest=True, tagged=self._tagged)
        removed = self._remover.remove(repository, removal)
        if tag not in removed.names:
            return False
        self._tags_of[digest] -= 1
        left = self._referring_tags(removed.children)
        signatures = self._remover.remove_tags(repository, left) if left else Removed()
        self._errors += [error for error in (removed.error, signatures.error) if error is not None]
        return True

    def _referring_tags(self, digests: Iterable[Digest]) -> tuple[str, ...]:
        """List the tags that keep what refers to manifests, but those that are mirrors of their own."""
        named = (tag for digest in digests for tag in (fallback_tag(digest), *cosign_tags(digest)))
        belonging = [each for each in named if each in self._found.listed]
        if not belonging:
            return ()
        mirrors = self._records.load([MirrorKey(self._found.rule.repository, each) for each in belonging])
        followed = {key.tag for key, record in mirrors.items() if record.expires_at is None}
        return tuple(each for each in belonging if each not in followed)

    def _remove_previous(self, expired: Expired) -> bool:
        if not self._remove_tag(expired.kept.tag, expired.kept.digest):
            return False

        def change(known: MirrorRecord | None) -> MirrorRecord | None:
            if known is None:
                return None
            return known.with_changes(kept=tuple(each for each in known.kept if each != expired.kept))

        update_record(self._records, expired.key, change)
        return True

    def _report(self, key: MirrorKey) -> None:
        """Report once by an event that a tag would go."""

        def change(known: MirrorRecord) -> MirrorRecord | None:
            if known.missing is None or known.missing.reported:
                return None
            after = known.with_changes(missing=structs.replace(known.missing, reported=True))
            return with_pruning(after, OutcomeKind.PRUNE_DUE, known.missing, self._found.rule.name, self._now)

        self._update_with_event(key, change)

    def _update_with_event(self, key: MirrorKey, change: Callable[[MirrorRecord], MirrorRecord | None]) -> None:
        """Change a record, and note the event that this makes due."""
        before: MirrorRecord | None = None

        def changed(known: MirrorRecord | None) -> MirrorRecord | None:
            nonlocal before
            before = known
            return change(known) if known is not None else None

        after = update_record(self._records, key, changed)
        if after is not None and after is not before:
            self._outbox.note(before, after)

    def _each(self, keys: Sequence[MirrorKey], work: Callable[[MirrorKey], None]) -> None:
        """Do something for several tags at once, as long as there is time."""

        def one(key: MirrorKey) -> PullaheadError | None:
            if self._remaining_seconds() < _RESERVED_SECONDS:
                return None
            try:
                work(key)
            except PullaheadError as error:
                return error
            return None

        if keys:
            with ThreadPoolExecutor(min(_THREADS, len(keys))) as pool:
                self._errors += [error for error in pool.map(one, keys) if error is not None]

    def _one_by_one(self, items: Iterable[_T], work: Callable[[_T], bool]) -> Iterator[_T]:
        """Do something for each, as long as there is time; give those for which it was done."""
        for item in items:
            if self._remaining_seconds() < _RESERVED_SECONDS:
                return
            try:
                if work(item):
                    yield item
            except PullaheadError as error:
                self._errors.append(error)


def _with_removal(record: MirrorRecord, **changes: datetime | None) -> MirrorRecord:
    missing: Missing | None = record.missing
    return record if missing is None else record.with_changes(missing=structs.replace(missing, **changes))
