"""Make the adapters from the settings, each when it is first needed."""

from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config

from pullahead.aws.assumed_roles import Clients, RoleKeys
from pullahead.aws.demands import DynamoDemands
from pullahead.aws.event_windows import DynamoCheckBudget, DynamoEventWindows, DynamoReplayGuard
from pullahead.aws.incidents import DynamoIncidents
from pullahead.aws.newer_items import NewerItems
from pullahead.aws.notifications import EventBridgeOutcomes, SnsAlerts, SnsChatAlerts
from pullahead.aws.pauses import DynamoPauses
from pullahead.aws.records import DynamoRecords
from pullahead.aws.refresh_queue import DynamoRefreshSlots, DynamoWaitingRefreshes
from pullahead.aws.replications import DynamoReplications
from pullahead.aws.rules_file import rules_file_at
from pullahead.aws.s3 import DECLARED_RULES_KEY, S3CompiledRules, S3PlanStore, S3RulesState
from pullahead.aws.shared_rates import DynamoSharedRates
from pullahead.aws.sqs import SqsCheckQueue, SqsDeadLetters, SqsReceivedMessages
from pullahead.aws.stepfunctions import StepFunctionsRefreshes
from pullahead.aws.upstream_credentials import UpstreamCredentials
from pullahead.aws.webhook_secret import SecretsManagerWebhookSecrets
from pullahead.clock import Clock
from pullahead.ecr.streams import EcrMounts
from pullahead.ecr.tags import EcrTags
from pullahead.ecr.target import EcrTarget
from pullahead.mirrors.outbox import OutboxSender
from pullahead.oci import Repository
from pullahead.oci.registries import FindMounts
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.request import Timeouts
from pullahead.rules.active import CachedPauses, CompiledForDeployment, CurrentRules, DeployedRules, RulesWithPauses
from pullahead.rules.model import Rules, UpstreamSettings
from pullahead.rules.on_disk import read_rules_files
from pullahead.rules.ports import ActiveRules, RulesFile
from pullahead.rules.sources.discover import CompiledStores
from pullahead.rules.text import RulesText
from pullahead.settings import Settings
from pullahead.webhooks.receive import MAX_CHECKS_A_MINUTE, SecretCache
from pullahead.webhooks.senders import SENDERS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient


# AWS SDKs and Tools Reference, retry behavior: "standard" retries throttling and transient errors with jitter.
CLIENT_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60, max_pool_connections=16
)
_EVENTS_CONFIG = Config(  # an event that is not accepted at once is sent later; nothing waits for it
    retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=5
)


def system_clock() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


class Adapters:
    """The adapters of one process, each made when it is first used. AWS clients are shared: they are thread-safe."""

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        self._settings, self._clock = settings, clock

    @cached_property
    def _newer_items(self) -> NewerItems:
        return NewerItems()

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        return boto3.client("dynamodb", config=CLIENT_CONFIG)

    @cached_property
    def _s3(self) -> "S3Client":
        return boto3.client("s3", config=CLIENT_CONFIG)

    @cached_property
    def _sqs(self) -> "SQSClient":
        return boto3.client("sqs", config=CLIENT_CONFIG)

    @cached_property
    def _sns(self) -> "SNSClient":
        return boto3.client("sns", config=CLIENT_CONFIG)

    @property
    def _rules(self) -> Rules:
        return self._current_rules()

    @cached_property
    def _current_rules(self) -> CurrentRules:
        deployed = self._deployed_rules
        compiled = CompiledForDeployment(self._compiled_rules, deployed)
        return CurrentRules(deployed, self._rules_state, self._clock, compiled)

    @cached_property
    def _external_rules(self) -> RulesFile | None:
        uri = self._settings.rules_uri
        return rules_file_at(uri, partial(boto3.client, config=CLIENT_CONFIG)) if uri else None

    @cached_property
    def _rules_state(self) -> S3RulesState:
        return S3RulesState(self._s3, self._settings.plans_bucket)

    @cached_property
    def _compiled_rules(self) -> S3CompiledRules:
        return S3CompiledRules(self._s3, self._settings.plans_bucket)

    @cached_property
    def _compiled_stores(self) -> CompiledStores:
        declared = S3CompiledRules(self._s3, self._settings.plans_bucket, DECLARED_RULES_KEY)
        return CompiledStores(declared, self._compiled_rules)

    @cached_property
    def _rules_with_pauses(self) -> ActiveRules:
        return RulesWithPauses(lambda: self._rules, self._cached_pauses.paused_rules)

    @cached_property
    def _cached_pauses(self) -> CachedPauses:
        return CachedPauses(self._pauses, self._clock)

    @cached_property
    def _pauses(self) -> DynamoPauses:
        return DynamoPauses(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _deployed_rules(self) -> DeployedRules:
        return DeployedRules(self._read_rules_files)

    def _read_rules_files(self) -> tuple[RulesText, ...]:
        path = self._settings.rules_path
        return read_rules_files(path, name=path.name)

    @cached_property
    def _upstream(self) -> UpstreamRegistry:
        credentials = self._credentials
        return UpstreamRegistry(
            self._upstream_settings,
            runtime_api=self._settings.runtime_api,
            wall_clock=self._seconds,
            credentials=credentials,
            refused=credentials.refused,
            timeouts=Timeouts(total=self._settings.upstream_timeout_seconds),
            patience=self._settings.upstream_patience_seconds,
            take=self._shared_rates if self._settings.shares_rates else None,
        )

    @cached_property
    def _shared_rates(self) -> DynamoSharedRates:
        return DynamoSharedRates(self._dynamodb, self._settings.records_table)

    @cached_property
    def _credentials(self) -> UpstreamCredentials:
        clients = Clients(self._client_of, self._seconds)
        return UpstreamCredentials(self._upstream_settings, clients, self._seconds, self._may_use_credentials)

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session()  # for threads that make clients: two may not use the default session at once

    def _client_of(self, service: str, region: str | None, keys: RoleKeys | None) -> Any:
        return self._session.client(
            cast("Any", service),
            region_name=region,
            aws_access_key_id=None if keys is None else keys.access_key_id,
            aws_secret_access_key=None if keys is None else keys.secret_access_key,
            aws_session_token=None if keys is None else keys.session_token,
            config=CLIENT_CONFIG,
        )

    def _seconds(self) -> float:
        return self._clock().timestamp()

    def _may_use_credentials(self, upstream: Repository) -> bool:
        return self._rules.may_use_credentials(upstream)

    def _upstream_settings(self, host: str) -> UpstreamSettings:
        return self._rules.settings_of(host) or UpstreamSettings(host)

    @cached_property
    def _ecr(self) -> "ECRClient":
        return boto3.client("ecr", config=CLIENT_CONFIG)

    @cached_property
    def _target(self) -> EcrTarget:
        return EcrTarget(self._ecr, expire_untagged_days=self._settings.expire_untagged_days)

    @cached_property
    def _tags(self) -> EcrTags:
        return EcrTags(self._ecr)

    @cached_property
    def _find_mounts(self) -> FindMounts:
        return EcrMounts(self._ecr, self._target, self._clock).find_mounts

    @cached_property
    def _records(self) -> DynamoRecords:
        return DynamoRecords(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _event_windows(self) -> DynamoEventWindows:
        return DynamoEventWindows(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _replications(self) -> DynamoReplications:
        return DynamoReplications(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _webhook_secrets(self) -> SecretCache:
        client = boto3.client("secretsmanager", config=CLIENT_CONFIG)
        secrets = SecretsManagerWebhookSecrets(client, self._settings.webhook_secret, SENDERS)
        return SecretCache(secrets, self._clock)

    @cached_property
    def _replay_guard(self) -> DynamoReplayGuard:
        return DynamoReplayGuard(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _check_budget(self) -> DynamoCheckBudget:
        return DynamoCheckBudget(self._dynamodb, self._settings.records_table, MAX_CHECKS_A_MINUTE, self._newer_items)

    @cached_property
    def _outbox_sender(self) -> OutboxSender:
        outcomes = EventBridgeOutcomes(boto3.client("events", config=_EVENTS_CONFIG))
        return OutboxSender(self._records, outcomes, self._clock)

    @cached_property
    def _demands(self) -> DynamoDemands:
        return DynamoDemands(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _plans(self) -> S3PlanStore:
        return S3PlanStore(self._s3, self._settings.plans_bucket)

    @cached_property
    def _queue(self) -> SqsCheckQueue:
        return SqsCheckQueue(self._sqs, self._settings.checks_queue_url)

    @cached_property
    def _received_messages(self) -> SqsReceivedMessages:
        return SqsReceivedMessages(self._sqs, self._settings.source_queue_url)

    @cached_property
    def _dead_letters(self) -> SqsDeadLetters:
        return SqsDeadLetters(self._sqs, self._settings.dead_letter_queue_url)

    @cached_property
    def _refreshes(self) -> StepFunctionsRefreshes:
        client = boto3.client("stepfunctions", config=CLIENT_CONFIG)
        return StepFunctionsRefreshes(client, self._settings.refresh_state_machine_arn)

    @cached_property
    def _slots(self) -> DynamoRefreshSlots:
        return DynamoRefreshSlots(self._dynamodb, self._settings.records_table, newer=self._newer_items)

    @cached_property
    def _waiting_refreshes(self) -> DynamoWaitingRefreshes:
        return DynamoWaitingRefreshes(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _alerts(self) -> SnsAlerts:
        return SnsAlerts(self._sns, self._settings.alerts_topic_arn)

    @cached_property
    def _chat_alerts(self) -> SnsChatAlerts:
        return SnsChatAlerts(self._sns, self._settings.chat_alerts_topic_arn)

    @cached_property
    def _incidents(self) -> DynamoIncidents:
        return DynamoIncidents(self._dynamodb, self._settings.records_table, self._newer_items)
