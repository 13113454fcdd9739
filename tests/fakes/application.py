"""The application of `pullahead.wiring` with every adapter in memory."""

from pullahead.rules.model import Rules
from pullahead.rules.sources.gather import Gathered
from pullahead.settings import Settings
from pullahead.usecases.copy_unit import CopyUnit
from pullahead.usecases.rules_in_force import RulesInForce
from pullahead.wiring import Application
from tests.fakes.memory import FakeAlerts, FakeClock, FakePauses, FakePlans, FakeQueue, FakeRecords, FakeRefreshes
from tests.fakes.script import Script
from tests.fakes.sources import FakeStanding
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream


class InMemoryService:
    """One service: its world, and the application that works on it."""

    def __init__(self, rules: Rules, *, part_size: int = 10) -> None:
        self.script = Script()
        self.clock = FakeClock()
        self.upstream, self.target = FakeUpstream(self.script), FakeTarget(self.script, part_size=part_size)
        self.records, self.plans = FakeRecords(self.script), FakePlans(self.script)
        self.queue, self.refreshes = FakeQueue(self.script), FakeRefreshes(self.script)
        self.alerts, self.pauses = FakeAlerts(self.script), FakePauses(self.script)
        self.standing = FakeStanding()
        self.app = Application(Settings({}), self.clock)
        # What is a cached property there is an attribute as soon as it is set: nothing of AWS is ever made.
        vars(self.app).update(
            _rules_in_force=RulesInForce(lambda: rules, self.standing, self.clock),
            _gather_rules=lambda: Gathered(rules),
            _upstream=self.upstream,
            _target=self.target,
            _records=self.records,
            _plans=self.plans,
            _queue=self.queue,
            _refreshes=self.refreshes,
            _alerts=self.alerts,
            _pauses=self.pauses,
            _mounts=None,
            _copy_unit=CopyUnit(self.upstream, self.target, self.plans, lambda _breaks: None),
        )
