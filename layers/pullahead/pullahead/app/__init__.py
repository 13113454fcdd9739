"""Wire the application: settings → adapters → use cases. Each is made when first used; nothing is decided here."""

import gc
import os
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Final

from pullahead.app.adapters import Adapters, system_clock
from pullahead.clock import Clock, wait_after_breaks
from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.messages import (
    CheckRequest,
    OutcomeRequest,
    OutcomeResult,
    PlanResult,
    PublishRequest,
    PublishResult,
    RefreshRequest,
    ScanFinished,
    UnitRequest,
    VerifyResult,
)
from pullahead.mirrors.rate_limit_budget import UpstreamUse
from pullahead.oci import Digest, Repository
from pullahead.settings import Settings

_INITIALIZES: Final = "AWS_LAMBDA_INITIALIZATION_TYPE"
"""Is set where Lambda starts a process (Lambda developer guide, "Using Lambda environment variables")."""
if _INITIALIZES in os.environ:
    gc.disable()  # an eighth of the time, and nothing that is imported is garbage; see `prepare`

if TYPE_CHECKING:
    from pullahead.admission.signatures.prove import ProveSignatures
    from pullahead.alerts.review import Reviewed, ReviewRecords
    from pullahead.aws.newer_items import DamagedItems, LeftAlone
    from pullahead.checks.check import CheckMirrors
    from pullahead.checks.handle_message import MessageHandler, MessageOutcome
    from pullahead.checks.late_referrers import LookForReferrers
    from pullahead.checks.listing import ListTags
    from pullahead.checks.put_back import LeftToSchedule
    from pullahead.checks.scans import MayWait
    from pullahead.checks.schedule import Scheduled
    from pullahead.dashboard.show import Shown
    from pullahead.dead_letters import DeadLetterPolicy, FailedDelivery
    from pullahead.on_demand.notice_pulls import NoticedPulls, NoticePulls
    from pullahead.refresh.copy_unit import CopyUnit
    from pullahead.refresh.queue import RefreshQueue
    from pullahead.retention.prune import Pruned
    from pullahead.rules.model import NewlyCached, Rules
    from pullahead.rules.sources.discover import GatherRules
    from pullahead.rules.text import RulesText
    from pullahead.webhooks.http import WebhookResponse
    from pullahead.webhooks.receive import ReceiveWebhook


_HEAD_SECONDS = 20.0  # with all of its tries; a registry that takes longer is left alone
_LISTING_SECONDS = 60.0  # with all of its pages: half of the function's time
_COPY_THREADS = 4  # each holds two parts of 10 MiB; template.yaml gives copy_blobs 512 MB at least


class Application(Adapters):
    """The use cases of one process, each made when it is first used."""

    def schedule_checks(self) -> "Scheduled":
        """Queue checks of the mirrors that are due."""
        from pullahead.checks.schedule import schedule_checks

        gathered = self._gather_rules()
        rules = replace(gathered.rules, paused=self._cached_pauses.paused_rules())
        scheduled = schedule_checks(rules, self._records, self._queue, self._clock())
        return scheduled._replace(problems=gathered.notices)

    def review_records(self, remaining_seconds: Callable[[], float]) -> "Reviewed":
        """Review all records: measure lateness, send alerts, retire records."""
        return self._review_records(remaining_seconds)

    def prune_tags(self, remaining_seconds: Callable[[], float]) -> "Pruned":
        """Remove or report tags that upstream removed, or that no rule chooses any more."""
        # Only one function prunes.
        from pullahead.retention.plan import PlanPruning
        from pullahead.retention.prune import PrunePorts, PruneTags

        plan = PlanPruning(self._rules_with_pauses, self._rules_state, self._records, self._tags, self._clock)
        ports = PrunePorts(self._records, self._tags, self._outbox_sender, self._clock)
        return PruneTags(plan, ports)(remaining_seconds)

    def take_upstream_use(self) -> Sequence[UpstreamUse]:
        """Return the upstream requests since the last call, by kind, and what is left of the upstreams' limits."""
        return self._upstream.take_use()

    def handle_messages(
        self, bodies: Sequence[str], remaining_seconds: Callable[[], float]
    ) -> "Sequence[MessageOutcome]":
        """Handle a batch of the checks queue; the outcomes are in the order of the messages."""
        from pullahead.checks.ecr_events import AccountRegion
        from pullahead.checks.handle_message import decode_message

        home = AccountRegion(self._settings.account, self._settings.region)
        return self._handle_messages([decode_message(body, home) for body in bodies], remaining_seconds)

    def send_to_dead_letters(self, delivery: "FailedDelivery", error: Exception) -> bool:
        """Send a failed message to the dead-letter queue if it is not to be retried; return whether it was sent."""
        return self._dead_letter_policy(delivery, error)

    def delete_messages(self, receipts: Sequence[str]) -> None:
        """Delete messages of the function's own queue, by their receipts. Raises StorageError."""
        self._received_messages.delete(receipts)

    def receive_webhook(self, event: object) -> "WebhookResponse":
        """Receive a webhook, as the event of a function URL."""
        return self._receive_webhook(event)

    def notice_pulls(self, messages: Mapping[str, str]) -> "NoticedPulls":
        """Process pulls from ECR that CloudTrail has recorded, by the identifiers of their messages."""
        return self._notice_pulls(messages)

    def plan_copy(self, request: RefreshRequest) -> PlanResult:
        """Plan a copy."""
        from pullahead.refresh.plan import plan_copy

        self._credentials.forget_failures()
        rules, cached = self._rules_now()
        return plan_copy(request, rules, self._upstream, self._target, self._plans, self._find_mounts, cached)

    def create_repository(self, request: RefreshRequest) -> None:
        """Create the repository of a refresh."""
        from pullahead.refresh.create_repository import create_repository

        rules, cached = self._rules_now()
        create_repository(request, rules, self._target, cached)

    def copy_blobs(self, request: UnitRequest, remaining_seconds: Callable[[], float]) -> UnitRequest:
        """Copy one unit of a plan, or as much of it as there is time for."""
        self._credentials.forget_failures()
        return self._copy_unit(request, remaining_seconds)

    def verify_image(self, request: RefreshRequest) -> VerifyResult:
        """Verify the signatures of what a refresh copies."""
        from pullahead.refresh.verify_signatures import verify_signatures

        self._credentials.forget_failures()
        rules, cached = self._rules_now()
        return verify_signatures(request, rules, self._prove_signatures, self._records, self._clock, cached)

    def trust_root_problems(self) -> Sequence[str]:
        """Say what keeps the trust root from being used, now or soon; nothing if no rule needs one."""
        if not any(
            rule.admit is not None and rule.admit.verify is not None and rule.admit.verify.needs_trust_root
            for rule in self._rules.rules
        ):
            return ()
        try:
            return self._trust_root().problems(self._clock())
        except (ConfigError, StorageError) as error:
            return (str(error),)

    def publish_image(self, asked: PublishRequest) -> PublishResult:
        """Publish the manifests of what was copied."""
        from pullahead.refresh.publish import publish_image

        rules, cached = self._rules_now()
        return publish_image(
            asked,
            rules,
            self._target,
            self._plans,
            self._records,
            self._clock,
            newly_cached=cached,
            scans=self._image_scans,
        )

    def record_outcome(self, request: OutcomeRequest) -> OutcomeResult:
        """Record the outcome of a refresh."""
        from pullahead.refresh.record_outcome import record_outcome

        self._current_rules.as_of(request.request.stale_since)
        cached = self._current_rules.newly_cached
        return record_outcome(
            request, self._rules, self._records, self._outbox_sender, self._clock, cached, self._queue.send
        )

    def record_scan(
        self, finished: ScanFinished, read: "MutableMapping[str, MayWait]"
    ) -> "Iterable[CheckRequest | LeftToSchedule]":
        """Record the findings of a scan; return the checks of what waits for it. `read` is shared by a batch."""
        from pullahead.checks.scan_results import record_scan
        from pullahead.checks.scans import checks_after_scan

        rules, now = self._rules_with_pauses(), self._clock()
        record_scan(finished, self._rules, self._records, self._outbox_sender, self._clock)
        return checks_after_scan(finished, rules, self._records, now, read)

    def take_unsent(self) -> Sequence[PullaheadError]:
        """Return the errors that have kept outcome events from being sent since the last call; they are sent later."""
        return self._outbox_sender.take_failures()

    def take_newer_items(self) -> "LeftAlone | None":
        """Return what was left alone since the last call, because only a newer version can read it."""
        return self._newer_items.take()

    def take_damaged_items(self) -> "DamagedItems | None":
        """Return what could not be read since the last call, and counted as none."""
        return self._newer_items.take_damaged()

    def show_mirrors(self, event: object, endpoint: str) -> "Shown":
        """Render the dashboard's page of mirrors."""
        # Only one function renders pages; the others would load the page's code at each cold start.
        from pullahead.dashboard.show import show_mirrors

        return show_mirrors(event, endpoint, self._records, self._clock())

    def _rules_now(self) -> "tuple[Rules, NewlyCached]":
        """Read the rules again: a refresh obeys those of the moment at which it runs."""
        self._current_rules.as_of(self._clock())
        return self._rules, self._current_rules.newly_cached

    @cached_property
    def _prove_signatures(self) -> "ProveSignatures":
        # Only one function verifies; the others do not have the packages.
        from pullahead.admission.signatures.prove import ProveSignatures

        return ProveSignatures(self._upstream, self._trust_root, self._clock, self._signature_keys)

    @cached_property
    def _gather_rules(self) -> "GatherRules":
        from pullahead.aws.ecr_sources import EcrCachedRepositories, EcrTaggedRepositories
        from pullahead.rules.sources.discover import DiscoverSources, GatherRules, WritableRepositories

        reach = WritableRepositories(self._settings.target_repositories, self._settings.pull_through_cache_repositories)
        tagging = self._aws("resourcegroupstaggingapi")
        cached = EcrCachedRepositories(self._aws("ecr"))
        rights = self._settings.pull_rights
        find = DiscoverSources(cached, EcrTaggedRepositories(tagging), reach, rights)

        def deployed() -> "Sequence[RulesText]":
            return self._deployed_rules.files

        stores = self._compiled_stores
        return GatherRules(deployed, self._external_rules, find, self._rules_state, stores, self._clock)

    @cached_property
    def _handle_messages(self) -> "MessageHandler":
        from pullahead.checks.handle_message import MessageHandler

        return MessageHandler(
            self._current_rules.as_of,
            self._records,
            self._check_mirrors,
            self._list_tags,
            self._look_for_referrers,
            self._refresh_queue,
            self.record_scan,
            self._queue,
            self._clock,
        )

    @cached_property
    def _check_mirrors(self) -> "CheckMirrors":
        from pullahead.checks.check import CheckMirrors, CheckPorts
        from pullahead.checks.select import CheckMerger, MirrorSelector

        ports = CheckPorts(
            self._upstream,
            self._target.published_digests,
            self._records,
            self._refresh_queue.start,
            self._outbox_sender,
            self._clock,
            self._upstream.quota,
            forget_access=self._forget_access,
            queue_looks=self._queue.send,
            replications=self._replications,
            scans=self._image_scans,
            head_seconds=_HEAD_SECONDS,
        )
        merge = CheckMerger(self._event_windows, self._queue, self._clock)
        return CheckMirrors(self._rules_with_pauses, ports, MirrorSelector(merge, self._current_rules.newly_cached))

    @cached_property
    def _look_for_referrers(self) -> "LookForReferrers":
        from pullahead.checks.late_referrers import LookForReferrers

        return LookForReferrers(
            self._rules_with_pauses,
            self._upstream,
            self._records,
            self._refresh_queue.start,
            self._outbox_sender,
            self._clock,
        )

    def _forget_access(self, repository: Repository) -> None:
        self._credentials.forget(repository)
        self._upstream.forget_access(repository)

    @cached_property
    def _refresh_queue(self) -> "RefreshQueue":
        from pullahead.refresh.queue import RefreshQueue

        return RefreshQueue(
            self._rules_as_of,
            self._slots,
            self._waiting_refreshes,
            self._refreshes,
            self._records,
            self._clock,
            self._settings.max_concurrent_refreshes,
            self._current_rules.newly_cached,
        )

    def _rules_as_of(self, moment: datetime) -> "Rules":
        self._current_rules.as_of(moment)
        return self._rules_with_pauses()

    @cached_property
    def _list_tags(self) -> "ListTags":
        from pullahead.checks.listing import ListTags
        from pullahead.on_demand.follow import FollowDemands

        rules = self._rules_with_pauses
        demanded = FollowDemands(rules, self._demands, self._records, self._queue)
        return ListTags(
            rules,
            self._upstream,
            self._records,
            self._queue,
            self._clock,
            demanded,
            list_seconds=_LISTING_SECONDS,
            forget_access=self._forget_access,
        )

    @cached_property
    def _review_records(self) -> "ReviewRecords":
        from pullahead.alerts.notify import NotificationSender
        from pullahead.alerts.review import ReviewRecords

        notify = NotificationSender(self._records, self._incidents, self._alerts, self._chat_alerts)
        return ReviewRecords(
            self._rules_with_pauses,
            self._rules_state,
            self._records,
            self._incidents,
            notify,
            self._outbox_sender,
            self._clock,
            self._settings.silence_after,
            self._settings.rules_uri,
            queue_checks=self._queue.send,
        )

    @cached_property
    def _dead_letter_policy(self) -> "DeadLetterPolicy":
        from pullahead.dead_letters import DeadLetterPolicy

        return DeadLetterPolicy(self._dead_letters.send, self._settings.max_receive_count, self._clock)

    @cached_property
    def _receive_webhook(self) -> "ReceiveWebhook":
        # Only one function receives webhooks; the others would load every sender's format at each cold start.
        from pullahead.webhooks.receive import ReceiveWebhook

        rules, secrets = self._current_rules, self._webhook_secrets
        windows, budget = self._event_windows, self._check_budget
        return ReceiveWebhook(rules, secrets, windows, self._queue, self._replay_guard, budget, self._clock)

    @cached_property
    def _notice_pulls(self) -> "NoticePulls":
        from pullahead.on_demand.notice_pulls import NoticePulls

        rules, own_roles = self._rules_with_pauses, self._settings.own_roles
        holds = self._holds_manifest
        return NoticePulls(rules, self._demands, self._records, self._queue, self._clock, own_roles, holds)

    def _holds_manifest(self, repository: str, digest: Digest) -> bool:
        """Ask ECR, for which a client is made only when a digest is pulled."""
        return self._target.holds_manifest(repository, digest)

    @cached_property
    def _copy_unit(self) -> "CopyUnit":
        from pullahead.ecr.streams import EcrStreams
        from pullahead.refresh.copy_unit import CopyUnit
        from pullahead.refresh.parallel_read import ParallelRead

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


NEEDED: Final[Mapping[str, Sequence[str]]] = {
    "check_freshness": ("_handle_messages",),
    "copy_blobs": ("_copy_unit",),
    "create_repository": ("_current_rules", "_target"),
    "notice_pulls": ("_notice_pulls",),
    "plan_copy": ("_current_rules", "_upstream", "_target", "_plans", "_find_mounts"),
    "prune_tags": ("_rules_with_pauses", "_rules_state", "_records", "_tags", "_outbox_sender"),
    "verify_image": ("_current_rules", "_records", "_prove_signatures"),
    "publish_image": ("_current_rules", "_target", "_plans", "_records"),
    "receive_webhook": ("_receive_webhook",),
    "record_outcome": ("_current_rules", "_records", "_outbox_sender", "_queue"),
    "review_records": ("_review_records",),
    "schedule_checks": ("_gather_rules", "_cached_pauses", "_records", "_queue"),
    "show_mirrors": ("_records",),
}
"""What each function uses at any invocation, by the name of its folder."""


_clocks: list[Clock] = [system_clock]


def use_clock(clock: Clock) -> None:
    """Replace the clock of this process's application before it is first used (local AWS)."""
    _clocks[:] = [clock]
    application.cache_clear()


@lru_cache(maxsize=1)
def application() -> Application:
    """Return the application of this process, configured by its environment."""
    return Application(Settings(os.environ), _clocks[0])


def prepare(function: str) -> None:
    """Make what a function needs before its first invocation: Lambda initializes it with more CPU than its memory has.

    Elsewhere, such as in tests, each is made when it is first used.
    """
    if _INITIALIZES in os.environ:
        app = application()
        for name in NEEDED[function]:
            getattr(app, name)
        gc.freeze()  # all of this stays
        gc.enable()
