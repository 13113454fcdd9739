"""Queue checks of the mirrors that were demanded of a rule, and delete demands that have expired.

A demand expires when nobody pulls the mirror any more, or upstream never had it. Its copy stays in ECR.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice

from pullahead.checks.ports import CheckQueue
from pullahead.checks.schedule import batches
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest
from pullahead.mirrors.demand import Demand, DemandsLookup, is_absent, was_published
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.retirement import retired
from pullahead.mirrors.rule_record import limit_over, rule_key
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.on_demand.ports import DemandStore
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, OnDemand, Rule, Rules
from pullahead.rules.named_mirrors import NamedMirrors

_LOADED_AT_ONCE = 100


class FollowDemands:
    """Goes through the demands of rules."""

    def __init__(
        self, rules: Callable[[], Rules], demands: DemandStore, records: RecordStore, queue: CheckQueue
    ) -> None:
        self._rules, self._demands, self._records, self._queue = rules, demands, records, queue

    def __call__(self, rule: Rule, bounds: OnDemand, now: datetime) -> DemandsLookup:
        """Queue checks of all demands of a rule that have not expired. Raises: StorageError, ConflictError."""
        checked, deleted = list[Mirror](), 0
        demands = self._demands.of_rule(rule.name)
        while some := tuple(islice(demands, _LOADED_AT_ONCE)):
            records = self._load_unproven(some)
            for demand in some:
                mirror, record = self._mirror_of(demand), records.get(demand.key)
                if _is_expired(demand, record, bounds, now):
                    deleted += self._delete(demand, mirror, now)
                elif mirror is not None and self._is_wanted(demand, record, bounds):
                    checked.append(mirror)
        self._queue.send(list(_checks(checked, now)))
        update_record(self._records, rule_key(rule), lambda before: limit_over(before, now))
        return DemandsLookup(len(checked), deleted)

    def _load_unproven(self, demands: Iterable[Demand]) -> Mapping[MirrorKey, MirrorRecord]:
        """Load the records of demands of which it is not known whether upstream has the tag."""
        keys = [demand.key for demand in demands if not demand.kept]
        return self._records.load(keys) if keys else {}

    def _mirror_of(self, demand: Demand) -> Mirror | None:
        """Find the mirror; None if its rule no longer allows it, or another rule names it."""
        mirror = self._rules().find(demand.key.repository, demand.key.tag)
        return mirror if mirror is not None and mirror.rule == demand.rule else None

    def _is_wanted(self, demand: Demand, record: MirrorRecord | None, bounds: OnDemand) -> bool:
        """Whether to check a mirror regularly; one that upstream does not have is checked on another pull."""
        if not demand.kept and was_published(record):
            self._demands.save(demand._replace(kept=True), demand, demand.expires_at(bounds))
        return demand.kept or not is_absent(record)

    def _delete(self, demand: Demand, mirror: Mirror | None, now: datetime) -> bool:
        """Delete a demand and let the mirror's record expire, which its next check undoes if it is demanded again."""

        def retire(record: MirrorRecord | None) -> MirrorRecord | None:
            return retired(record, now, alerted=False) if record is not None and record.expires_at is None else None

        if mirror is not None:  # else another rule needs the record or, if none does, the review retires it
            update_record(self._records, demand.key, retire)
        return self._demands.forget(demand)


def _is_expired(demand: Demand, record: MirrorRecord | None, bounds: OnDemand, now: datetime) -> bool:
    is_mistake = not demand.kept and is_absent(record) and demand.is_mistaken(now)
    return is_mistake or demand.is_over(bounds, now)


def _checks(mirrors: Iterable[Mirror], now: datetime) -> Iterator[CheckRequest]:
    for repository, tags in batches(NamedMirrors((), tuple(mirrors)).groups, MAX_TAGS_PER_CHECK):
        yield CheckRequest(reason="schedule", repository=repository, tags=tags, asked_at=now)
