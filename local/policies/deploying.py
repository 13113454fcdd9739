"""Writes the permissions that deploying the template requires, by resource type, in policies within IAM's limits.

With `sam deploy` CloudFormation acts in the name of its caller, so the caller needs what the resource types need. An
action is listed once, with the type that needs it first.
"""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

STACK: Final = "pullahead"
REGION: Final = "eu-west-1"
ACCOUNT: Final = "123456789012"


class Deploys(NamedTuple):
    """What one resource type takes: actions on resources of its own, and actions that have no resource to name."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    everywhere: tuple[str, ...] = ()


def _actions(service: str, verbs: str) -> tuple[str, ...]:
    return tuple(f"{service}:{verb}" for verb in verbs.split())


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


TYPES: Final[Mapping[str, Deploys]] = MappingProxyType(
    {
        "AWS::Serverless::Function": Deploys(
            _actions(
                "lambda",
                "AddPermission CreateFunction DeleteFunction DeleteFunctionConcurrency GetFunction "
                "GetFunctionCodeSigningConfig GetFunctionConfiguration GetFunctionRecursionConfig GetPolicy "
                "GetRuntimeManagementConfig ListTags PutFunctionConcurrency PutFunctionRecursionConfig "
                "RemovePermission TagResource UntagResource UpdateFunctionCode UpdateFunctionConfiguration",
            ),
            (_arn("lambda", f"function:{STACK}-*"),),
            _actions(
                "lambda",
                "CreateEventSourceMapping DeleteEventSourceMapping GetEventSourceMapping UpdateEventSourceMapping",
            )
            + _actions("ec2", "DescribeSecurityGroups DescribeSubnets DescribeVpcs"),
        ),
        "AWS::Lambda::Permission": Deploys(
            _actions("lambda", "AddPermission GetPolicy RemovePermission"), (_arn("lambda", f"function:{STACK}-*"),)
        ),
        "AWS::Lambda::Url": Deploys(
            _actions(
                "lambda",
                "CreateFunctionUrlConfig DeleteFunctionUrlConfig GetFunctionUrlConfig UpdateFunctionUrlConfig",
            ),
            (_arn("lambda", f"function:{STACK}-*"),),
        ),
        "AWS::Serverless::LayerVersion": Deploys(
            _actions("lambda", "DeleteLayerVersion GetLayerVersion PublishLayerVersion"),
            tuple(_arn("lambda", f"layer:{name}Layer*") for name in ("Pullahead", "Rules", "Signatures")),
        ),
        "AWS::Serverless::StateMachine": Deploys(
            _actions(
                "states",
                "CreateStateMachine DeleteStateMachine DescribeStateMachine ListStateMachineVersions "
                "ListTagsForResource TagResource UntagResource UpdateStateMachine",
            ),
            (_arn("states", "stateMachine:RefreshStateMachine-*"),),
            # The caller is asked whether executions may be logged.
            _actions(
                "logs",
                "CreateLogDelivery DeleteLogDelivery DescribeResourcePolicies GetLogDelivery ListLogDeliveries "
                "PutResourcePolicy UpdateLogDelivery",
            )
            + _actions("states", "ValidateStateMachineDefinition"),
        ),
        "AWS::IAM::Role": Deploys(
            _actions(
                "iam",
                "CreateRole DeleteRole DeleteRolePolicy GetRole GetRolePolicy ListAttachedRolePolicies "
                "ListRolePolicies PassRole PutRolePolicy TagRole UntagRole UpdateAssumeRolePolicy UpdateRole",
            ),
            (f"arn:aws:iam::{ACCOUNT}:role/{STACK}-*",),
        ),
        "AWS::Events::Rule": Deploys(
            _actions(
                "events",
                "DeleteRule DescribeRule ListTagsForResource ListTargetsByRule PutRule PutTargets RemoveTargets "
                "TagResource UntagResource",
            ),
            (_arn("events", f"rule/{STACK}-*"),),
        ),
        "AWS::SQS::Queue": Deploys(
            _actions(
                "sqs", "CreateQueue DeleteQueue GetQueueAttributes ListQueueTags SetQueueAttributes TagQueue UntagQueue"
            ),
            (_arn("sqs", f"{STACK}-*"),),
        ),
        "AWS::SQS::QueuePolicy": Deploys(_actions("sqs", "SetQueueAttributes"), (_arn("sqs", f"{STACK}-*"),)),
        "AWS::SNS::Topic": Deploys(
            _actions(
                "sns",
                "CreateTopic DeleteTopic GetDataProtectionPolicy GetTopicAttributes ListSubscriptionsByTopic "
                "ListTagsForResource SetTopicAttributes TagResource UntagResource",
            ),
            (_arn("sns", f"{STACK}-*"),),
        ),
        "AWS::SNS::TopicPolicy": Deploys(_actions("sns", "SetTopicAttributes"), (_arn("sns", f"{STACK}-*"),)),
        "AWS::SNS::Subscription": Deploys(
            _actions("sns", "Subscribe"),
            (_arn("sns", f"{STACK}-*"),),
            _actions("sns", "GetSubscriptionAttributes SetSubscriptionAttributes Unsubscribe"),
        ),
        "AWS::DynamoDB::Table": Deploys(
            _actions(
                "dynamodb",
                "CreateTable DeleteTable DescribeContinuousBackups DescribeContributorInsights "
                "DescribeKinesisStreamingDestination DescribeTable DescribeTimeToLive GetResourcePolicy "
                "ListTagsOfResource TagResource UntagResource UpdateContinuousBackups UpdateTable UpdateTimeToLive",
            ),
            (_arn("dynamodb", f"table/{STACK}-*"),),
        ),
        "AWS::S3::Bucket": Deploys(
            _actions(
                "s3",
                "CreateBucket DeleteBucket GetBucketOwnershipControls GetBucketPublicAccessBlock "
                "GetEncryptionConfiguration GetLifecycleConfiguration PutBucketOwnershipControls "
                "PutBucketPublicAccessBlock PutBucketTagging PutEncryptionConfiguration PutLifecycleConfiguration",
            ),
            (f"arn:aws:s3:::{STACK}-*",),
        ),
        "AWS::S3::BucketPolicy": Deploys(
            _actions("s3", "DeleteBucketPolicy GetBucketPolicy PutBucketPolicy"), (f"arn:aws:s3:::{STACK}-*",)
        ),
        "AWS::Logs::LogGroup": Deploys(
            _actions(
                "logs",
                "CreateLogGroup DeleteLogGroup DeleteRetentionPolicy ListTagsForResource PutRetentionPolicy "
                "TagResource UntagResource",
            ),
            (_arn("logs", f"log-group:{STACK}-*"), _arn("logs", f"log-group:/aws/vendedlogs/states/{STACK}-*")),
            _actions("logs", "DescribeLogGroups"),
        ),
        "AWS::CloudWatch::Alarm": Deploys(
            _actions(
                "cloudwatch",
                "DeleteAlarms DescribeAlarms ListTagsForResource PutMetricAlarm TagResource UntagResource",
            ),
            (_arn("cloudwatch", f"alarm:{STACK}-*"),),
        ),
        "AWS::CloudWatch::Dashboard": Deploys(
            _actions("cloudwatch", "DeleteDashboards GetDashboard PutDashboard"),
            (f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{STACK}*",),
        ),
    }
)

# What `sam deploy` itself does: the change set, and the bucket that `resolve_s3` makes once for all stacks.
_CHANGE_SETS: Final = _actions(
    "cloudformation",
    "CreateChangeSet DeleteChangeSet DeleteStack DescribeChangeSet DescribeStackEvents DescribeStackResources "
    "DescribeStacks ExecuteChangeSet GetTemplate GetTemplateSummary ListChangeSets",
)
_MADE_BY_SAM: Final = "aws-sam-cli-managed-default"
_UPLOADS: Final = _actions(
    "s3",
    "CreateBucket DeleteObject GetBucketLocation GetBucketPolicy GetObject ListBucket PutBucketPolicy "
    "PutBucketPublicAccessBlock PutBucketTagging PutBucketVersioning PutEncryptionConfiguration PutObject",
)


_WHAT_RUNS: Final = frozenset(
    {
        "AWS::IAM::Role",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Url",
        "AWS::Logs::LogGroup",
        "AWS::Serverless::Function",
        "AWS::Serverless::LayerVersion",
        "AWS::Serverless::StateMachine",
    }
)
"""The types of the first policy; all others are in the second."""


class Limit(NamedTuple):
    """How much a policy may hold, in characters without white space."""

    kind: str
    characters: int
    counts: str


# IAM User Guide, "IAM and AWS STS quotas".
LIMITS: Final = (
    Limit("a managed policy", 6_144, "each"),
    Limit("inline policies of a role", 10_240, "all together"),
    Limit("inline policies of a group", 5_120, "all together"),
    Limit("inline policies of a user", 2_048, "all together"),
)


def size(policy: Mapping[str, Any]) -> int:
    """Count a policy's characters as IAM does, without white space."""
    return len("".join(json.dumps(policy, separators=(",", ":")).split()))


def deploy_policies(types: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the two policies for deploying resources of these types: for what runs, and for what it works with.

    Raises KeyError for a type that nobody has said anything about.
    """
    wanted = sorted(set(types))
    stack = [
        _statement(
            "ChangeTheStack",
            _CHANGE_SETS,
            (
                _arn("cloudformation", f"stack/{STACK}/*"),
                _arn("cloudformation", f"stack/{_MADE_BY_SAM}/*"),
                f"arn:aws:cloudformation:{REGION}:aws:transform/Serverless-2016-10-31",
            ),
        ),
        # `sam delete` looks for stacks of its own that it might have made beside this one, and fails where it may not.
        _statement(
            "LookForStacksBeside", ("cloudformation:DescribeStacks",), (_arn("cloudformation", f"stack/{STACK}-*/*"),)
        ),
        _statement("UploadTheCode", _UPLOADS, (f"arn:aws:s3:::{_MADE_BY_SAM}-*", f"arn:aws:s3:::{_MADE_BY_SAM}-*/*")),
    ]
    what_runs = [each for each in wanted if each in _WHAT_RUNS]
    others = [each for each in wanted if each not in _WHAT_RUNS]
    return _policy([*stack, *_of_types(what_runs)]), _policy(_of_types(others))


def _of_types(types: Iterable[str]) -> list[dict[str, Any]]:
    named = [_statement(_sid(each), TYPES[each].actions, TYPES[each].resources) for each in types]
    everywhere = sorted({action for each in types for action in TYPES[each].everywhere})
    return [*named, _statement("WithoutResourcesToName", everywhere, ("*",))]


def _policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _sid(kind: str) -> str:
    return "".join(kind.split("::")[1:])


def _statement(sid: str, actions: Iterable[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": list(resources)}
