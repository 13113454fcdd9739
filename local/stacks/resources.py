"""Makes, changes and deletes single resources by moto's models.

Decides what an update does: CloudFormation's reference says of each property whether it changes a resource in place or
replaces it. A type that is not in the list below cannot be changed here, and an update says so.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final, NamedTuple

from local.aws import ACCOUNT_ID, REGION
from local.aws.cloudformation import set_subscription, update_function, update_table
from local.aws.moto_guard import take
from local.stacks.errors import StackError

_PARSING: Final = "moto.cloudformation.parsing"
_STATES: Final = "moto.stepfunctions.models"
_PARTITION: Final = "aws"
_TAGGED: Final = frozenset({"AWS::Logs::LogGroup", "AWS::S3::Bucket"})


class CreatedResource(NamedTuple):
    """A resource of a stack: what it was asked to be, and the thing itself."""

    kind: str
    properties: dict[str, Any]
    thing: Any
    physical_id: str
    policy: str


class StackLabel(NamedTuple):
    """What a resource gets from its stack."""

    name: str
    id: str
    tags: Mapping[str, str]


def create(kind: str, logical_id: str, properties: dict[str, Any], stack: StackLabel) -> tuple[Any, str]:
    """Make a resource; return it and its physical id.

    Raises:
        StackError: nothing here makes resources of this type.
    """
    model = _model(kind)
    name = _physical_name(kind, logical_id, properties, stack.name)
    written = {"Type": kind, "Properties": _tagged(kind, deepcopy(properties), stack.tags)}
    about = {"LogicalId": logical_id, "StackId": stack.id, "ResourceType": kind}
    thing = model.create_from_cloudformation_json(name, written, ACCOUNT_ID, REGION, **about)
    return thing, str(getattr(thing, "physical_resource_id", None) or name)


def attribute(made: CreatedResource, name: str) -> Any:
    """Return what `Fn::GetAtt` gives.

    Raises:
        StackError: there is no such attribute.
    """
    try:
        return made.thing.get_cfn_attribute(name)
    except Exception as error:  # moto has an exception for it that is none of its own kind of errors
        raise StackError(f"Template error: {made.kind} has no attribute {name} here") from error


def is_replaced(made: CreatedResource, properties: Mapping[str, Any]) -> bool:
    """Tell whether other properties make another resource of it.

    Raises:
        StackError: the type cannot be changed here.
    """
    if made.kind not in _CHANGES:
        raise StackError(f"the local AWS cannot change a resource of type {made.kind}")
    changed = {
        name for name in made.properties.keys() | properties.keys() if made.properties.get(name) != properties.get(name)
    }
    replacing = _CHANGES[made.kind].replacing
    return replacing is None or bool(changed & replacing)


def update(made: CreatedResource, properties: dict[str, Any]) -> Any:
    """Change a resource in place, and return its new values."""
    return _CHANGES[made.kind].update(made, deepcopy(properties)) or made.thing


def delete(made: CreatedResource) -> None:
    """Delete a resource.

    Raises:
        StackError: AWS would refuse to.
    """
    if made.kind in _DELETIONS:
        _DELETIONS[made.kind](made)
        return
    if callable(getattr(made.thing, "delete", None)):
        made.thing.delete(ACCOUNT_ID, REGION)
        return
    written = {"Type": made.kind, "Properties": deepcopy(made.properties)}
    _model(made.kind).delete_from_cloudformation_json(made.physical_id, written, ACCOUNT_ID, REGION)


def _model(kind: str) -> Any:
    model = take(_PARSING, "get_model_map")().get(kind)
    if model is None:
        raise StackError(f"the local AWS makes no {kind}")
    return model


def _tagged(kind: str, properties: dict[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """Give the stack's tags to what may outlive it. CloudFormation gives them to every resource that takes tags."""
    if kind not in _TAGGED or not tags:
        return properties
    return {**properties, "Tags": [*properties.get("Tags", []), *({"Key": k, "Value": v} for k, v in tags.items())]}


def _physical_name(kind: str, logical_id: str, properties: Mapping[str, Any], stack_name: str) -> str:
    given = properties.get(take(_PARSING, "resource_name_property_from_type")(kind) or "")
    return str(given or take(_PARSING, "generate_resource_name")(kind, stack_name, logical_id))


def _backend(module: str, name: str, region: str = REGION) -> Any:
    return take(module, name)[ACCOUNT_ID][region]


def _function(made: CreatedResource, properties: dict[str, Any]) -> None:
    update_function(made.thing, properties)


def _mapping(made: CreatedResource, properties: dict[str, Any]) -> None:
    _backend("moto.awslambda.models", "lambda_backends").update_event_source_mapping(made.thing.uuid, properties)


def _url(made: CreatedResource, properties: dict[str, Any]) -> None:
    config = {"AuthType": properties["AuthType"]}
    _backend("moto.awslambda.models", "lambda_backends").update_function_url_config(made.physical_id, config)


def _rule(made: CreatedResource, properties: dict[str, Any]) -> Any:
    backend = _backend("moto.events.models", "events_backends")
    pattern = properties.get("EventPattern")
    bus = properties.get("EventBusName", "default")
    backend.put_rule(
        made.thing.name,
        scheduled_expression=properties.get("ScheduleExpression"),
        event_pattern=json.dumps(pattern) if pattern is not None else None,
        state=properties.get("State"),
        description=properties.get("Description"),
        role_arn=properties.get("RoleArn"),
        event_bus_arn=bus,
    )
    rule = backend.describe_rule(made.thing.name, bus)
    rule.targets = []
    if targets := properties.get("Targets"):
        backend.put_targets(name=rule.name, event_bus_arn=bus, targets=targets)
    return rule


def _queue(made: CreatedResource, properties: dict[str, Any]) -> None:
    attributes = {name: value for name, value in properties.items() if name not in ("QueueName", "Tags")}
    made.thing._set_attributes(attributes)


def _topic(made: CreatedResource, properties: dict[str, Any]) -> None:
    made.thing.display_name = properties.get("DisplayName", "")


def _subscription(made: CreatedResource, properties: dict[str, Any]) -> None:
    set_subscription(made.physical_id, properties)


def _role(made: CreatedResource, properties: dict[str, Any]) -> None:
    role = made.thing
    role.assume_role_policy_document = json.dumps(properties["AssumeRolePolicyDocument"])
    role.description = properties.get("Description", "")
    for name in list(role.policies):
        role.delete_policy(name)
    for policy in properties.get("Policies", []):
        role.put_policy(policy["PolicyName"], policy["PolicyDocument"])


def _log_group(made: CreatedResource, properties: dict[str, Any]) -> None:
    made.thing.retention_in_days = properties.get("RetentionInDays")


def _dashboard(made: CreatedResource, properties: dict[str, Any]) -> Any:
    return _backend("moto.cloudwatch.models", "cloudwatch_backends").put_dashboard(
        name=made.thing.name, body=properties["DashboardBody"]
    )


def _state_machine(made: CreatedResource, properties: dict[str, Any]) -> None:
    _backend(_STATES, "stepfunctions_backends").update_state_machine(
        made.thing.arn, definition=properties["DefinitionString"], role_arn=properties["RoleArn"]
    )


def _as_it_is(_: CreatedResource, __: dict[str, Any]) -> None:
    """Change nothing: the local AWS does nothing by these properties."""


class _Change(NamedTuple):
    """How a type is changed: these properties replace it, None: any; the others are changed in place."""

    replacing: frozenset[str] | None
    update: Callable[[CreatedResource, dict[str, Any]], Any] = _as_it_is


# CloudFormation, resource and property reference, "Update requires", of each type.
_CHANGES: Final[Mapping[str, _Change]] = {
    "AWS::CloudWatch::Dashboard": _Change(frozenset({"DashboardName"}), _dashboard),
    "AWS::DynamoDB::Table": _Change(
        frozenset({"TableName", "KeySchema"}), lambda made, new: update_table(made.thing, new)
    ),
    "AWS::Events::Rule": _Change(frozenset({"Name", "EventBusName"}), _rule),
    "AWS::IAM::Role": _Change(frozenset({"RoleName", "Path"}), _role),
    "AWS::Lambda::EventSourceMapping": _Change(frozenset({"EventSourceArn"}), _mapping),
    "AWS::Lambda::Function": _Change(frozenset({"FunctionName", "PackageType"}), _function),
    "AWS::Lambda::LayerVersion": _Change(None),
    "AWS::Lambda::Permission": _Change(None),
    "AWS::Lambda::Url": _Change(frozenset({"TargetFunctionArn", "Qualifier"}), _url),
    "AWS::Logs::LogGroup": _Change(frozenset({"LogGroupName"}), _log_group),
    "AWS::S3::Bucket": _Change(frozenset({"BucketName"})),
    "AWS::SNS::Subscription": _Change(frozenset({"Endpoint", "Protocol", "TopicArn"}), _subscription),
    "AWS::SNS::Topic": _Change(frozenset({"TopicName", "FifoTopic"}), _topic),
    "AWS::SQS::Queue": _Change(frozenset({"QueueName", "FifoQueue"}), _queue),
    "AWS::StepFunctions::StateMachine": _Change(frozenset({"StateMachineName", "StateMachineType"}), _state_machine),
}


def _delete_bucket(made: CreatedResource) -> None:
    if made.thing.keys:
        raise StackError(f"The bucket you tried to delete is not empty (bucket {made.physical_id})")
    _backend("moto.s3.models", "s3_backends", _PARTITION).delete_bucket(made.physical_id)


def _delete_layer(made: CreatedResource) -> None:
    name, version = made.physical_id.rsplit(":", 2)[1:]
    _backend("moto.awslambda.models", "lambda_backends").delete_layer_version(name, version)


def _delete_state_machine(made: CreatedResource) -> None:
    _backend(_STATES, "stepfunctions_backends").delete_state_machine(made.physical_id)


# Of these types moto deletes nothing, or too much.
_DELETIONS: Final[Mapping[str, Callable[[CreatedResource], None]]] = {
    "AWS::Lambda::LayerVersion": _delete_layer,
    "AWS::S3::Bucket": _delete_bucket,
    "AWS::StepFunctions::StateMachine": _delete_state_machine,
}
