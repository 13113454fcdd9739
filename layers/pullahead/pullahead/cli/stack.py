"""The deployed stack as whoever runs a command may see it, by the AWS credential chain. Imports boto3.

Finds table, queue and bucket among the stack's outputs; makes a client only for what a command needs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from pullahead.aws.pauses import DynamoPauses
from pullahead.aws.records import DynamoRecords
from pullahead.aws.s3 import S3RulesState
from pullahead.aws.sqs import SqsCheckQueue, SqsDeadLetters
from pullahead.cli.failing import say
from pullahead.cli.rules_file import read_rules
from pullahead.cli.stack_arguments import Place
from pullahead.dead_letters import DeadLetterQueue, DeadLetterQueues, SourceQueue
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.active import CurrentRules
from pullahead.rules.model import Rules

_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=30)
_REFUSALS = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationErrorException", "UnauthorizedOperation"})
_PERMISSIONS = {
    "BatchGetItem": "dynamodb:BatchGetItem",
    "ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "DeleteMessage": "sqs:DeleteMessage",
    "DescribeStacks": "cloudformation:DescribeStacks",
    "GetObject": "s3:GetObject",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "Query": "dynamodb:Query",
    "ReceiveMessage": "sqs:ReceiveMessage",
    "Scan": "dynamodb:Scan",
    "SendMessage": "sqs:SendMessage",
    "SendMessageBatch": "sqs:SendMessage",
    "UpdateItem": "dynamodb:UpdateItem",
}


def now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


class DeployedStack:
    """What a command works on. Whatever it raises is a PullaheadError."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @cached_property
    def records(self) -> DynamoRecords:
        """The records."""
        return DynamoRecords(self._client("dynamodb"), self._table)

    @cached_property
    def pauses(self) -> DynamoPauses:
        """The paused rules."""
        return DynamoPauses(self._client("dynamodb"), self._table)

    @cached_property
    def queue(self) -> SqsCheckQueue:
        """The queue of checks."""
        return SqsCheckQueue(self._client("sqs"), self._output("ChecksQueueUrl"))

    @cached_property
    def dead_letters(self) -> DeadLetterQueues:
        """What was put aside of checks, and of pulls where the stack notices these."""
        places: dict[SourceQueue, DeadLetterQueue] = {"checks": self._dead_letters("Checks")}
        if "PullsDeadLetterQueueUrl" in self._outputs:
            places["pulls"] = self._dead_letters("Pulls")
        return DeadLetterQueues(places)

    def rules(self, file: str) -> Rules:
        """Put the rules in force together: what the schedule wrote down, and the rules file where that has none."""
        standing = S3RulesState(self._client("s3"), self._output("PlansBucketName"))
        rules = CurrentRules(lambda: read_rules(file), standing, now)()
        heartbeat = self.records.load_heartbeat()
        if heartbeat is not None and heartbeat.rules_digest != rules.digest:
            say(f"the rules in force are not those of {file}: it was changed and not deployed, or is another one")
        return rules

    def _dead_letters(self, name: str) -> SqsDeadLetters:
        aside, source = self._output(f"{name}DeadLetterQueueUrl"), self._output(f"{name}QueueUrl")
        return SqsDeadLetters(self._client("sqs"), aside, source)

    @property
    def _table(self) -> str:
        return self._place.table or self._output("RecordsTableName")

    def _output(self, name: str) -> str:
        if self._place.table is not None:
            raise ConfigError(f"this needs the output {name} of the stack; name it with --stack, rather than a table")
        found = self._outputs.get(name)
        if found is None:
            raise ConfigError(f"the stack {self._place.stack} has no output {name}; is it Pullahead, and up to date?")
        return found

    @cached_property
    def _outputs(self) -> dict[str, str]:
        stack = self._place.stack
        try:
            (found,) = self._client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ValidationError":
                raise ConfigError(
                    f"there is no stack {stack} in this account and Region; name it with --stack"
                ) from None
            raise
        return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}

    @cached_property
    def _session(self) -> boto3.Session:
        # boto3 itself only looks at AWS_DEFAULT_REGION, other SDKs and Lambda at AWS_REGION.
        return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)

    def _client(self, service: str) -> Any:
        return self._session.client(cast("Any", service), config=_CONFIG)


@contextmanager
def told_plainly() -> Iterator[None]:
    """Say in one line what AWS refuses, and which permission is missing. Raises ConfigError, StorageError."""
    try:
        yield
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError | BotoCoreError):
            raise _plain(cause) from error
        raise
    except (ClientError, BotoCoreError) as error:
        raise _plain(error) from error


def _plain(error: ClientError | BotoCoreError) -> ConfigError:
    if isinstance(error, NoCredentialsError):
        return ConfigError("there are no AWS credentials; log in (aws sso login, AWS_PROFILE)")
    if isinstance(error, NoRegionError):
        return ConfigError("no AWS Region is set; set AWS_REGION")
    if not isinstance(error, ClientError):
        return ConfigError(f"AWS cannot be asked: {error}")
    code, operation = error.response.get("Error", {}).get("Code", ""), error.operation_name
    if code in _REFUSALS:
        permission = _PERMISSIONS.get(operation, operation)
        return ConfigError(f"AWS refuses {operation}: you need the permission {permission} (docs/policies.md)")
    return ConfigError(f"AWS answers {operation} with {code}: {error.response.get('Error', {}).get('Message', '')}")
