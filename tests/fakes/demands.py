"""What was demanded, without DynamoDB; writes are conditional as DynamoDB's are."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime

from pullahead.mirrors.demand import Demand
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.script import Script


class FakeDemands:
    """Implements `pullahead.on_demand.ports.DemandStore`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.stored: dict[MirrorKey, Demand] = {}
        self.expiries: dict[MirrorKey, datetime] = {}
        self.counts: Counter[tuple[str, date]] = Counter()

    @property
    def writes(self) -> int:
        """Count the writes, refused ones included."""
        return self.script.count("save_demand", "forget", "count_demand")

    def load(self, keys: Collection[MirrorKey]) -> Mapping[MirrorKey, Demand]:
        with self.script.call("load_demands"):
            return {key: self.stored[key] for key in keys if key in self.stored}

    def save(self, demand: Demand, before: Demand | None, expires_at: datetime) -> bool:
        with self.script.call("save_demand"):
            if self.stored.get(demand.key) != before:
                return False
            self.stored[demand.key], self.expiries[demand.key] = demand, expires_at
            return True

    def of_rule(self, rule: str) -> Iterator[Demand]:
        with self.script.call("of_rule"):
            line = [demand for demand in self.stored.values() if demand.rule == rule]
            yield from sorted(line, key=lambda demand: demand.since)

    def forget(self, demand: Demand) -> bool:
        with self.script.call("forget"):
            if self.stored.get(demand.key) != demand:
                return False
            del self.stored[demand.key]
            return True

    def count(self, rule: str, day: date, limit: int) -> bool:
        with self.script.call("count_demand"):
            if self.counts[rule, day] >= limit:
                return False
            self.counts[rule, day] += 1
            return True
