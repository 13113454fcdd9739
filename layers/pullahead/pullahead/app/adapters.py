"""Make the adapters from the settings, each when it is first needed."""

from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING

from botocore.config import Config

from pullahead.aws.assumed_roles import Clients
from pullahead.aws.clients import AwsClients
from pullahead.aws.newer_items import NewerItems
from pullahead.aws.records import DynamoRecords
from pullahead.aws.s3 import DECLARED_RULES_KEY, S3CompiledRules, S3PlanStore, S3RulesState
from pullahead.clock import Clock
from pullahead.mirrors.outbox import OutboxSender
from pullahead.oci import Repository
from pullahead.rules.active import CachedPauses, CompiledForDeployment, CurrentRules, DeployedRules, RulesWithPauses
from pullahead.rules.model import Rules, UpstreamSettings
from pullahead.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

    from pullahead.admission.signatures.prove import LoadTrustRoot, ReadKey
    from pullahead.aws.demands import DynamoDemands
    from pullahead.aws.event_windows import DynamoCheckBudget, DynamoEventWindows, DynamoReplayGuard
    from pullahead.aws.incidents import DynamoIncidents
    from pullahead.aws.notifications import SnsAlerts, SnsChatAlerts
    from pullahead.aws.pauses import DynamoPauses
    from pullahead.aws.refresh_queue import DynamoRefreshSlots, DynamoWaitingRefreshes
    from pullahead.aws.replications import DynamoReplications
    from pullahead.aws.shared_rates import DynamoSharedRates
    from pullahead.aws.sqs import SqsCheckQueue, SqsDeadLetters, SqsReceivedMessages
    from pullahead.aws.stepfunctions import StepFunctionsRefreshes
    from pullahead.aws.upstream_credentials import UpstreamCredentials
    from pullahead.ecr.image_scans import EcrImageScans
    from pullahead.ecr.tags import EcrTags
    from pullahead.ecr.target import EcrTarget
    from pullahead.oci.registries import FindMounts
    from pullahead.registry.client import UpstreamRegistry
    from pullahead.rules.ports import ActiveRules, RulesFile
    from pullahead.rules.sources.discover import CompiledStores
    from pullahead.rules.text import RulesText
    from pullahead.webhooks.receive import SecretCache


# AWS SDKs and Tools Reference, retry behavior: "standard" retries throttling and transient errors with jitter.
CLIENT_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60, max_pool_connections=16
)
_EVENTS_CONFIG = Config(  # an event that is not accepted at once is sent later; nothing waits for it
    retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=5
)

_SCANS_CONFIG = Config(  # "standard" takes LimitExceededException, one scan a day, for throttling, and tries again
    retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=60
)


def system_clock() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


class Adapters:
    """The adapters of one process, each made when it is first used. AWS clients are shared: they are thread-safe."""

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        self._settings, self._clock = settings, clock

    @cached_property
    def _aws(self) -> AwsClients:
        return AwsClients(CLIENT_CONFIG)

    @cached_property
    def _newer_items(self) -> NewerItems:
        return NewerItems()

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self._aws("dynamodb")
        return client

    @cached_property
    def _s3(self) -> "S3Client":
        client: S3Client = self._aws("s3")
        return client

    @cached_property
    def _sqs(self) -> "SQSClient":
        client: SQSClient = self._aws("sqs")
        return client

    @cached_property
    def _sns(self) -> "SNSClient":
        client: SNSClient = self._aws("sns")
        return client

    @property
    def _rules(self) -> Rules:
        return self._current_rules()

    @cached_property
    def _current_rules(self) -> CurrentRules:
        deployed = self._deployed_rules
        compiled = CompiledForDeployment(self._compiled_rules, deployed)
        return CurrentRules(deployed, self._rules_state, self._clock, compiled)

    @cached_property
    def _external_rules(self) -> "RulesFile | None":
        from pullahead.aws.rules_file import rules_file_at

        uri = self._settings.rules_uri
        return rules_file_at(uri, self._aws) if uri else None

    @cached_property
    def _rules_state(self) -> S3RulesState:
        return S3RulesState(self._s3, self._settings.plans_bucket)

    @cached_property
    def _compiled_rules(self) -> S3CompiledRules:
        return S3CompiledRules(self._s3, self._settings.plans_bucket)

    @cached_property
    def _compiled_stores(self) -> "CompiledStores":
        from pullahead.rules.sources.discover import CompiledStores

        declared = S3CompiledRules(self._s3, self._settings.plans_bucket, DECLARED_RULES_KEY)
        return CompiledStores(declared, self._compiled_rules)

    @cached_property
    def _rules_with_pauses(self) -> "ActiveRules":
        return RulesWithPauses(lambda: self._rules, self._cached_pauses.paused_rules)

    @cached_property
    def _cached_pauses(self) -> CachedPauses:
        return CachedPauses(self._pauses, self._clock)

    @cached_property
    def _pauses(self) -> "DynamoPauses":
        from pullahead.aws.pauses import DynamoPauses

        return DynamoPauses(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _deployed_rules(self) -> DeployedRules:
        return DeployedRules(self._read_rules_files)

    def _read_rules_files(self) -> "tuple[RulesText, ...]":
        from pullahead.rules.on_disk import read_rules_files

        path = self._settings.rules_path
        return read_rules_files(path, name=path.name)

    @cached_property
    def _upstream(self) -> "UpstreamRegistry":
        from pullahead.registry.client import UpstreamRegistry
        from pullahead.registry.request import Timeouts

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
    def _shared_rates(self) -> "DynamoSharedRates":
        from pullahead.aws.shared_rates import DynamoSharedRates

        return DynamoSharedRates(self._dynamodb, self._settings.records_table)

    @cached_property
    def _credentials(self) -> "UpstreamCredentials":
        from pullahead.aws.upstream_credentials import UpstreamCredentials

        clients = Clients(self._aws, self._seconds)
        return UpstreamCredentials(self._upstream_settings, clients, self._seconds, self._may_use_credentials)

    def _seconds(self) -> float:
        return self._clock().timestamp()

    def _may_use_credentials(self, upstream: Repository) -> bool:
        return self._rules.may_use_credentials(upstream)

    def _upstream_settings(self, host: str) -> UpstreamSettings:
        return self._rules.settings_of(host) or UpstreamSettings(host)

    @cached_property
    def _trust_root(self) -> "LoadTrustRoot":
        from pullahead.admission.signatures.trust_root import shipped_trust_root
        from pullahead.aws.trust_root_file import S3TrustRoot

        uri = self._settings.trust_root_uri
        return S3TrustRoot(self._s3, uri, self._clock) if uri else cache(shipped_trust_root)

    @cached_property
    def _signature_keys(self) -> "ReadKey":
        from pullahead.aws.signature_keys import KmsPublicKeys

        return KmsPublicKeys(self._aws.when_used("kms"), self._clock)

    @cached_property
    def _ecr(self) -> "ECRClient":
        client: ECRClient = self._aws("ecr")
        return client

    @cached_property
    def _target(self) -> "EcrTarget":
        from pullahead.ecr.target import EcrTarget

        return EcrTarget(self._ecr, expire_untagged_days=self._settings.expire_untagged_days)

    @cached_property
    def _image_scans(self) -> "EcrImageScans":
        from pullahead.ecr.image_scans import EcrImageScans

        return EcrImageScans(self._ecr, self._aws.when_used("ecr", config=_SCANS_CONFIG))

    @cached_property
    def _tags(self) -> "EcrTags":
        from pullahead.ecr.tags import EcrTags

        return EcrTags(self._ecr)

    @cached_property
    def _find_mounts(self) -> "FindMounts":
        from pullahead.ecr.streams import EcrMounts

        return EcrMounts(self._ecr, self._target, self._clock).find_mounts

    @cached_property
    def _records(self) -> DynamoRecords:
        return DynamoRecords(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _event_windows(self) -> "DynamoEventWindows":
        from pullahead.aws.event_windows import DynamoEventWindows

        return DynamoEventWindows(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _replications(self) -> "DynamoReplications":
        from pullahead.aws.replications import DynamoReplications

        return DynamoReplications(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _webhook_secrets(self) -> "SecretCache":
        from pullahead.aws.webhook_secret import SecretsManagerWebhookSecrets
        from pullahead.webhooks.receive import SecretCache
        from pullahead.webhooks.senders import SENDERS

        client = self._aws("secretsmanager")
        secrets = SecretsManagerWebhookSecrets(client, self._settings.webhook_secret, SENDERS)
        return SecretCache(secrets, self._clock)

    @cached_property
    def _replay_guard(self) -> "DynamoReplayGuard":
        from pullahead.aws.event_windows import DynamoReplayGuard

        return DynamoReplayGuard(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _check_budget(self) -> "DynamoCheckBudget":
        from pullahead.aws.event_windows import DynamoCheckBudget
        from pullahead.webhooks.receive import MAX_CHECKS_A_MINUTE

        return DynamoCheckBudget(self._dynamodb, self._settings.records_table, MAX_CHECKS_A_MINUTE, self._newer_items)

    @cached_property
    def _outbox_sender(self) -> OutboxSender:
        from pullahead.aws.notifications import EventBridgeOutcomes

        outcomes = EventBridgeOutcomes(self._aws.when_used("events", config=_EVENTS_CONFIG))
        return OutboxSender(self._records, outcomes, self._clock)

    @cached_property
    def _demands(self) -> "DynamoDemands":
        from pullahead.aws.demands import DynamoDemands

        return DynamoDemands(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _plans(self) -> S3PlanStore:
        return S3PlanStore(self._s3, self._settings.plans_bucket)

    @cached_property
    def _queue(self) -> "SqsCheckQueue":
        from pullahead.aws.sqs import SqsCheckQueue

        return SqsCheckQueue(self._sqs, self._settings.checks_queue_url)

    @cached_property
    def _received_messages(self) -> "SqsReceivedMessages":
        from pullahead.aws.sqs import SqsReceivedMessages

        return SqsReceivedMessages(self._sqs, self._settings.source_queue_url)

    @cached_property
    def _dead_letters(self) -> "SqsDeadLetters":
        from pullahead.aws.sqs import SqsDeadLetters

        return SqsDeadLetters(self._sqs, self._settings.dead_letter_queue_url)

    @cached_property
    def _refreshes(self) -> "StepFunctionsRefreshes":
        from pullahead.aws.stepfunctions import StepFunctionsRefreshes

        client = self._aws.when_used("stepfunctions")
        return StepFunctionsRefreshes(client, self._settings.refresh_state_machine_arn)

    @cached_property
    def _slots(self) -> "DynamoRefreshSlots":
        from pullahead.aws.refresh_queue import DynamoRefreshSlots

        return DynamoRefreshSlots(self._dynamodb, self._settings.records_table, newer=self._newer_items)

    @cached_property
    def _waiting_refreshes(self) -> "DynamoWaitingRefreshes":
        from pullahead.aws.refresh_queue import DynamoWaitingRefreshes

        return DynamoWaitingRefreshes(self._dynamodb, self._settings.records_table, self._newer_items)

    @cached_property
    def _alerts(self) -> "SnsAlerts":
        from pullahead.aws.notifications import SnsAlerts

        return SnsAlerts(self._sns, self._settings.alerts_topic_arn)

    @cached_property
    def _chat_alerts(self) -> "SnsChatAlerts":
        from pullahead.aws.notifications import SnsChatAlerts

        return SnsChatAlerts(self._sns, self._settings.chat_alerts_topic_arn)

    @cached_property
    def _incidents(self) -> "DynamoIncidents":
        from pullahead.aws.incidents import DynamoIncidents

        return DynamoIncidents(self._dynamodb, self._settings.records_table, self._newer_items)
