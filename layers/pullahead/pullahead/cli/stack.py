"""The deployed stack that a command works on, reached by the AWS credential chain.

Table, queues and bucket are found among the stack's outputs; clients are made only for what a command needs.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from pullahead.aws.newer_items import NewerItems
from pullahead.aws.pauses import DynamoPauses
from pullahead.aws.records import DynamoRecords
from pullahead.aws.s3 import S3CompiledRules, S3PlanStore, S3RulesState
from pullahead.aws.sqs import SqsCheckQueue, SqsDeadLetters
from pullahead.aws.stepfunctions import StepFunctionsRefreshes
from pullahead.cli.options import RULES_FILE_HELP, UsageError, default_rules_file, parsed_by
from pullahead.cli.output import say
from pullahead.cli.rules_file import read_files
from pullahead.dashboard.find_subjects import parse_mirror_name
from pullahead.dead_letters import DeadLetterQueue, DeadLetterQueues, SourceQueue
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.active import CompiledForDeployment, CurrentRules, DeployedRules
from pullahead.rules.load import load_rules_files
from pullahead.rules.model import Rules
from pullahead.text import count_text, one_line

_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=30)
_SCANS_AT_ONCE = 8  # as boto3 keeps ten connections
_DEFAULT_STACK = "pullahead"
_ACCESS_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationErrorException", "UnauthorizedOperation"}
)
_PERMISSIONS = {
    "BatchGetItem": "dynamodb:BatchGetItem",
    "ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "DeleteMessage": "sqs:DeleteMessage",
    "DescribeExecution": "states:DescribeExecution",
    "DescribeStacks": "cloudformation:DescribeStacks",
    "GetObject": "s3:GetObject",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "PutItem": "dynamodb:PutItem",
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


class StackLocation(NamedTuple):
    """Where Pullahead is deployed: the name of its stack, or only that of its table of records."""

    stack: str = _DEFAULT_STACK
    table: str | None = None


def add_stack_options(parser: argparse.ArgumentParser) -> None:
    """Add what selects the stack, or only its table."""
    location = parser.add_mutually_exclusive_group()
    add_stack_option(location)
    location.add_argument(
        "--table", metavar="NAME", help="Use this table of records, if the stack may not be described"
    )


def add_stack_option(parser: "argparse._ActionsContainer") -> None:
    """Add what selects the stack."""
    parser.add_argument(
        "--stack", metavar="NAME", default=_DEFAULT_STACK, help=f"Use this deployed stack (default: {_DEFAULT_STACK})"
    )


def add_mirror_argument(parser: argparse.ArgumentParser) -> None:
    """Add the mirror that a command is about."""
    parser.add_argument(
        "mirror",
        metavar="MIRROR",
        type=parsed_by(parse_mirror_name),
        help="REPOSITORY:TAG as in Amazon ECR, or the image's address there",
    )


def add_rules_option(parser: argparse.ArgumentParser) -> None:
    """Add the rules file that was deployed."""
    parser.add_argument(
        "--rules",
        metavar="FILE",
        default=default_rules_file(),
        help=f"The deployed rules file, unless the stack has a RulesUri (default: {RULES_FILE_HELP})",
    )


@contextmanager
def deployed_stack(arguments: argparse.Namespace) -> "Iterator[DeployedStack]":
    """Open the stack that a command line names. Raises ConfigError and StorageError in plain words."""
    stack = DeployedStack(StackLocation(arguments.stack, getattr(arguments, "table", None)))
    with plain_aws_errors():
        try:
            yield stack
        finally:
            say_what_is_left_out(stack.newer_items)


def say_what_is_left_out(newer_items: NewerItems) -> None:
    """Say that there are records that this version cannot read."""
    left = newer_items.take()
    if left is not None:
        items = count_text(left.items, "item")
        say(f"{items} of a newer version of Pullahead left out, such as {left.keys[0]}: update this command line")
    damaged = newer_items.take_damaged()
    if damaged is not None:
        items, one = count_text(damaged.items, "item"), one_line(damaged.keys[0])
        say(f"{items} that cannot be read left out, such as {one} ({damaged.cause}): see docs/operating.md, Records")


class DeployedStack:
    """The stores and queues of a stack. Raises PullaheadError."""

    def __init__(self, location: StackLocation) -> None:
        self._location, self.newer_items = location, NewerItems()

    @cached_property
    def records(self) -> DynamoRecords:
        """The records of mirrors."""
        return DynamoRecords(self._client("dynamodb"), self._table, self.newer_items, _SCANS_AT_ONCE)

    @cached_property
    def pauses(self) -> DynamoPauses:
        """The paused rules."""
        return DynamoPauses(self._client("dynamodb"), self._table, self.newer_items)

    @cached_property
    def queue(self) -> SqsCheckQueue:
        """The queue of checks."""
        return SqsCheckQueue(self._client("sqs"), self._output("ChecksQueueUrl"))

    @cached_property
    def refreshes(self) -> StepFunctionsRefreshes:
        """The executions of the refresh state machine."""
        return StepFunctionsRefreshes(self._client("stepfunctions"), self._output("RefreshStateMachineArn"))

    @cached_property
    def plans(self) -> S3PlanStore:
        """The plans of refreshes."""
        return S3PlanStore(self._client("s3"), self._output("PlansBucketName"))

    @cached_property
    def dead_letters(self) -> DeadLetterQueues:
        """The dead-letter queues of checks, and of pulls if the stack has on-demand rules."""
        queues: dict[SourceQueue, DeadLetterQueue] = {"checks": self._dead_letters("Checks")}
        if "PullsDeadLetterQueueUrl" in self._outputs:
            queues["pulls"] = self._dead_letters("Pulls")
        return DeadLetterQueues(queues)

    @cached_property
    def rules_state(self) -> S3RulesState:
        """What the schedule stored of the rules."""
        return S3RulesState(self._client("s3"), self._output("PlansBucketName"))

    def rules(self, file: str) -> Rules:
        """Read the active rules: what the schedule stored and, without a RulesUri, the deployed rules file."""
        deployed = DeployedRules(lambda: read_files(file))
        store = S3CompiledRules(self._client("s3"), self._output("PlansBucketName"))
        compiled = CompiledForDeployment(store, deployed)
        rules = CurrentRules(lambda: load_rules_files(deployed.files), self.rules_state, now, compiled)()
        heartbeat = self.records.load_heartbeat()
        if heartbeat is not None and heartbeat.rules_digest != rules.digest:
            say(f"the active rules differ from {file}: deploy it, or name the deployed file with --rules")
        return rules

    def _dead_letters(self, name: str) -> SqsDeadLetters:
        dead_letters, source = self._output(f"{name}DeadLetterQueueUrl"), self._output(f"{name}QueueUrl")
        return SqsDeadLetters(self._client("sqs"), dead_letters, source)

    @property
    def _table(self) -> str:
        return self._location.table or self._output("RecordsTableName")

    def _output(self, name: str) -> str:
        if self._location.table is not None:
            raise UsageError(f"--table is not enough: the command needs the stack's output {name}; use --stack instead")
        found = self._outputs.get(name)
        if found is None:
            raise ConfigError(
                f"stack {self._location.stack} has no output {name}; check --stack, or update the stack to this version"
            )
        return found

    @cached_property
    def caller(self) -> str:
        """The ARN of who runs this command, as AWS names it."""
        return str(self._client("sts").get_caller_identity()["Arn"])

    @property
    def home(self) -> str:
        """The account and the Region of the stack, divided by a space; "" if only its table is known."""
        parts = [] if self._location.table is not None else self._stack["StackId"].split(":")
        return f"{parts[4]} {parts[3]}" if len(parts) > 4 else ""

    @cached_property
    def _outputs(self) -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self._stack.get("Outputs", [])}

    @cached_property
    def _stack(self) -> dict[str, Any]:
        stack = self._location.stack
        try:
            (found,) = self._client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ValidationError":
                raise ConfigError(
                    f"stack {stack} not found in this account and Region; check --stack, AWS_PROFILE and AWS_REGION"
                ) from None
            raise
        return dict(found)

    @cached_property
    def _session(self) -> boto3.Session:
        # boto3 itself only looks at AWS_DEFAULT_REGION, other SDKs and Lambda at AWS_REGION.
        return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)

    def _client(self, service: str) -> Any:
        return self._session.client(cast("Any", service), config=_CONFIG)


@contextmanager
def plain_aws_errors() -> Iterator[None]:
    """Turn errors of AWS into one line that names what to do. Raises ConfigError and StorageError."""
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
        return ConfigError("no AWS credentials found; run `aws sso login`, or set AWS_PROFILE")
    if isinstance(error, NoRegionError):
        return ConfigError("no AWS Region is configured; set AWS_REGION")
    if not isinstance(error, ClientError):
        return ConfigError(f"the request to AWS failed: {error}")
    code, operation = error.response.get("Error", {}).get("Code", ""), error.operation_name
    if code in _ACCESS_DENIED:
        permission = _PERMISSIONS.get(operation, operation)
        return ConfigError(f"AWS denied {operation}: the permission {permission} is missing (see docs/cli.md)")
    advice = "; check --table, --stack, AWS_PROFILE and AWS_REGION" if code == "ResourceNotFoundException" else ""
    return ConfigError(f"{operation} failed with {code}: {error.response.get('Error', {}).get('Message', '')}{advice}")
