"""A service that checks mirrors, all of it in memory."""

from collections.abc import Iterable
from datetime import timedelta

from local.images import LocalImage, make_image
from pullahead.checks.check import CheckMirrors, CheckPorts, CheckResult
from pullahead.checks.late_referrers import LookForReferrers
from pullahead.checks.timetable import is_ecr_asked
from pullahead.checks.upstream_pool import Backoffs, UpstreamPool
from pullahead.messages import CheckRequest, ReferrersOutcome
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.referrers import KnownReferrers
from pullahead.oci import Digest
from pullahead.rules.model import Mirror
from tests.fakes.memory import FakeCheckQueue, FakeClock, FakeRecords, FakeRefreshExecutions, FakeReplications
from tests.fakes.outcomes import FakeOutcomes, announcer
from tests.fakes.samples import REPOSITORY, mirror, rules
from tests.fakes.scans import FakeImageScans
from tests.fakes.script import Script
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream

FIRST, SECOND = make_image(seed=1), make_image(seed=2)


class CheckingService:
    """Mirrors of `ghcr.io/team/app`, by default the one of `1.0`, whose upstream serves FIRST."""

    def __init__(self, mirrors: Iterable[Mirror] | None = None) -> None:
        self.script = Script()
        self.rules = rules(mirrors)
        self.upstream, self.target = FakeUpstream(self.script), FakeTarget(self.script)
        self.records, self.refreshes = FakeRecords(self.script), FakeRefreshExecutions(self.script)
        self.queue, self.clock = FakeCheckQueue(self.script), FakeClock()
        self.replications = FakeReplications(self.script)
        self.scans = FakeImageScans(self.script, self.clock)
        self.outcomes = FakeOutcomes(self.script)
        self.announcer = announcer(self.records, self.clock, self.outcomes)
        for followed in self.rules.mirrors:
            self.upstream.serve(FIRST, str(followed.upstream))
        self.ports = CheckPorts(
            self.upstream,
            self.target.published_digests,
            self.records,
            self.refreshes.start,
            self.announcer,
            self.clock,
            self.upstream.quota,
            queue_looks=self.queue.send,
            replications=self.replications,
            scans=self.scans,
        )
        self.look = LookForReferrers(
            lambda: self.rules, self.upstream, self.records, self.refreshes.start, self.announcer, self.clock
        )
        self.use_case, self.backoffs = CheckMirrors(lambda: self.rules, self.ports), Backoffs()

    @property
    def alerts(self) -> list[str]:
        """List the kinds of the pending alerts, in order."""
        return [alert.kind.value for alert in self.records.decided]

    def publish(self, image: LocalImage = FIRST, tag: str = "1.0") -> None:
        """Let ECR serve an image."""
        self.target.move_tag(REPOSITORY, tag, image.digest)

    def check(self, *tags: str, repository: str = REPOSITORY, pushed: Digest | None = None) -> list[CheckResult]:
        """Check tags, by default `1.0`, as the schedule asks or as the push of a digest does."""
        return self.use_case(
            CheckRequest(
                reason="push" if pushed else "schedule",
                repository=repository,
                tags=tags or ("1.0",),
                asked_at=self.clock(),
                digest=pushed,
            ),
            self.pool(),
        )

    def pass_time(self, *, asks_ecr: bool) -> None:
        """Let time pass until the schedule's next check that asks ECR about what seems unchanged, or that does not."""
        followed = self.rules.mirrors[0]
        for _ in range(96):
            self.clock.advance(minutes=15)
            if is_ecr_asked(followed, self.clock()) is asks_ecr:
                return
        raise AssertionError(f"no check of a day {'asks ECR' if asks_ecr else 'relies on the record'}")

    def pool(self) -> UpstreamPool:
        """Make the pool of a batch, whose waits take no time."""
        return UpstreamPool(self.clock, self.backoffs, wait=lambda _seconds: None)

    def settle_referrers(self) -> None:
        """Let the referrers of every mirror have been copied long ago, so that no look is due for half a day."""
        since = self.clock() - timedelta(days=9, hours=12)
        for key, record in self.records.stored.items():
            if isinstance(record, MirrorRecord) and record.upstream_digest is not None:
                known = KnownReferrers(record.upstream_digest, since, ReferrersOutcome("f"))
                self.records.stored[key] = record.with_changes(referrers=known)

    def look_as_queued(self) -> list[CheckResult]:
        """Look for late referrers as often as checks have queued it."""
        sent, self.queue.sent[:] = list(self.queue.sent), []
        return [
            result for request in sent if isinstance(request, CheckRequest) for result in self.look(request).results
        ]

    def check_one(self, pushed: Digest | None = None) -> CheckResult:
        """Check the one mirror."""
        (result,) = self.check(pushed=pushed)
        return result

    def record(self, tag: str = "1.0") -> MirrorRecord:
        """Show what is remembered."""
        return self.records.stored[mirror(tag).key]
