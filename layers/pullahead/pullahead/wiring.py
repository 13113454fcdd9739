"""Put the application together: settings → adapters → use cases. Nothing is made before it is needed."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config

from pullahead.aws.alerts import SnsAlerts
from pullahead.aws.assumed_roles import Clients, RoleKeys
from pullahead.aws.cached_repositories import EcrCachedRepositories
from pullahead.aws.pauses import DynamoPauses
from pullahead.aws.plans import S3Plans
from pullahead.aws.queue import SqsChecks
from pullahead.aws.records import DynamoRecords
from pullahead.aws.refreshes import StepFunctionsRefreshes
from pullahead.aws.rules_text import rules_text_at
from pullahead.aws.secrets import UpstreamCredentials
from pullahead.aws.standing import S3Standing
from pullahead.aws.tagged_repositories import TaggedRepositories
from pullahead.errors import ConfigError
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
from pullahead.ports import Clock, LoadsRules
from pullahead.registry import UpstreamRegistry
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules, UpstreamSettings
from pullahead.rules.sources.ports import ReadsRulesText
from pullahead.settings import Settings
from pullahead.targets.ecr import EcrTarget
from pullahead.targets.ecr_mounts import EcrMounts
from pullahead.targets.ecr_streams import EcrStreams
from pullahead.usecases.check import CheckMirrors, CheckResult
from pullahead.usecases.copy_unit import CopyUnit
from pullahead.usecases.find_sources import FindSources, Reach
from pullahead.usecases.follow_listing import FollowListing, ListResult
from pullahead.usecases.gather_rules import GatherRules
from pullahead.usecases.lateness import Lateness, measure_lateness
from pullahead.usecases.outcome import record_outcome
from pullahead.usecases.pauses import KnownPauses, RulesWithPauses
from pullahead.usecases.plan import plan_copy
from pullahead.usecases.publish import publish_image
from pullahead.usecases.rules_in_force import RulesInForce
from pullahead.usecases.schedule import Scheduled, schedule_checks
from pullahead.waiting import wait_after_breaks

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

    from pullahead.usecases.show import Shown

# AWS SDKs and Tools Reference, retry behavior: "standard" retries throttling and transient errors with jitter.
_CLIENT_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60, max_pool_connections=16
)
_PATIENCE_SECONDS = 10.0  # what must wait longer for an upstream's limit is deferred: a waiting function costs, too
_COPY_THREADS = 4  # each holds up to five parts of 10 MiB; template.yaml gives copy_blobs 512 MB at least


def system_clock() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


class Application:
    """One process's adapters and use cases, made when first used and then kept."""

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        self._settings, self._clock = settings, clock

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

    @property
    def _rules(self) -> Rules:
        return self._rules_in_force()

    @cached_property
    def _rules_in_force(self) -> RulesInForce:
        return RulesInForce(self._rules_file, self._standing, self._clock)

    @cached_property
    def _gather_rules(self) -> GatherRules:
        reach = Reach(self._settings.target_repositories, self._settings.pull_through_cache_repositories)
        tagging = boto3.client("resourcegroupstaggingapi", config=_CLIENT_CONFIG)
        cached = EcrCachedRepositories(boto3.client("ecr", config=_CLIENT_CONFIG))
        find = FindSources(cached, TaggedRepositories(tagging), reach)
        return GatherRules(self._rules_file, self._rules_text, find, self._standing, self._alerts, self._clock)

    @cached_property
    def _rules_text(self) -> ReadsRulesText | None:
        uri = self._settings.rules_uri
        return rules_text_at(uri, partial(boto3.client, config=_CLIENT_CONFIG)) if uri else None

    @cached_property
    def _standing(self) -> S3Standing:
        return S3Standing(boto3.client("s3", config=_CLIENT_CONFIG), self._settings.plans_bucket)

    @cached_property
    def _rules_with_pauses(self) -> LoadsRules:
        return RulesWithPauses(lambda: self._rules, self._known_pauses)

    @cached_property
    def _known_pauses(self) -> KnownPauses:
        return KnownPauses(self._pauses, self._clock)

    @cached_property
    def _pauses(self) -> DynamoPauses:
        return DynamoPauses(boto3.client("dynamodb", config=_CLIENT_CONFIG), self._settings.records_table)

    def _rules_file(self) -> Rules:
        path = self._settings.rules_path
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the rules {path} cannot be read: {error}") from error
        return load_rules(text, source=path.name)

    @cached_property
    def _upstream(self) -> UpstreamRegistry:
        credentials = self._credentials
        return UpstreamRegistry(
            self._upstream_settings,
            runtime_api=self._settings.runtime_api,
            wall_clock=self._seconds,
            credentials=credentials,
            refused=credentials.refused,
            patience=_PATIENCE_SECONDS,
        )

    @cached_property
    def _credentials(self) -> UpstreamCredentials:
        return UpstreamCredentials(self._upstream_settings, Clients(self._client_of, self._seconds), self._seconds)

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session()  # of the threads that ask upstreams: the shared one may not be used by two at once

    def _client_of(self, service: str, region: str | None, keys: RoleKeys | None) -> Any:
        return self._session.client(
            cast("Any", service),
            region_name=region,
            aws_access_key_id=None if keys is None else keys.access_key_id,
            aws_secret_access_key=None if keys is None else keys.secret_access_key,
            aws_session_token=None if keys is None else keys.session_token,
            config=_CLIENT_CONFIG,
        )

    def _seconds(self) -> float:
        return self._clock().timestamp()

    def _upstream_settings(self, host: str) -> UpstreamSettings:
        return self._rules.settings_of(host) or UpstreamSettings(host)

    @cached_property
    def _ecr(self) -> "ECRClient":
        return boto3.client("ecr", config=_CLIENT_CONFIG)

    @cached_property
    def _target(self) -> EcrTarget:
        return EcrTarget(self._ecr)

    @cached_property
    def _mounts(self) -> EcrMounts:
        return EcrMounts(self._ecr, self._target, self._clock)

    @cached_property
    def _records(self) -> DynamoRecords:
        return DynamoRecords(boto3.client("dynamodb", config=_CLIENT_CONFIG), self._settings.records_table)

    @cached_property
    def _plans(self) -> S3Plans:
        return S3Plans(boto3.client("s3", config=_CLIENT_CONFIG), self._settings.plans_bucket)

    @cached_property
    def _queue(self) -> SqsChecks:
        return SqsChecks(boto3.client("sqs", config=_CLIENT_CONFIG), self._settings.checks_queue_url)

    @cached_property
    def _refreshes(self) -> StepFunctionsRefreshes:
        client = boto3.client("stepfunctions", config=_CLIENT_CONFIG)
        return StepFunctionsRefreshes(client, self._settings.refresh_state_machine_arn)

    @cached_property
    def _alerts(self) -> SnsAlerts:
        return SnsAlerts(boto3.client("sns", config=_CLIENT_CONFIG), self._settings.alerts_topic_arn)

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
