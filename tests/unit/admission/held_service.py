"""A service in memory that follows one tag whose rule has `admit`: checks, copies, publishes and outcomes."""

from collections.abc import Sequence
from datetime import timedelta

from local.images import LocalImage, make_image
from pullahead.clock import Clock
from pullahead.errors import PullaheadError
from pullahead.messages import (
    CheckRequest,
    Failure,
    OutcomeRequest,
    PlanResult,
    PublishRequest,
    PublishResult,
    RefreshRequest,
)
from pullahead.mirrors.record import MirrorRecord
from pullahead.oci import Digest
from pullahead.refresh.plan import plan_copy
from pullahead.refresh.ports import StartResult
from pullahead.refresh.publish import publish_image
from pullahead.refresh.record_outcome import record_outcome
from pullahead.rules.admission_policy import AdmissionPolicy
from pullahead.rules.model import NO_REFERRERS, Mirror
from tests.fakes.checks import CheckingService
from tests.fakes.memory import FakePlanStore
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, mirror, rules

DAY = timedelta(days=1)
POLICY = AdmissionPolicy(min_age=3 * DAY)
A, B, C, D = (make_image(seed=seed) for seed in (11, 12, 13, 14))
NAMES = {image.digest: name for name, image in {"A": A, "B": B, "C": C, "D": D}.items()}


class HeldService(CheckingService):
    """Follows `ghcr.io/team/app:1.0`. What a check starts is copied and published before the next one."""

    def __init__(self, policy: AdmissionPolicy | None = POLICY, made: Mirror | None = None) -> None:
        super().__init__([(made or mirror())._replace(admit=policy, referrers=NO_REFERRERS)])
        self.upstream.remove_all()
        self.target.ensure_repository(REPOSITORY)
        self.plans = FakePlanStore(self.script)
        self.publish_clock: Clock = self.clock
        self.results: list[PublishResult] = []
        self.done = 0
        self.fails_with: PullaheadError | None = None
        self.delays: list[int] = []

    def follow(self, policy: AdmissionPolicy | None) -> None:
        """Deploy another rule."""
        (made,) = self.rules.mirrors
        self.rules = rules([made._replace(admit=policy)])

    def serve(self, image: LocalImage) -> None:
        """Let upstream serve an image under the tag."""
        self.upstream.serve(image, UPSTREAM)

    def visit(self, image: LocalImage | None = None, **later: float) -> str:
        """Advance the clock, let upstream serve an image, check, and do what was started; name what ECR serves."""
        self.clock.advance(**later)
        if image is not None:
            self.serve(image)
        self.check_one()
        self.carry_out()
        return self.served

    def carry_out(self) -> None:
        """Run the refreshes that were started."""
        every = list(self.refreshes.requests.values())
        started, self.done = every[self.done :], len(every)
        for request in started:
            self.refresh(request)

    def refresh(self, request: RefreshRequest) -> None:
        """Plan, copy and publish, and record the outcome."""
        began, published, failure = self.clock(), None, None
        try:
            if self.fails_with is not None:
                raise self.fails_with
            published = self.copy(request)
        except PullaheadError as error:
            failure = Failure(type(error).__name__, f'{{"errorMessage": "{error}"}}')
        if published is not None:
            self.results.append(published)
        ended = OutcomeRequest(request, f"arn:aws:states:::{request.name}", began, published, error=failure)
        record_outcome(ended, self.rules, self.records, self.announcer, self.clock, queue_check=self.queue_check)
        self.refreshes.statuses[request.name] = StartResult.SUCCEEDED if failure is None else StartResult.ENDED

    def copy(self, request: RefreshRequest) -> PublishResult:
        """Plan, copy and publish. Raises what these raise."""
        planned = plan_copy(request, self.rules, self.upstream, self.target, self.plans)
        image = next((image for image in (A, B, C, D) if image.digest == request.root.digest), None)
        if image is not None:
            self.target.hold(REPOSITORY, {digest: image.read_blob(digest) for digest in image.blobs})
        self.before_publish(request, planned)
        asked = PublishRequest(request, planned.root)
        ports = (self.rules, self.target, self.plans, self.records, self.publish_clock)
        return publish_image(asked, *ports, lambda _tries: None, scans=self.scans)

    def before_publish(self, request: RefreshRequest, planned: PlanResult) -> None:
        """Do what comes between copy and publish. Raises what it raises."""

    def queue_check(self, requests: Sequence[CheckRequest], delay_seconds: int) -> None:
        """Note after how long the outcome of a refresh asks for a check."""
        assert [request.tags for request in requests] == [("1.0",)]
        self.delays.append(delay_seconds)
        self.queue.send(requests, delay_seconds)

    @property
    def served(self) -> str:
        """Name what ECR serves under the tag."""
        return self.name(self.target.published_digests(REPOSITORY, ["1.0"]).get("1.0"))

    @property
    def held(self) -> list[str]:
        """Name the images that ECR has, with or without the tag."""
        return sorted(NAMES[digest] for digest in self.target.manifests(REPOSITORY) if digest in NAMES)

    @property
    def known(self) -> MirrorRecord:
        """Show the record."""
        record = self.records.stored[KEY]
        assert isinstance(record, MirrorRecord)
        return record

    @property
    def events(self) -> list[str]:
        """List what happened to the mirror, for other programs: the kind of each event, and its reason."""
        return [
            f"{event.kind.value.removeprefix('Mirror ')} {event.detail.reason}" for event in self.outcomes.published
        ]

    def request(self) -> CheckRequest:
        """Make the request of a check."""
        return CheckRequest(reason="schedule", repository=REPOSITORY, tags=("1.0",), asked_at=self.clock())

    @staticmethod
    def name(digest: Digest | None) -> str:
        """Name a digest."""
        return NAMES.get(digest, "?") if digest is not None else "-"
