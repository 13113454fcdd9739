"""The type checker proves that the fakes are ports; this makes it look."""

from pullahead.ports import (
    Clock,
    Plans,
    PublishesAlerts,
    QueuesChecks,
    Records,
    ScansRecords,
    StartsRefreshes,
    Target,
    Upstream,
)
from tests.fakes.memory import FakeAlerts, FakeClock, FakePlans, FakeQueue, FakeRecords, FakeRefreshes
from tests.fakes.script import Script
from tests.fakes.target import FakeTarget
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
    clock: Clock = FakeClock()
    assert None not in (upstream, scanned, refreshes, alerts, clock)
    target.ensure_repository("mirror/app")
    plans.write("key", b"")
    records.load([])
    queue.send([])
    assert script.calls == ["ensure_repository", "write", "load", "send"]
