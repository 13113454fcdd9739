"""Makes moto's CloudFormation keep the properties that it drops without a word. Knows no template.

Functions lose their layers, architectures and tracing, state machines their logging and tracing, tables their expiry
and backups; subscriptions are not made at all, and some attributes (`GetAtt`) are unknown.
"""

import base64
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

from local.aws import ACCOUNT_ID, REGION
from local.aws.moto_guard import replace, stock, take

_LAMBDA: Final = "moto.awslambda.models"
_STATES: Final = "moto.stepfunctions.models"
_TABLES: Final = "moto.dynamodb.models.table"
_TOPICS: Final = "moto.sns.models"
_PARSING: Final = "moto.cloudformation.parsing"
_KEPT_BY_MOTO: Final = frozenset(
    {
        *("Architectures", "Code", "Description", "Environment", "EphemeralStorage", "FunctionName", "Handler"),
        *("Layers", "MemorySize", "PackageType", "ReservedConcurrentExecutions", "Role", "Runtime", "Tags"),
        *("Timeout", "TracingConfig", "VpcConfig"),
    }
)
# Lambda API reference, CreateFunction: the defaults of a function.
_FUNCTION_DEFAULTS: Final[Mapping[str, Any]] = {
    "Architectures": ["x86_64"],
    "Description": "",
    "Environment": {"Variables": {}},
    "Layers": [],
    "MemorySize": 128,
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": None,
}
# Of these types a property that is not listed would be dropped without a word; a deployment refuses it.
HONOURED: Final[Mapping[str, frozenset[str]]] = {
    # RecursiveLoop: nothing here looks for loops, so that Allow is what there is.
    "AWS::Lambda::Function": _KEPT_BY_MOTO | {"DeadLetterConfig", "LoggingConfig", "RecursiveLoop"},
    "AWS::Lambda::Url": frozenset({"TargetFunctionArn", "AuthType"}),
    "AWS::SNS::Subscription": frozenset({"TopicArn", "Protocol", "Endpoint", "RawMessageDelivery", "FilterPolicy"}),
}


def install() -> None:
    """Repair the models that CloudFormation makes resources by."""
    _create_by(_LAMBDA, "LambdaFunction", _create_function)
    _create_by(_LAMBDA, "LayerVersion", _create_layer)
    _create_by(_LAMBDA, "Permission", _create_permission)
    # Without it `Ref` of a layer gives moto's object instead of its ARN.
    take(_LAMBDA, "LayerVersion").physical_resource_id = property(lambda layer: layer.arn)
    _create_by(_STATES, "StateMachine", _create_state_machine)
    stock(_TABLES, "Table.create_from_cloudformation_json")
    _create_by(_TABLES, "Table", _create_table)
    add_type("AWS::SNS::Subscription", _Subscription, _TOPICS)
    _know_attribute(_STATES, "StateMachine", {"Arn": lambda machine: machine.arn})
    _know_attribute(_TOPICS, "Topic", {"TopicArn": lambda topic: topic.arn})
    _know_attribute("moto.sqs.models", "Queue", {"QueueUrl": lambda queue: queue.physical_resource_id})
    # CloudFormation User Guide, AWS::Logs::LogGroup, Fn::GetAtt: the ARN ends in `:*`.
    _know_attribute("moto.logs.models", "LogGroup", {"Arn": lambda group: f"{group.arn}:*"})


def _create_by(module: str, model: str, create: Callable[[str, dict[str, Any], str, str], Any]) -> None:
    """Make resources of a type by a function of name, properties, account and region."""

    def create_from_cloudformation_json(
        _: type[Any], /, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **__: Any
    ) -> Any:
        return create(resource_name, deepcopy(cloudformation_json["Properties"]), account_id, region_name)

    replace(module, f"{model}.create_from_cloudformation_json", classmethod(create_from_cloudformation_json))


def _know_attribute(module: str, model: str, attributes: Mapping[str, Callable[[Any], str]]) -> None:
    """Teach a model further `GetAtt` names."""
    known, known_value = stock(module, f"{model}.has_cfn_attr"), stock(module, f"{model}.get_cfn_attribute")

    def has(_: type, attribute: str) -> bool:
        return attribute in attributes or bool(known(attribute))

    def value(resource: Any, attribute: str) -> Any:
        return attributes[attribute](resource) if attribute in attributes else known_value(resource, attribute)

    replace(module, f"{model}.has_cfn_attr", classmethod(has))
    replace(module, f"{model}.get_cfn_attribute", value)


def _create_function(name: str, properties: dict[str, Any], account_id: str, region_name: str) -> Any:
    function = take(_LAMBDA, "get_backend")(account_id, region_name).create_function(_function_spec(name, properties))
    function.local_dead_letter_arn = properties.get("DeadLetterConfig", {}).get("TargetArn")
    _set_logging(function, properties.get("LoggingConfig", {}))
    return function


def update_function(function: Any, properties: dict[str, Any]) -> None:
    """Give a function other properties and code; what is not named is as for a new function."""
    spec = {**_FUNCTION_DEFAULTS, **_function_spec(function.function_name, properties)}
    function.update_configuration(spec)
    function.update_function_code(spec["Code"])
    function.reserved_concurrency = spec.get("ReservedConcurrentExecutions")
    function.tracing_config = spec["TracingConfig"]
    function.architectures = spec["Architectures"]
    function.tags = spec["Tags"]
    function.local_dead_letter_arn = properties.get("DeadLetterConfig", {}).get("TargetArn")
    _set_logging(function, properties.get("LoggingConfig", {}))


def _function_spec(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    spec = {key: value for key, value in properties.items() if key in _KEPT_BY_MOTO and value not in ({}, [])}
    spec["FunctionName"] = name
    spec["Tags"] = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    if "ZipFile" in spec["Code"]:
        source = take(_LAMBDA, "LambdaFunction._create_zipfile_from_plaintext_code")(spec["Code"]["ZipFile"])
        spec["Code"]["ZipFile"] = base64.b64encode(source)
    return spec


def _set_logging(function: Any, logging_config: dict[str, str]) -> None:
    if "LogGroup" in logging_config:
        function.logs_group_name = logging_config["LogGroup"]
    function.local_logging = dict(logging_config)


def _create_layer(name: str, properties: dict[str, Any], account_id: str, region_name: str) -> Any:
    spec = {"LayerName": name, **properties}
    return take(_LAMBDA, "get_backend")(account_id, region_name).publish_layer_version(spec)


def _create_state_machine(name: str, properties: dict[str, Any], account_id: str, region_name: str) -> Any:
    backend = take(_STATES, "stepfunctions_backends")[account_id][region_name]
    return backend.create_state_machine(
        name=properties.get("StateMachineName", name),
        definition=properties["DefinitionString"],
        roleArn=properties["RoleArn"],
        tags=[{"key": tag["Key"], "value": tag["Value"]} for tag in properties.get("Tags", [])],
        sm_type=properties.get("StateMachineType", properties.get("Type")),
        loggingConfiguration=_lower_keys(properties.get("LoggingConfiguration")),
        tracingConfiguration=_lower_keys(properties.get("TracingConfiguration")),
    )


def _create_permission(_: str, properties: dict[str, Any], account_id: str, region_name: str) -> "_Permission":
    policy = take(_LAMBDA, "get_backend")(account_id, region_name).get_function(properties["FunctionName"]).policy
    statement, _revision = policy.add_statement(raw=json.dumps(properties))
    return _Permission(policy, statement)


class _Permission:
    """A statement of a function's policy, which moto cannot find again to delete it."""

    def __init__(self, policy: Any, statement: dict[str, Any]) -> None:
        self._policy, self._statement = policy, statement
        self.physical_resource_id: str = statement["Sid"]

    def delete(self, _account_id: str, _region_name: str) -> None:
        """Take the statement out of the policy, if the function is still there."""
        self._policy.statements = [each for each in self._policy.statements if each is not self._statement]


def _create_table(name: str, properties: dict[str, Any], account_id: str, region_name: str) -> Any:
    """Let moto make the table, and set what it leaves out: expiry, point-in-time recovery and the key."""
    create = stock(_TABLES, "Table.create_from_cloudformation_json")
    table = create(name, {"Properties": properties}, account_id, region_name)
    update_table(table, properties)
    return table


def update_table(table: Any, properties: dict[str, Any]) -> None:
    """Set expiry, point-in-time recovery and the key."""
    backend = take("moto.dynamodb.models", "dynamodb_backends")[table.account_id][table.region_name]
    if "TimeToLiveSpecification" in properties:
        backend.update_time_to_live(table.name, properties["TimeToLiveSpecification"])
    if "PointInTimeRecoverySpecification" in properties:
        backend.update_continuous_backups(table.name, properties["PointInTimeRecoverySpecification"])
    encryption = properties.get("SSESpecification", {})
    # The API calls it otherwise than CloudFormation, and moto passes it on as it is.
    table.sse_specification = (
        {**encryption, "Enabled": True} if encryption.get("SSEEnabled") in (True, "true") else None
    )


class _Subscription:
    """A resource as moto's CloudFormation wants one; the subscription itself is moto's."""

    def __init__(self, arn: str) -> None:
        self.physical_resource_id = arn

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SNS::Subscription"

    @classmethod
    def create_from_cloudformation_json(
        cls, _: str, cloudformation_json: dict[str, Any], account_id: str, region_name: str, **__: Any
    ) -> "_Subscription":
        properties = cloudformation_json["Properties"]
        backend = take(_TOPICS, "sns_backends")[account_id][region_name]
        made = backend.subscribe(properties["TopicArn"], properties["Endpoint"], properties["Protocol"])
        set_subscription(made.arn, properties)
        return cls(made.arn)

    def delete(self, account_id: str, region_name: str) -> None:
        """End the subscription."""
        take(_TOPICS, "sns_backends")[account_id][region_name].unsubscribe(self.physical_resource_id)


def set_subscription(arn: str, properties: Mapping[str, Any]) -> None:
    """Set how a subscriber gets which messages."""
    backend = take(_TOPICS, "sns_backends")[ACCOUNT_ID][REGION]
    for name, value in (
        ("RawMessageDelivery", str(properties.get("RawMessageDelivery", False)).lower()),
        ("FilterPolicy", json.dumps(properties["FilterPolicy"]) if "FilterPolicy" in properties else None),
    ):
        if value is not None:
            backend.set_subscription_attributes(arn, name, value)


def add_type(kind: str, resource: type, module: str) -> None:
    """Add a type to moto's list of resources, which is whatever inherits from its base class."""
    types = take(_PARSING, "get_model_map")
    if kind in types():
        return
    base = take("moto.core.common_models", "CloudFormationModel")
    # moto derives the service from the module's name.
    kept = type(base)(f"Local{resource.__name__}", (resource, base), {"__module__": module})
    models = [*take(_PARSING, "get_model_list")(), kept]
    replace(_PARSING, "get_model_list", lambda: models)
    for cached in ("get_model_map", "get_name_type_map"):
        take(_PARSING, cached).cache_clear()


def _lower_keys(value: Any) -> Any:
    """CloudFormation spells what the Step Functions API spells with a small first letter."""
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _lower_keys(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_lower_keys(inner) for inner in value]
    return value
