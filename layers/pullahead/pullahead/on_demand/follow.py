"""Follow what was demanded of a rule: it is looked up where another rule's tags are listed, and asks no upstream.

Forgets what nobody pulls any more, and what upstream never had. What is in ECR stays there.
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

_LOADED_AT_ONCE = 100


class FollowDemands:
    """The use case, with what it looks up and forgets, and the queue for checks."""

    def __init__(
        self, rules: Callable[[], Rules], demands: DemandStore, records: RecordStore, queue: CheckQueue
    ) -> None:
        self._rules, self._demands, self._records, self._queue = rules, demands, records, queue

    def __call__(self, rule: Rule, bounds: OnDemand, now: datetime) -> DemandsLookup:
        """Queue a check of all that was demanded and still is wanted. Raises: StorageError, ConflictError."""
        followed, forgotten = list[Mirror](), 0
        demands = self._demands.of_rule(rule.name)
        while some := tuple(islice(demands, _LOADED_AT_ONCE)):
            records = self._unproven(some)
            for demand in some:
                mirror, record = self._mirror_of(demand), records.get(demand.key)
                if _is_idle(demand, record, bounds, now):
                    forgotten += self._forget(demand, mirror, now)
                elif mirror is not None and self._is_wanted(demand, record, bounds):
                    followed.append(mirror)
        self._queue.send(list(_checks(followed, now)))
        update_record(self._records, rule_key(rule), lambda before: limit_over(before, now))
        return DemandsLookup(len(followed), forgotten)

    def _unproven(self, demands: Iterable[Demand]) -> Mapping[MirrorKey, MirrorRecord]:
        """Load the records that tell whether there is such a tag, where that is not known yet."""
        keys = [demand.key for demand in demands if not demand.kept]
        return self._records.load(keys) if keys else {}

    def _mirror_of(self, demand: Demand) -> Mirror | None:
        """Find the mirror; None where its rule allows it no more, or another rule names it."""
        mirror = self._rules().find(demand.key.repository, demand.key.tag)
        return mirror if mirror is not None and mirror.rule == demand.rule else None

    def _is_wanted(self, demand: Demand, record: MirrorRecord | None, bounds: OnDemand) -> bool:
        """Whether to check a mirror by the clock; what upstream does not have, a pull may ask for again."""
        if not demand.kept and was_published(record):
            self._demands.save(demand._replace(kept=True), demand, demand.expires_at(bounds))
        return demand.kept or not is_absent(record)

    def _forget(self, demand: Demand, mirror: Mirror | None, now: datetime) -> bool:
        """Forget a demand, and in time the mirror's record, which the next check takes back if it is demanded anew."""

        def retire(record: MirrorRecord | None) -> MirrorRecord | None:
            return retired(record, now, told=False) if record is not None and record.expires_at is None else None

        if mirror is not None:  # else another rule has a use for the record, or nobody, which the review finds
            update_record(self._records, demand.key, retire)
        return self._demands.forget(demand)


def _is_idle(demand: Demand, record: MirrorRecord | None, bounds: OnDemand, now: datetime) -> bool:
    is_mistake = not demand.kept and is_absent(record) and demand.is_mistaken(now)
    return is_mistake or demand.is_over(bounds, now)


def _checks(mirrors: Iterable[Mirror], now: datetime) -> Iterator[CheckRequest]:
    for repository, tags in batches(mirrors, MAX_TAGS_PER_CHECK):
        yield CheckRequest(reason="schedule", repository=repository, tags=tags, asked_at=now)
