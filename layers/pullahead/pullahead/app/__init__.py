"""Put the application together: settings → adapters → use cases. Nothing is made before it is needed."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import boto3

from pullahead.alerts.notify import NotificationSender
from pullahead.alerts.review import Reviewed, ReviewRecords
from pullahead.app.adapters import CLIENT_CONFIG, Adapters, system_clock
from pullahead.aws.ecr_sources import EcrCachedRepositories, EcrTaggedRepositories
from pullahead.checks.check import CheckMirrors
from pullahead.checks.ecr_events import AccountRegion
from pullahead.checks.handle_message import DecodedMessage, MessageDecoder, MessageHandler, MessageResult
from pullahead.checks.listing import ListTags
from pullahead.checks.prefetch import PrefetchedRecords
from pullahead.checks.scan_results import record_scan
from pullahead.checks.schedule import Scheduled, schedule_checks
from pullahead.checks.select import CheckMerger, MirrorSelector
from pullahead.clock import Clock, wait_after_breaks
from pullahead.dead_letters import DeadLetterPolicy, FailedDelivery
from pullahead.ecr.streams import EcrStreams
from pullahead.errors import PullaheadError
from pullahead.messages import (
    OutcomeRequest,
    OutcomeResult,
    PlanResult,
    PublishResult,
    RefreshRequest,
    ScanFinished,
    UnitRequest,
)
from pullahead.mirrors.rate_limit_budget import UpstreamUse
from pullahead.on_demand.follow import FollowDemands
from pullahead.refresh.copy_unit import CopyUnit
from pullahead.refresh.plan import plan_copy
from pullahead.refresh.publish import publish_image
from pullahead.refresh.queue import RefreshQueue
from pullahead.refresh.record_outcome import record_outcome
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules
from pullahead.rules.sources.discover import DiscoverSources, GatherRules, WritableRepositories
from pullahead.settings import Settings

if TYPE_CHECKING:
    from pullahead.dashboard.show import Shown
    from pullahead.on_demand.notice_pulls import NoticedPulls, NoticePulls
    from pullahead.webhooks.http import WebhookResponse
    from pullahead.webhooks.receive import ReceiveWebhook


_COPY_THREADS = 4  # each holds up to five parts of 10 MiB; template.yaml gives copy_blobs 512 MB at least


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

    def decode_messages(self, bodies: Sequence[str]) -> Mapping[str, DecodedMessage]:
        """Decode a batch of the checks queue, by the bodies of its messages."""
        return self._decode_messages(bodies)

    def handle_message(self, message: DecodedMessage) -> Sequence[MessageResult]:
        """Handle one message of the checks queue."""
        return self._handle_message(message)

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

    def record_scan(self, finished: ScanFinished) -> Sequence[MirrorKey]:
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
    def _handle_message(self) -> MessageHandler:
        return MessageHandler(
            self._rules_in_force.as_of,
            self._prefetched_records,
            self._check_mirrors,
            self._list_tags,
            self._refresh_queue,
            self.record_scan,
            self._clock,
        )

    @cached_property
    def _decode_messages(self) -> MessageDecoder:
        home = AccountRegion(self._settings.account, self._settings.region)
        return MessageDecoder(self._rules_with_pauses, self._prefetched_records, self._select_mirrors, home)

    @cached_property
    def _check_mirrors(self) -> CheckMirrors:
        return CheckMirrors(
            self._rules_with_pauses,
            self._upstream,
            self._target.published_digests,
            self._prefetched_records,
            self._refresh_queue.start,
            self._announcer,
            self._clock,
            self._upstream.quota,
            self._select_mirrors,
        )

    @cached_property
    def _select_mirrors(self) -> MirrorSelector:
        merge = CheckMerger(self._windows, self._queue, self._clock)
        return MirrorSelector(self._prefetched_records, merge, self._rules_in_force.newly_cached)

    @cached_property
    def _prefetched_records(self) -> PrefetchedRecords:
        return PrefetchedRecords(self._records)

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
    def _list_tags(self) -> ListTags:
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
