"""The type checker proves that the fakes are ports; this makes it look."""

from pullahead.alerts.ports import AlertPublisher, IncidentStore
from pullahead.checks.ports import CheckQueue, Replications
from pullahead.clock import Clock
from pullahead.mirrors.outbox import OutcomeEventBus
from pullahead.mirrors.store import RecordStore
from pullahead.oci.registries import Target, Upstream
from pullahead.on_demand.ports import DemandStore
from pullahead.refresh.ports import PlanStore, RefreshExecutions
from tests.fakes.alerts import FakeAlerts, FakeIncidents
from tests.fakes.demands import FakeDemands
from tests.fakes.memory import (
    FakeCheckQueue,
    FakeClock,
    FakePlanStore,
    FakeRecords,
    FakeRefreshExecutions,
    FakeReplications,
)
from tests.fakes.outcomes import FakeOutcomes
from tests.fakes.script import Script
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream


def test_fakes_of_one_test_share_one_script() -> None:
    script = Script()
    upstream: Upstream = FakeUpstream(script)
    target: Target = FakeTarget(script)
    records: RecordStore = FakeRecords(script)
    plans: PlanStore = FakePlanStore(script)
    refreshes: RefreshExecutions = FakeRefreshExecutions(script)
    queue: CheckQueue = FakeCheckQueue(script)
    alerts: AlertPublisher = FakeAlerts(script)
    incidents: IncidentStore = FakeIncidents(script)
    outcomes: OutcomeEventBus = FakeOutcomes(script)
    demands: DemandStore = FakeDemands(script)
    replications: Replications = FakeReplications(script)
    clock: Clock = FakeClock()
    assert None not in (upstream, refreshes, alerts, incidents, outcomes, demands, replications, clock)
    target.ensure_repository("mirror/app")
    plans.write("key", b"")
    records.load([])
    queue.send([])
    assert script.calls == ["ensure_repository", "write", "load", "send"]
