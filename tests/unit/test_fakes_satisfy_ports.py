"""The type checker proves that the fakes are ports; this makes it look."""

from pullahead.alerts.ports import KeepsIncidents, PublishesAlerts, TakesTurns
from pullahead.checks.ports import QueuesChecks
from pullahead.clock import Clock
from pullahead.mirrors.outbox import PublishesOutcomes
from pullahead.mirrors.store import Records, ScansRecords
from pullahead.oci.registries import Target, Upstream
from pullahead.on_demand.ports import Demands
from pullahead.refresh.ports import Plans, StartsRefreshes
from tests.fakes.demands import FakeDemands
from tests.fakes.memory import FakeClock, FakePlans, FakeQueue, FakeRecords, FakeRefreshes
from tests.fakes.outcomes import FakeOutcomes
from tests.fakes.script import Script
from tests.fakes.target import FakeTarget
from tests.fakes.telling import FakeAlerts, FakeIncidents
from tests.fakes.upstream import FakeUpstream


def test_fakes_of_one_test_share_one_script() -> None:
    script = Script()
    upstream: Upstream = FakeUpstream(script)
    target: Target = FakeTarget(script)
    records: Records = FakeRecords(script)
    scanned: ScansRecords = FakeRecords(script)
    plans: Plans = FakePlans(script)
    refreshes: StartsRefreshes = FakeRefreshes(script)
    queue: QueuesChecks = FakeQueue(script)
    alerts: PublishesAlerts = FakeAlerts(script)
    incidents: KeepsIncidents = FakeIncidents(script)
    turns: TakesTurns = FakeIncidents(script)
    outcomes: PublishesOutcomes = FakeOutcomes(script)
    demands: Demands = FakeDemands(script)
    clock: Clock = FakeClock()
    assert None not in (upstream, scanned, refreshes, alerts, incidents, turns, outcomes, demands, clock)
    target.ensure_repository("mirror/app")
    plans.write("key", b"")
    records.load([])
    queue.send([])
    assert script.calls == ["ensure_repository", "write", "load", "send"]
