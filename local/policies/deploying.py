"""Says what whoever deploys the template must be allowed, resource type by resource type.

With `sam deploy` CloudFormation acts in the name of its caller, so the caller needs what the resource types need. An
action is listed once, with the type that needs it first.
"""

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
                "AddPermission CreateFunction CreateFunctionUrlConfig DeleteFunction DeleteFunctionConcurrency "
                "DeleteFunctionUrlConfig GetFunction GetFunctionCodeSigningConfig GetFunctionConfiguration "
                "GetFunctionRecursionConfig GetFunctionUrlConfig GetPolicy GetRuntimeManagementConfig ListTags "
                "PutFunctionConcurrency PutFunctionRecursionConfig RemovePermission TagResource UntagResource "
                "UpdateFunctionCode UpdateFunctionConfiguration UpdateFunctionUrlConfig",
            ),
            (_arn("lambda", f"function:{STACK}-*"),),
            _actions(
                "lambda",
                "CreateEventSourceMapping DeleteEventSourceMapping GetEventSourceMapping UpdateEventSourceMapping",
            )
            + _actions("ec2", "DescribeSecurityGroups DescribeSubnets DescribeVpcs"),
        ),
        "AWS::Serverless::LayerVersion": Deploys(
            _actions("lambda", "DeleteLayerVersion GetLayerVersion PublishLayerVersion"),
            (_arn("lambda", "layer:PullaheadLayer*"), _arn("lambda", "layer:RulesLayer*")),
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
    "DescribeStacks ExecuteChangeSet GetTemplate GetTemplateSummary",
)
_MADE_BY_SAM: Final = "aws-sam-cli-managed-default"
_UPLOADS: Final = _actions(
    "s3",
    "CreateBucket GetBucketLocation GetBucketPolicy GetObject ListBucket PutBucketPolicy PutBucketPublicAccessBlock "
    "PutBucketTagging PutBucketVersioning PutEncryptionConfiguration PutObject",
)


def deploy_policy(types: Iterable[str]) -> dict[str, Any]:
    """Write the policy for whoever deploys resources of these types.

    Raises KeyError for a type that nobody has said anything about.
    """
    wanted = sorted(set(types))
    everywhere = sorted({action for each in wanted for action in TYPES[each].everywhere})
    return {
        "Version": "2012-10-17",
        "Statement": [
            _statement(
                "ChangeTheStack",
                _CHANGE_SETS,
                (
                    _arn("cloudformation", f"stack/{STACK}/*"),
                    _arn("cloudformation", f"stack/{_MADE_BY_SAM}/*"),
                    f"arn:aws:cloudformation:{REGION}:aws:transform/Serverless-2016-10-31",
                ),
            ),
            _statement(
                "UploadTheCode", _UPLOADS, (f"arn:aws:s3:::{_MADE_BY_SAM}-*", f"arn:aws:s3:::{_MADE_BY_SAM}-*/*")
            ),
            *(_statement(_sid(each), TYPES[each].actions, TYPES[each].resources) for each in wanted),
            _statement("WithoutResourcesToName", everywhere, ("*",)),
        ],
    }


def _sid(kind: str) -> str:
    return "".join(kind.split("::")[1:])


def _statement(sid: str, actions: Iterable[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": list(resources)}
