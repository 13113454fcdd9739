"""Says what AWS itself does by the roles of template.yaml: no request of a function shows it.

Knows which part of the template asks for it, and the page of AWS that says which permissions it takes.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

FUNCTION: Final = "AWS::Serverless::Function"
STATE_MACHINE: Final = "AWS::Serverless::StateMachine"


class PlatformNeed(NamedTuple):
    """A permission that a service of AWS uses in a role's name."""

    action: str
    who: str
    what: str
    source: str


def _needs(who: str, what: str, source: str, *actions: str) -> tuple[PlatformNeed, ...]:
    return tuple(PlatformNeed(action, who, what, source) for action in actions)


LOGS: Final = _needs(
    "Lambda",
    "writes the function's logs",
    "AWS Lambda Developer Guide, “Sending Lambda function logs to CloudWatch Logs”",
    *("logs:CreateLogStream", "logs:PutLogEvents"),
)
TRACES: Final = _needs(
    "Lambda",
    "sends traces to X-Ray",
    "AWS Lambda Developer Guide, “Visualize Lambda function invocations using AWS X-Ray”",
    *("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
)
QUEUE: Final = _needs(
    "Lambda",
    "polls the function's queue",
    "AWS Lambda Developer Guide, “Creating and configuring an Amazon SQS event source mapping”",
    *("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
)
NETWORK: Final = _needs(
    "Lambda",
    "connects the function to the VPC",
    "AWS Lambda Developer Guide, “Giving Lambda functions access to resources in an Amazon VPC”",
    *("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"),
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"),
)
SECRETS_KEY: Final = _needs(
    "Secrets Manager",
    "decrypts secrets that the function reads",
    "AWS Secrets Manager User Guide, “Secret encryption and decryption”",
    "kms:Decrypt",
)
RECORDS_KEY: Final = _needs(
    "DynamoDB",
    "decrypts the key of the table that the function reads or writes",
    "Amazon DynamoDB Developer Guide, “DynamoDB encryption at rest”, “Monitoring DynamoDB interaction with AWS KMS”",
    "kms:Decrypt",
)
KEYS: Final = MappingProxyType({"secretsmanager": SECRETS_KEY, "dynamodb": RECORDS_KEY})
"""What services use a KMS key for, by the first part of `kms:ViaService`."""

EXECUTION_LOGS: Final = _needs(
    "Step Functions",
    "delivers execution logs",
    "AWS Step Functions Developer Guide, “Using CloudWatch Logs to log execution history”",
    *("logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies"),
    *("logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery"),
)
EXECUTION_TRACES: Final = _needs(
    "Step Functions",
    "sends traces to X-Ray",
    "AWS Step Functions Developer Guide, “Trace Step Functions request data in AWS X-Ray”",
    *("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"),
)
ALL: Final = (*LOGS, *TRACES, *QUEUE, *NETWORK, *SECRETS_KEY, *RECORDS_KEY, *EXECUTION_LOGS, *EXECUTION_TRACES)


def needs_of(kind: str, properties: Mapping[str, Any]) -> Iterator[PlatformNeed]:
    """List what AWS does for one function or state machine, by its properties with those of Globals in them."""
    if kind == FUNCTION:
        yield from LOGS
        yield from TRACES if properties.get("Tracing") == "Active" else ()
        yield from QUEUE if any(each["Type"] == "SQS" for each in properties.get("Events", {}).values()) else ()
        yield from NETWORK if "VpcConfig" in properties else ()
    if kind == STATE_MACHINE:
        yield from EXECUTION_LOGS if properties.get("Logging", {}).get("Level", "OFF") != "OFF" else ()
        yield from EXECUTION_TRACES if properties.get("Tracing", {}).get("Enabled") else ()
