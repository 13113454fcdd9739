"""Looks whether a stack is really there: every resource, not as a line in a list but as the thing itself.

Names the types that may stay unmade, each with the reason.
"""

import json
from collections.abc import Callable, Mapping, Set
from types import MappingProxyType
from typing import Any, Final

from botocore.exceptions import ClientError

from local.aws.cloudformation import HONOURED
from local.aws.patterns import UnsupportedPatternError, check_pattern
from local.aws.server import LocalAws
from local.aws.ticker import UnsupportedScheduleError, period_of
from local.deploy.errors import DeploymentError

# Types that are in a template and not in the local AWS. Everything else that is not made is an error.
PASSED_OVER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AWS::CloudWatch::Alarm": "no metrics are kept here that an alarm could watch",
        "AWS::CloudWatch::CompositeAlarm": "no metrics are kept here that an alarm could watch",
        "AWS::S3::BucketPolicy": "moto judges no resource policies",
        "AWS::SQS::QueuePolicy": "moto judges no resource policies",
        "AWS::SNS::TopicPolicy": "moto judges no resource policies",
    }
)
_COMPARED_OF_FUNCTIONS: Final = ("Architectures", "MemorySize", "Timeout", "Runtime", "Handler", "TracingConfig")


def check_kinds(template: Mapping[str, Any]) -> None:
    """Refuse a template with types that nothing here makes and looks at, or with properties that would be dropped.

    Raises:
        DeploymentError: it names the first such resource and its type.
    """
    for name, resource in template["Resources"].items():
        kind = resource["Type"]
        if kind not in _LOOKS and kind not in PASSED_OVER:
            raise DeploymentError(f"{name}: the local AWS makes no {kind}")
        lost = resource.get("Properties", {}).keys() - HONOURED.get(kind, resource.get("Properties", {}).keys())
        if lost:
            raise DeploymentError(f"{name}: the local AWS would drop {sorted(lost)} of {kind}")


def without_passed_over(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template without what may stay unmade, and without waiting for it."""
    kept = {name: made for name, made in template["Resources"].items() if made["Type"] not in PASSED_OVER}
    for name, resource in kept.items():
        wanted = resource.get("DependsOn", [])
        others = [other for other in ([wanted] if isinstance(wanted, str) else wanted) if other in kept]
        kept[name] = {**resource, "DependsOn": others}
    left_out = template["Resources"].keys() - kept.keys()
    stood_in: dict[str, Any] = _stood_in({**template, "Resources": kept}, left_out)
    return stood_in


def _stood_in(value: Any, left_out: Set[str]) -> Any:
    """Put a name in the place of every reference to a resource that is not made."""
    if isinstance(value, list):
        return [_stood_in(inner, left_out) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.keys() in ({"Ref"}, {"Fn::GetAtt"}):
        (named,) = value.values()
        parts = named if isinstance(named, list) else str(named).split(".")
        return "-".join(parts) if parts[0] in left_out else value
    return {name: _stood_in(inner, left_out) for name, inner in value.items()}


def verify(aws: LocalAws, template: Mapping[str, Any], physical: Mapping[str, str]) -> None:
    """Ask for every resource that the template declares and no condition leaves out.

    Raises:
        DeploymentError: one is missing, or lost what the template says of it.
    """
    for name, resource in template["Resources"].items():
        kind = resource["Type"]
        if kind in PASSED_OVER:
            continue
        if name not in physical:
            if "Condition" in resource:
                continue  # moto judged the condition; a resource without one must be there
            raise DeploymentError(f"{name}: {kind} was not made")
        try:
            _LOOKS[kind](aws, physical[name], resource.get("Properties", {}))
        except (ClientError, UnsupportedPatternError, UnsupportedScheduleError, _DifferentError) as error:
            raise DeploymentError(f"{name}: {kind} is not as the template says: {error}") from error


class _DifferentError(Exception):
    """A resource exists and is not what the template describes."""


def _function(aws: LocalAws, name: str, properties: Mapping[str, Any]) -> None:
    made = aws.client("lambda").get_function(FunctionName=name)["Configuration"]
    for key in _COMPARED_OF_FUNCTIONS:
        if key in properties and not _has_reference(properties[key]):
            _same(key, made.get(key), properties[key])
    _same("number of layers", len(made.get("Layers", [])), len(properties.get("Layers", [])))
    declared = properties.get("Environment", {}).get("Variables", {})
    missing = declared.keys() - made.get("Environment", {}).get("Variables", {}).keys()
    _same("missing environment variables", missing, set())


def _rule(aws: LocalAws, name: str, properties: Mapping[str, Any]) -> None:
    events = aws.client("events")
    made = events.describe_rule(Name=name)
    if "EventPattern" in made:
        check_pattern(json.loads(made["EventPattern"]))
    if "ScheduleExpression" in made:
        period_of(made["ScheduleExpression"])
    targets = events.list_targets_by_rule(Rule=name)["Targets"]
    _same("number of targets", len(targets), len(properties.get("Targets", [])))


def _mapping(aws: LocalAws, identifier: str, properties: Mapping[str, Any]) -> None:
    made = aws.client("lambda").get_event_source_mapping(UUID=identifier)
    for key in ("BatchSize", "FunctionResponseTypes", "ScalingConfig"):
        if key in properties and not _has_reference(properties[key]):
            _same(key, made.get(key), properties[key])


def _queue(aws: LocalAws, url: str, properties: Mapping[str, Any]) -> None:
    made = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    _same("redrive policy", "RedrivePolicy" in made, "RedrivePolicy" in properties)


def _table(aws: LocalAws, name: str, properties: Mapping[str, Any]) -> None:
    dynamodb = aws.client("dynamodb")
    described = dynamodb.describe_table(TableName=name)["Table"]
    indexes = [
        sorted(_index_keys(index) for index in side.get("GlobalSecondaryIndexes", []))
        for side in (described, properties)
    ]
    _same("indexes", *indexes)
    made = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    wanted = properties.get("TimeToLiveSpecification", {}).get("AttributeName")
    _same("expiry attribute", made.get("AttributeName"), wanted)


def _url(aws: LocalAws, arn: str, properties: Mapping[str, Any]) -> None:
    made = aws.client("lambda").get_function_url_config(FunctionName=arn)
    _same("kind of authorization", made["AuthType"], "NONE")  # of which alone the local AWS knows what to do
    _same("kind of authorization", made["AuthType"], properties["AuthType"])


def _index_keys(index: Mapping[str, Any]) -> tuple[str, ...]:
    return (index["IndexName"], *(f"{key['KeyType']} {key['AttributeName']}" for key in index["KeySchema"]))


def _layer(aws: LocalAws, arn: str, _: Mapping[str, Any]) -> None:
    name, version = arn.rsplit(":", 2)[1:]
    aws.client("lambda").get_layer_version(LayerName=name, VersionNumber=int(version))


def _state_machine(aws: LocalAws, arn: str, properties: Mapping[str, Any]) -> None:
    made = aws.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    _same("name", made["stateMachineArn"], arn)
    logging = properties.get("LoggingConfiguration", {}).get("Level", "OFF")
    if not _has_reference(logging):
        _same("logging level", made["loggingConfiguration"]["level"], logging)


def _log_group(aws: LocalAws, name: str, _: Mapping[str, Any]) -> None:
    groups = aws.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    _same("log group", name in {group["logGroupName"] for group in groups}, True)


def _dashboard(aws: LocalAws, name: str, _: Mapping[str, Any]) -> None:
    body = aws.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    try:
        widgets = json.loads(body)["widgets"]
    except (ValueError, KeyError) as error:
        raise _DifferentError(f"its body is no list of widgets: {error}") from error
    _same("unfilled places", [widget for widget in widgets if "${" in json.dumps(widget)], [])


def _nothing_to_ask(_: LocalAws, __: str, ___: Mapping[str, Any]) -> None:
    """Be content with moto's word: there is no operation that shows this."""


# What the local AWS makes, and how to verify it. moto could make more, which is not verified here.
_LOOKS: Final[Mapping[str, Callable[[LocalAws, str, Mapping[str, Any]], None]]] = MappingProxyType(
    {
        "AWS::CloudWatch::Dashboard": _dashboard,
        "AWS::DynamoDB::Table": _table,
        "AWS::Events::Rule": _rule,
        "AWS::IAM::ManagedPolicy": lambda aws, arn, _: aws.client("iam").get_policy(PolicyArn=arn),
        "AWS::IAM::Policy": _nothing_to_ask,
        "AWS::IAM::Role": lambda aws, name, _: aws.client("iam").get_role(RoleName=name),
        "AWS::Lambda::EventSourceMapping": _mapping,
        "AWS::Lambda::Function": _function,
        "AWS::Lambda::LayerVersion": _layer,
        "AWS::Lambda::Permission": _nothing_to_ask,
        "AWS::Lambda::Url": _url,
        "AWS::Logs::LogGroup": _log_group,
        "AWS::S3::Bucket": lambda aws, name, _: aws.client("s3").head_bucket(Bucket=name),
        "AWS::SNS::Subscription": lambda aws, arn, _: aws.client("sns").get_subscription_attributes(
            SubscriptionArn=arn
        ),
        "AWS::SNS::Topic": lambda aws, arn, _: aws.client("sns").get_topic_attributes(TopicArn=arn),
        "AWS::SQS::Queue": _queue,
        "AWS::StepFunctions::StateMachine": _state_machine,
    }
)


def _has_reference(value: Any) -> bool:
    """Tell whether the template leaves a value to CloudFormation."""
    if isinstance(value, dict):
        return any(name == "Ref" or name.startswith("Fn::") or _has_reference(inner) for name, inner in value.items())
    return isinstance(value, list) and any(_has_reference(inner) for inner in value)


def _same(what: str, made: Any, wanted: Any) -> None:
    if made != wanted:
        raise _DifferentError(f"{what} is {made!r} and not {wanted!r}")
