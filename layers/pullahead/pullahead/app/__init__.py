"""Put the application together: settings → adapters → use cases. Nothing is made before it is needed."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING

import boto3

from pullahead.alerts.notify import NotificationSender
from pullahead.alerts.review import Reviewed, ReviewRecords
from pullahead.app.adapters import CLIENT_CONFIG, Adapters, system_clock
from pullahead.aws.ecr_sources import EcrCachedRepositories, EcrTaggedRepositories
from pullahead.checks.check import CheckMirrors, CheckResult
from pullahead.checks.ecr_events import AccountRegion, IgnoredEvent, Meaning, read_ecr_event
from pullahead.checks.listing import ListResult, ListTags
from pullahead.checks.prefetch import PrefetchedRecords, mirror_keys_in
from pullahead.checks.pull_through_cache import CacheFailed, cache_failures_of, record_cache_result
from pullahead.checks.scan_results import record_scan
from pullahead.checks.schedule import Scheduled, schedule_checks
from pullahead.checks.select import CheckMerger, MirrorSelector
from pullahead.clock import Clock, wait_after_breaks
from pullahead.dead_letters import DeadLetterPolicy, FailedDelivery
from pullahead.ecr.streams import EcrStreams
from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.messages import (
    AwsEvent,
    CheckRequest,
    ListRequest,
    OutcomeRequest,
    OutcomeResult,
    PlanResult,
    PublishResult,
    Received,
    RefreshRequest,
    ScanFinished,
    StartWaitingRequest,
    UnitRequest,
)
from pullahead.mirrors.rate_limit_budget import UpstreamUse
from pullahead.on_demand.follow import FollowDemands
from pullahead.refresh.copy_unit import CopyUnit
from pullahead.refresh.parallel_read import ParallelRead
from pullahead.refresh.plan import plan_copy
from pullahead.refresh.ports import StartResult
from pullahead.refresh.publish import publish_image
from pullahead.refresh.queue import RefreshQueue, StartedWaiting
from pullahead.refresh.record_outcome import record_outcome
from pullahead.rules.model import Rules
from pullahead.rules.sources.discover import DiscoverSources, GatherRules, WritableRepositories
from pullahead.settings import Settings

if TYPE_CHECKING:
    from pullahead.dashboard.show import Shown
    from pullahead.on_demand.notice_pulls import NoticedPulls, NoticePulls
    from pullahead.webhooks.http import WebhookResponse
    from pullahead.webhooks.receive import ReceiveWebhook


_COPY_THREADS = 4  # each holds two parts of 10 MiB; template.yaml gives copy_blobs 512 MB at least

Checked = CheckResult | ListResult | StartedWaiting | CacheFailed | IgnoredEvent
"""What came of a message of the checks queue."""


class Application(Adapters):
    """One process's use cases, made when first used and then kept."""

    def schedule_checks(self) -> Scheduled:
        """Send the mirrors that are due to the queue."""
        gathered = self._gather_rules()
        rules = replace(gathered.rules, paused=self._known_pauses.paused_rules())
        scheduled = schedule_checks(rules, self._records, self._queue, self._clock())
        return scheduled._replace(told=gathered.told)

    def review_records(self, remaining_seconds: Callable[[], float]) -> Reviewed:
        """Look through all records: measure, tell people, retire."""
        return self._review_records(remaining_seconds)

    def take_upstream_use(self) -> Sequence[UpstreamUse]:
        """Tell how often upstreams were asked for what since the last time, and what they leave of their limits."""
        return self._upstream.take_use()

    def foresee(self, bodies: Sequence[str]) -> None:
        """Read the records that a batch of messages is about; what cannot be read now, each message reads itself."""
        self._records_ahead.expect(())
        if len(bodies) > 1:
            with suppress(ConfigError, StorageError):
                rules = self._rules_with_pauses()
                meant = partial(self._select_mirrors.meant, rules=rules)
                self._records_ahead.expect(mirror_keys_in(bodies, self._home, meant))

    def check(self, request: Received) -> Sequence[Checked]:
        """Check tags of one repository, list what a rule chooses them from, start refreshes that wait, or do what an
        event of ECR means."""
        if isinstance(request, AwsEvent):
            return self._follow(read_ecr_event(request, self._home))
        if isinstance(request, StartWaitingRequest):
            return [self._refresh_queue.start_waiting(request.ended, count=not request.ended)]
        if isinstance(request, ListRequest) or request.reason in ("schedule", "manual"):
            self._rules_in_force.as_of(request.asked_at)  # who asked may know of a rule that was found just now
        if isinstance(request, ListRequest):
            result = self._follow_listing(request)
            return [] if result is None else [result]
        return self._checked(request)

    def _follow(self, meaning: Meaning) -> Sequence[Checked]:
        if isinstance(meaning, IgnoredEvent):
            return [meaning]
        if isinstance(meaning, ScanFinished):
            self.record_scan(meaning)
            return []
        return self._checked(meaning)

    def _checked(self, request: CheckRequest) -> Sequence[Checked]:
        results = self._check_mirrors(request)
        if request.reason == "cache":
            record_cache_result(request, [result.mirror for result in results], self._records, self._clock())
        waits = any(result.started is StartResult.WAITING for result in results)
        return [*results, *cache_failures_of(request), *([self._refresh_queue.start_waiting()] if waits else [])]

    def put_aside(self, delivery: FailedDelivery, error: Exception) -> bool:
        """Put a message aside that cannot be worked on; tell whether it was, or is to come back."""
        return self._put_aside(delivery, error)

    def receive_webhook(self, event: object) -> "WebhookResponse":
        """Take a webhook, as the event of a function URL."""
        return self._receive_webhook(event)

    def notice_pulls(self, messages: Mapping[str, str]) -> "NoticedPulls":
        """Notice what was pulled from ECR, as CloudTrail told it in these messages."""
        return self._notice_pulls(messages)

    def plan_copy(self, request: RefreshRequest) -> PlanResult:
        """Plan a copy."""
        self._rules_in_force.as_of(request.stale_since)
        return plan_copy(request, self._rules, self._upstream, self._target, self._plans, self._find_mounts)

    def copy_blobs(self, request: UnitRequest, remaining_seconds: Callable[[], float]) -> UnitRequest:
        """Copy one unit of a plan as far as the time goes."""
        return self._copy_unit(request, remaining_seconds)

    def publish_image(self, request: RefreshRequest) -> PublishResult:
        """Publish what was copied."""
        return publish_image(request, self._target, self._plans, self._records)

    def record_outcome(self, request: OutcomeRequest) -> OutcomeResult:
        """Record how a refresh ended."""
        self._rules_in_force.as_of(request.request.stale_since)
        cached = self._rules_in_force.newly_cached
        return record_outcome(request, self._rules, self._records, self._announcer, self._clock, cached)

    def record_scan(self, finished: ScanFinished) -> Sequence[str]:
        """Note what ECR's scan found; tell of which mirrors."""
        return record_scan(finished, self._rules, self._records, self._announcer, self._clock)

    def take_unsent(self) -> Sequence[PullaheadError]:
        """Tell what has kept events from being sent since the last time; they are sent later."""
        return self._announcer.take_failures()

    def show_mirrors(self, event: object, endpoint: str) -> "Shown":
        """Draw the page of all mirrors."""
        # One function draws; the others are not to read the page's thousand lines at each cold start.
        from pullahead.dashboard.show import show_mirrors  # noqa: PLC0415

        return show_mirrors(event, endpoint, self._records, self._clock())

    @cached_property
    def _gather_rules(self) -> GatherRules:
        reach = WritableRepositories(self._settings.target_repositories, self._settings.pull_through_cache_repositories)
        tagging = boto3.client("resourcegroupstaggingapi", config=CLIENT_CONFIG)
        cached = EcrCachedRepositories(boto3.client("ecr", config=CLIENT_CONFIG))
        find = DiscoverSources(cached, EcrTaggedRepositories(tagging), reach)
        return GatherRules(self._rules_file, self._rules_text, find, self._standing, self._clock)

    @cached_property
    def _check_mirrors(self) -> CheckMirrors:
        return CheckMirrors(
            self._rules_with_pauses,
            self._upstream,
            self._target.published_digests,
            self._records_ahead,
            self._refresh_queue.start,
            self._announcer,
            self._clock,
            self._upstream.quota,
            self._select_mirrors,
        )

    @cached_property
    def _select_mirrors(self) -> MirrorSelector:
        merge = CheckMerger(self._windows, self._queue, self._clock)
        return MirrorSelector(self._records_ahead, merge, self._rules_in_force.newly_cached)

    @cached_property
    def _records_ahead(self) -> PrefetchedRecords:
        return PrefetchedRecords(self._records)

    @cached_property
    def _home(self) -> AccountRegion:
        return AccountRegion(self._settings.account, self._settings.region)

    @cached_property
    def _refresh_queue(self) -> RefreshQueue:
        at_most = self._settings.max_concurrent_refreshes
        return RefreshQueue(
            self._rules_as_of, self._slots, self._line, self._refreshes, self._records, self._clock, at_most
        )

    def _rules_as_of(self, moment: datetime) -> Rules:
        self._rules_in_force.as_of(moment)
        return self._rules_with_pauses()

    @cached_property
    def _follow_listing(self) -> ListTags:
        rules = self._rules_with_pauses
        demanded = FollowDemands(rules, self._demands, self._records, self._queue)
        return ListTags(rules, self._upstream, self._records, self._queue, self._clock, demanded)

    @cached_property
    def _review_records(self) -> ReviewRecords:
        tell = NotificationSender(self._records, self._incidents, self._alerts, self._chat_alerts)
        return ReviewRecords(
            self._rules_with_pauses,
            self._standing,
            self._records,
            self._incidents,
            tell,
            self._announcer,
            self._clock,
            self._settings.silence_after,
            self._settings.rules_uri,
        )

    @cached_property
    def _put_aside(self) -> DeadLetterPolicy:
        return DeadLetterPolicy(self._dead_letters.put_aside, self._settings.max_receive_count, self._clock)

    @cached_property
    def _receive_webhook(self) -> "ReceiveWebhook":
        # One function is called by webhooks; the others are not to read every sender's form at each cold start.
        from pullahead.webhooks.receive import ReceiveWebhook  # noqa: PLC0415

        rules, secrets = self._rules_in_force, self._webhook_secrets
        return ReceiveWebhook(rules, secrets, self._windows, self._queue, self._calls, self._clock)

    @cached_property
    def _notice_pulls(self) -> "NoticePulls":
        from pullahead.on_demand.notice_pulls import NoticePulls  # noqa: PLC0415

        rules, own_roles = self._rules_with_pauses, self._settings.own_roles
        return NoticePulls(rules, self._demands, self._records, self._queue, self._clock, own_roles)

    @cached_property
    def _copy_unit(self) -> CopyUnit:
        streams = EcrStreams(self._ecr, self._clock)
        return CopyUnit(
            self._upstream,
            self._target,
            self._plans,
            wait_after_breaks,
            threads=_COPY_THREADS,
            streams=streams,
            parallel_read=partial(ParallelRead.measured_by, time.monotonic, time.process_time),
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
