"""Put the application together: settings → adapters → use cases. Nothing is made before it is needed."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, lru_cache

import boto3
from botocore.config import Config

from pullahead.aws.alerts import SnsAlerts
from pullahead.aws.plans import S3Plans
from pullahead.aws.queue import SqsChecks
from pullahead.aws.records import DynamoRecords
from pullahead.aws.refreshes import StepFunctionsRefreshes
from pullahead.errors import ConfigError
from pullahead.messages import (
    CheckRequest,
    OutcomeRequest,
    OutcomeResult,
    PlanResult,
    PublishResult,
    RefreshRequest,
    UnitRequest,
)
from pullahead.ports import Clock
from pullahead.registry import UpstreamRegistry
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules, UpstreamSettings
from pullahead.settings import Settings
from pullahead.targets.ecr import EcrTarget
from pullahead.usecases.check import CheckMirrors, CheckResult
from pullahead.usecases.copy_unit import CopyUnit
from pullahead.usecases.outcome import record_outcome
from pullahead.usecases.plan import plan_copy
from pullahead.usecases.publish import publish_image
from pullahead.usecases.schedule import Scheduled, schedule_checks
from pullahead.waiting import wait_after_breaks

# AWS SDKs and Tools Reference, retry behavior: "standard" retries throttling and transient errors with jitter.
_CLIENT_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60, max_pool_connections=16
)
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
        return schedule_checks(self._rules, self._records, self._queue, self._clock())

    def check(self, request: CheckRequest) -> list[CheckResult]:
        """Check tags of one repository."""
        return self._check_mirrors(request)

    def plan_copy(self, request: RefreshRequest) -> PlanResult:
        """Plan a copy."""
        return plan_copy(request, self._upstream, self._target, self._plans)

    def copy_blobs(self, request: UnitRequest, remaining_seconds: Callable[[], float]) -> UnitRequest:
        """Copy one unit of a plan as far as the time goes."""
        return self._copy_unit(request, remaining_seconds)

    def publish_image(self, request: RefreshRequest) -> PublishResult:
        """Publish what was copied."""
        return publish_image(request, self._target, self._plans, self._records)

    def record_outcome(self, request: OutcomeRequest) -> OutcomeResult:
        """Record how a refresh ended."""
        return record_outcome(request, self._rules, self._records, self._alerts, self._clock)

    @cached_property
    def _rules(self) -> Rules:
        path = self._settings.rules_path
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the rules {path} cannot be read: {error}") from error
        return load_rules(text, source=path.name)

    @cached_property
    def _upstream(self) -> UpstreamRegistry:
        return UpstreamRegistry(self._upstream_settings)

    def _upstream_settings(self, host: str) -> UpstreamSettings:
        return next((known for known in self._rules.upstreams if known.host == host), UpstreamSettings(host))

    @cached_property
    def _target(self) -> EcrTarget:
        return EcrTarget(boto3.client("ecr", config=_CLIENT_CONFIG))

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
            lambda: self._rules, self._upstream, self._target, self._records, self._refreshes, self._alerts, self._clock
        )

    @cached_property
    def _copy_unit(self) -> CopyUnit:
        return CopyUnit(self._upstream, self._target, self._plans, wait_after_breaks, threads=_COPY_THREADS)


_clocks: list[Clock] = [system_clock]


def use_clock(clock: Clock) -> None:
    """Let this process's application tell the time by another clock; before it is first used (local AWS)."""
    _clocks[:] = [clock]
    application.cache_clear()


@lru_cache(maxsize=1)
def application() -> Application:
    """The application of this process, as its environment describes it."""
    return Application(Settings(os.environ), _clocks[0])
