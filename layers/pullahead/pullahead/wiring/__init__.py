"""Put the application together: settings → adapters → use cases. Nothing is made before it is needed."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import boto3

from pullahead.aws.cached_repositories import EcrCachedRepositories
from pullahead.aws.tagged_repositories import TaggedRepositories
from pullahead.freshness.quota import Used
from pullahead.messages import (
    ListRequest,
    OutcomeRequest,
    OutcomeResult,
    PlanResult,
    PublishResult,
    Queued,
    RefreshRequest,
    UnitRequest,
)
from pullahead.ports import Clock
from pullahead.settings import Settings
from pullahead.targets.ecr_streams import EcrStreams
from pullahead.usecases.check import CheckMirrors, CheckResult
from pullahead.usecases.copy_unit import CopyUnit
from pullahead.usecases.find_sources import FindSources, Reach
from pullahead.usecases.follow_listing import FollowListing, ListResult
from pullahead.usecases.gather_rules import GatherRules
from pullahead.usecases.lateness import Lateness, measure_lateness
from pullahead.usecases.outcome import record_outcome
from pullahead.usecases.plan import plan_copy
from pullahead.usecases.publish import publish_image
from pullahead.usecases.schedule import Scheduled, schedule_checks
from pullahead.waiting import wait_after_breaks
from pullahead.wiring.adapters import CLIENT_CONFIG, Adapters, system_clock

if TYPE_CHECKING:
    from pullahead.usecases.show import Shown

_COPY_THREADS = 4  # each holds up to five parts of 10 MiB; template.yaml gives copy_blobs 512 MB at least


class Application(Adapters):
    """One process's use cases, made when first used and then kept."""

    def schedule_checks(self) -> Scheduled:
        """Send the mirrors that are due to the queue."""
        gathered = self._gather_rules()
        rules = replace(gathered.rules, paused=self._known_pauses.paused_rules())
        scheduled = schedule_checks(rules, self._records, self._queue, self._clock())
        return scheduled._replace(told=gathered.told)

    def lateness(self) -> Lateness:
        """Measure how many mirrors are not fresh, and for how long."""
        return measure_lateness(self._records, self._rules_with_pauses(), self._clock())

    def take_upstream_use(self) -> Sequence[Used]:
        """Tell how often upstreams were asked for what since the last time, and what they leave of their limits."""
        return self._upstream.take_use()

    def check(self, request: Queued) -> Sequence[CheckResult | ListResult]:
        """Check tags of one repository, or list what a rule chooses them from."""
        if isinstance(request, ListRequest) or request.reason != "push":
            self._rules_in_force.as_of(request.asked_at)  # who asked may know of a rule that was found just now
        if isinstance(request, ListRequest):
            result = self._follow_listing(request)
            return [] if result is None else [result]
        return self._check_mirrors(request)

    def plan_copy(self, request: RefreshRequest) -> PlanResult:
        """Plan a copy."""
        self._rules_in_force.as_of(request.stale_since)
        return plan_copy(request, self._rules, self._upstream, self._target, self._plans, self._mounts)

    def copy_blobs(self, request: UnitRequest, remaining_seconds: Callable[[], float]) -> UnitRequest:
        """Copy one unit of a plan as far as the time goes."""
        return self._copy_unit(request, remaining_seconds)

    def publish_image(self, request: RefreshRequest) -> PublishResult:
        """Publish what was copied."""
        return publish_image(request, self._target, self._plans, self._records)

    def record_outcome(self, request: OutcomeRequest) -> OutcomeResult:
        """Record how a refresh ended."""
        self._rules_in_force.as_of(request.request.stale_since)
        return record_outcome(request, self._rules, self._records, self._alerts, self._clock)

    def show_mirrors(self, event: object, endpoint: str) -> "Shown":
        """Draw the page of all mirrors."""
        # One function draws; the others are not to read the page's thousand lines at each cold start.
        from pullahead.usecases.show import show_mirrors  # noqa: PLC0415

        return show_mirrors(event, endpoint, self._records, self._clock())

    @cached_property
    def _gather_rules(self) -> GatherRules:
        reach = Reach(self._settings.target_repositories, self._settings.pull_through_cache_repositories)
        tagging = boto3.client("resourcegroupstaggingapi", config=CLIENT_CONFIG)
        cached = EcrCachedRepositories(boto3.client("ecr", config=CLIENT_CONFIG))
        find = FindSources(cached, TaggedRepositories(tagging), reach)
        return GatherRules(self._rules_file, self._rules_text, find, self._standing, self._alerts, self._clock)

    @cached_property
    def _check_mirrors(self) -> CheckMirrors:
        return CheckMirrors(
            self._rules_with_pauses,
            self._upstream,
            self._target,
            self._records,
            self._refreshes,
            self._alerts,
            self._clock,
            self._upstream.quota,
        )

    @cached_property
    def _follow_listing(self) -> FollowListing:
        rules = self._rules_with_pauses
        return FollowListing(rules, self._upstream, self._records, self._queue, self._alerts, self._clock)

    @cached_property
    def _copy_unit(self) -> CopyUnit:
        streams = EcrStreams(self._ecr, self._clock)
        return CopyUnit(
            self._upstream, self._target, self._plans, wait_after_breaks, threads=_COPY_THREADS, streams=streams
        )


_clocks: list[Clock] = [system_clock]


def use_clock(clock: Clock) -> None:
    """Let this process's application tell the time by another clock; before it is first used (local AWS)."""
    _clocks[:] = [clock]
    application.cache_clear()


@lru_cache(maxsize=1)
def application() -> Application:
    """The application of this process, as its environment describes it."""
    return Application(Settings(os.environ), _clocks[0])
