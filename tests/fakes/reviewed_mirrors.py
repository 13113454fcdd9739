"""Mirrors that are judged by given observations, and reviewed."""

from datetime import timedelta

from pullahead.alerts.review import Reviewed
from pullahead.errors import RegistryUnavailableError
from pullahead.mirrors.alert import Alert
from pullahead.mirrors.judge import Observation, judge
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.store import Heartbeat
from pullahead.oci import parse_reference
from pullahead.rules.model import Mirror
from tests.fakes.alerts import ReviewedService
from tests.fakes.samples import failed, root, rules

OLD, NEW, OTHER = root("old"), root("new"), root("other")
FRESH, STALE = Observation(OLD, OLD.digest), Observation(NEW, OLD.digest)
DRIFTED = Observation(OLD, OTHER.digest)
DOWN = Observation(failed(RegistryUnavailableError, "it is down"), OLD.digest)
ALERT_AFTER = timedelta(hours=1)


class ReviewedMirrors(ReviewedService):
    """Mirrors of registries, by default of `ghcr.io`, that are checked and reviewed. All are fresh at first."""

    def __init__(self, *names: str, host: str = "ghcr.io") -> None:
        super().__init__(lambda: rules(self.mirrors.values()))
        self.mirrors = {name: self.mirror(name, host) for name in names or ("a",)}
        self.check(FRESH)

    def mirror(self, name: str, host: str) -> Mirror:
        upstream = parse_reference(f"{host}/team/{name}:1.0")
        return Mirror(upstream, f"mirror/{name}", "1.0", timedelta(minutes=5), ALERT_AFTER, rule="app")

    def check(self, observed: Observation, *names: str, **later: float) -> None:
        """Advance the clock, and judge mirrors, by default all, by an observation."""
        self.clock.advance(**later)
        for name in names or self.mirrors:
            mirror = self.mirrors[name]
            known = self.records.stored.get(mirror.key)
            after = judge(observed, known, mirror, self.clock()).record
            if not after.says_the_same_as(known):
                self.records.save(after, known.version if known is not None else 0)

    def review(self, left: float = 300.0, **later: float) -> Reviewed:
        """Advance the clock with a running schedule, and review."""
        self.clock.advance(**later)
        self.records.heartbeat = Heartbeat(self.clock(), "another")
        return super().review(left)

    def stale(self, *names: str) -> None:
        """Make mirrors stale for longer than `alert_after`."""
        self.check(STALE, *names)
        self.check(STALE, *names, minutes=61)

    def record(self, name: str = "a") -> MirrorRecord:
        return self.records.stored[self.mirrors[name].key]

    @property
    def pending(self) -> list[Alert]:
        return [alert for record in self.records.stored.values() for alert in record.pending]
