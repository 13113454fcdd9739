"""template.yaml agrees with the tree and with what every resource of its kind must have; each rule is shown to bite."""

import ast
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.architecture import permission_rules, template_rules
from tests.architecture.sam_template import FUNCTION, Template, named, real_template
from tests.architecture.source import sources

Check = Callable[[Template], Iterator[str]]
Break = Callable[[dict[str, Any]], object]
READING = {"_listed", "_number", "_require", "_require_number", "_optional"}
"""Methods of settings.py that read the environment."""


def known_settings() -> frozenset[str]:
    """Name what settings.py asks of the environment."""
    (settings,) = (file for file in sources() if file.module == "pullahead.settings")
    calls = (node for node in ast.walk(settings.tree) if isinstance(node, ast.Call))
    asked = (call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in READING)
    return frozenset(str(call.args[0].value) for call in asked if isinstance(call.args[0], ast.Constant))


def environment_findings(template: Template) -> Iterator[str]:
    return template_rules.environment_findings(template, known_settings())


CHECKS: list[Check] = [
    template_rules.function_findings,
    template_rules.folder_findings,
    template_rules.queue_findings,
    template_rules.bucket_findings,
    template_rules.alarm_findings,
    environment_findings,
    permission_rules.role_findings,
    permission_rules.publisher_findings,
    permission_rules.pruner_findings,
    permission_rules.resource_findings,
    permission_rules.action_findings,
    permission_rules.log_findings,
    permission_rules.network_findings,
    permission_rules.secret_findings,
    permission_rules.records_key_findings,
    permission_rules.item_findings,
    permission_rules.object_findings,
    permission_rules.creation_findings,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_template_is_right(check: Check) -> None:
    assert list(check(real_template())) == []


def test_every_function_of_the_design_exists() -> None:
    names = {"ScheduleChecks", "CheckFreshness", "PlanCopy", "CopyBlobs", "PublishImage", "RecordOutcome"}
    assert {f"{name}Function" for name in names} <= set(real_template().resources(FUNCTION))
    assert len(known_settings()) >= 5


def test_functions_that_call_upstreams_are_in_the_vpc() -> None:
    functions = real_template().resources(FUNCTION)
    within = {name for name, function in functions.items() if "VpcConfig" in function}
    assert within >= {"CheckFreshnessFunction", "PlanCopyFunction", "CopyBlobsFunction"}


def properties(resources: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = resources[name]["Properties"]
    return found


def policy(resources: dict[str, Any], role: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = properties(resources, role)["Policies"][0]["PolicyDocument"]["Statement"]
    return found


def consumed_queue(resources: dict[str, Any]) -> dict[str, Any]:
    events = properties(resources, "CheckFreshnessFunction")["Events"].values()
    (event,) = (event for event in events if event["Type"] == "SQS")
    return properties(resources, named(event["Properties"]["Queue"]) or "")


def remove_alarms(metric: str) -> Break:
    def remove(resources: dict[str, Any]) -> None:
        for name, resource in list(resources.items()):
            if resource["Type"] == "AWS::CloudWatch::Alarm" and resource["Properties"].get("MetricName") == metric:
                del resources[name]

    return remove


def set_property(name: str, key: str, value: Any) -> Break:
    return lambda resources: properties(resources, name).update({key: value})


def drop_property(name: str, key: str) -> Break:
    return lambda resources: properties(resources, name).pop(key)


def drop_variable(variable: str) -> Break:
    def drop(resources: dict[str, Any]) -> None:
        for resource in resources.values():
            resource.get("Properties", {}).get("Environment", {}).get("Variables", {}).pop(variable, None)

    return drop


def allow(role: str, *actions: str, resource: Any = "arn:aws:ecr:eu-west-1:123456789012:repository/a") -> Break:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return lambda resources: policy(resources, role).append(statement)


def allow_items(role: str, action: str, key: str, operator: str = "ForAllValues:StringLike") -> Break:
    statement = {"Effect": "Allow", "Action": [action], "Resource": {"Fn::GetAtt": ["RecordsTable", "Arn"]}}
    condition = {operator: {"dynamodb:LeadingKeys": [key]}}
    return lambda resources: policy(resources, role).append({**statement, "Condition": condition})


def weaken_tls(key: str, value: Any) -> Break:
    def weaken(resources: dict[str, Any]) -> None:
        statements = properties(resources, "PlansBucketPolicy")["PolicyDocument"]["Statement"]
        statements[0][key] = value

    return weaken


BREAKS: list[tuple[Check, Break]] = [
    (template_rules.function_findings, set_property("PlanCopyFunction", "CodeUri", "functions/nowhere")),
    (template_rules.function_findings, set_property("PlanCopyFunction", "CodeUri", "functions/copy_blobs")),
    (template_rules.function_findings, set_property("PlanCopyFunction", "Handler", "app.main")),
    (template_rules.function_findings, set_property("PlanCopyFunction", "Runtime", "python3.12")),
    (template_rules.function_findings, set_property("PlanCopyFunction", "Architectures", ["x86_64"])),
    (template_rules.function_findings, drop_property("PlanCopyFunction", "LoggingConfig")),
    (
        template_rules.function_findings,
        set_property(
            "PlanCopyFunction", "LoggingConfig", {"LogGroup": {"Ref": "PlanCopyLogGroup"}, "LogFormat": "JSON"}
        ),
    ),
    (
        template_rules.function_findings,
        set_property("PlanCopyFunction", "Environment", {"Variables": {"POWERTOOLS_LOG_LEVEL": "INFO"}}),
    ),
    (template_rules.function_findings, drop_property("PlanCopyLogGroup", "RetentionInDays")),
    (template_rules.folder_findings, lambda resources: resources.pop("PlanCopyFunction")),
    (template_rules.queue_findings, lambda resources: consumed_queue(resources).update(VisibilityTimeout=119)),
    (template_rules.queue_findings, lambda resources: consumed_queue(resources).pop("VisibilityTimeout")),
    (template_rules.queue_findings, set_property("CheckFreshnessFunction", "Timeout", {"Ref": "CopyTimeoutSeconds"})),
    (template_rules.queue_findings, lambda resources: consumed_queue(resources).pop("RedrivePolicy")),
    (
        template_rules.queue_findings,
        lambda resources: [
            event["Properties"].pop("FunctionResponseTypes")
            for event in properties(resources, "CheckFreshnessFunction")["Events"].values()
        ],
    ),
    (template_rules.bucket_findings, lambda resources: resources.pop("PlansBucketPolicy")),
    (template_rules.bucket_findings, weaken_tls("Effect", "Allow")),
    (template_rules.bucket_findings, weaken_tls("Action", "s3:GetObject")),
    (template_rules.bucket_findings, weaken_tls("Resource", {"Fn::GetAtt": ["PlansBucket", "Arn"]})),
    (template_rules.bucket_findings, weaken_tls("Condition", {"Bool": {"aws:SecureTransport": "true"}})),
    (template_rules.bucket_findings, drop_property("PlansBucket", "PublicAccessBlockConfiguration")),
    (template_rules.bucket_findings, drop_property("PlansBucket", "BucketEncryption")),
    (template_rules.bucket_findings, drop_property("PlansBucket", "LifecycleConfiguration")),
    (template_rules.alarm_findings, remove_alarms("ExecutionsFailed")),
    (template_rules.alarm_findings, remove_alarms("ApproximateNumberOfMessagesVisible")),
    (template_rules.alarm_findings, drop_property("RefreshFailedAlarm", "AlarmActions")),
    (environment_findings, set_property("PlanCopyFunction", "Environment", {"Variables": {"PLANS_BUKET": "a"}})),
    (environment_findings, drop_variable("PLANS_BUCKET")),
    (
        permission_rules.role_findings,
        set_property("PlanCopyFunction", "Role", {"Fn::GetAtt": ["CopyBlobsRole", "Arn"]}),
    ),
    (permission_rules.role_findings, drop_property("PlanCopyFunction", "Role")),
    (permission_rules.role_findings, set_property("PlanCopyFunction", "Policies", ["AmazonS3FullAccess"])),
    (permission_rules.role_findings, set_property("PlanCopyRole", "ManagedPolicyArns", ["arn:aws:iam::aws:policy/A"])),
    (permission_rules.publisher_findings, allow("CopyBlobsRole", "ecr:PutImage")),
    (permission_rules.publisher_findings, allow("CopyBlobsRole", "ecr:Put*")),
    (permission_rules.publisher_findings, allow("CopyBlobsRole", "*")),
    (permission_rules.publisher_findings, lambda resources: policy(resources, "PublishImageRole").clear()),
    (permission_rules.pruner_findings, allow("PublishImageRole", "ecr:BatchDeleteImage")),
    (permission_rules.pruner_findings, allow("PublishImageRole", "ecr:Batch*")),
    (permission_rules.pruner_findings, allow("PruneTagsRole", "ecr:PutImage")),
    (permission_rules.pruner_findings, lambda resources: policy(resources, "PruneTagsRole").clear()),
    (permission_rules.resource_findings, allow("CopyBlobsRole", "ecr:UploadLayerPart", resource="*")),
    (permission_rules.resource_findings, allow("CopyBlobsRole", "s3:PutObject", resource=["arn:aws:s3:::a", "*"])),
    (permission_rules.action_findings, allow("CopyBlobsRole", "ecr:*")),
    (permission_rules.action_findings, allow("CopyBlobsRole", "ecr:UploadLayerParts")),
    (permission_rules.action_findings, allow("CopyBlobsRole", "sfn:StartExecution")),
    (permission_rules.network_findings, drop_property("PlanCopyFunction", "VpcConfig")),
    (permission_rules.network_findings, set_property("PublishImageFunction", "VpcConfig", {"SubnetIds": ["a"]})),
    (permission_rules.network_findings, lambda resources: policy(resources, "CopyBlobsRole").clear()),
    (permission_rules.secret_findings, lambda resources: policy(resources, "PlanCopyRole").clear()),
    (permission_rules.secret_findings, allow("PublishImageRole", "secretsmanager:GetSecretValue")),
    (permission_rules.secret_findings, allow("ScheduleChecksRole", "sts:AssumeRole")),
    (permission_rules.records_key_findings, lambda resources: policy(resources, "ReviewRecordsRole").pop(7)),
    (permission_rules.records_key_findings, allow("CopyBlobsRole", "kms:Decrypt", resource={"Ref": "RecordsKeyArn"})),
    (permission_rules.item_findings, allow("ReceiveWebhookRole", "dynamodb:PutItem")),
    (permission_rules.item_findings, allow_items("ReceiveWebhookRole", "dynamodb:PutItem", "*")),
    (permission_rules.item_findings, allow_items("ReceiveWebhookRole", "dynamodb:PutItem", "s*")),
    (permission_rules.item_findings, allow_items("ReceiveWebhookRole", "dynamodb:Scan", "mirror#*")),
    (permission_rules.item_findings, allow_items("ReceiveWebhookRole", "dynamodb:PutItem", "mirror#*", "StringLike")),
    (permission_rules.item_findings, allow("ShowMirrorsRole", "dynamodb:Scan")),
    (permission_rules.object_findings, allow("CopyBlobsRole", "s3:PutObject", resource="arn:aws:s3:::plans/*")),
    (
        permission_rules.object_findings,
        allow("CopyBlobsRole", "s3:PutObject", resource={"Fn::Sub": "${PlansBucket.Arn}/plans/*"}),
    ),
    (permission_rules.creation_findings, allow("PlanCopyRole", "ecr:SetRepositoryPolicy")),
    (permission_rules.creation_findings, lambda resources: policy(resources, "CreateRepositoryRole").clear()),
    (
        permission_rules.log_findings,
        set_property("PlanCopyFunction", "LoggingConfig", {"LogGroup": {"Ref": "RefreshLogGroup"}}),
    ),
]


@pytest.mark.parametrize(
    ("check", "damage"), BREAKS, ids=[f"{check.__name__}-{i}" for i, (check, _) in enumerate(BREAKS)]
)
def test_broken_template_is_found(check: Check, damage: Break) -> None:
    template = real_template()
    damage(template.document["Resources"])
    assert len(list(check(template))) >= 1
