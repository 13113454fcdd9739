"""What the roles of template.yaml may do: what they call, spelled right, on resources that are named."""

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from botocore.session import get_session

from tests.architecture.sam_template import FUNCTION, Properties, Template, directory_of, listed, named, statements

ONLY_PUBLISHER = "PublishImageFunction"
"""The one function that may move a tag."""

ONLY_PRUNER = "PruneTagsFunction"
"""The one function that may delete from ECR; it may not put anything there."""

ASK_UPSTREAMS = ("CheckFreshnessFunction", "PlanCopyFunction", "CopyBlobsFunction", "VerifyImageFunction")
"""The functions that ask upstreams, and say there who they are."""

KNOWS_SENDERS = "ReceiveWebhookFunction"
"""The one function that reads a secret and asks no upstream: senders of webhooks prove themselves by it."""

RECORDS_KEY = "RecordsKeyArn"
"""The parameter that names the key of the table of records."""

_ACCOUNTS = ("secretsmanager:GetSecretValue", "kms:Decrypt", "sts:AssumeRole")

EVERYTHING = {
    "xray:PutTelemetryRecords": "X-Ray has no resources to name",
    "xray:PutTraceSegments": "X-Ray has no resources to name",
    "xray:GetSamplingRules": "X-Ray has no resources to name",
    "xray:GetSamplingTargets": "X-Ray has no resources to name",
    "logs:CreateLogDelivery": "log deliveries have no resources to name",
    "logs:DeleteLogDelivery": "log deliveries have no resources to name",
    "logs:DescribeLogGroups": "Step Functions looks for its log group among all",
    "logs:DescribeResourcePolicies": "log deliveries have no resources to name",
    "logs:GetLogDelivery": "log deliveries have no resources to name",
    "logs:ListLogDeliveries": "log deliveries have no resources to name",
    "logs:PutResourcePolicy": "log deliveries have no resources to name",
    "logs:UpdateLogDelivery": "log deliveries have no resources to name",
    "ecr:GetAccountSetting": "the account's settings have no resource to name",
    "ecr:GetAuthorizationToken": "the registry's token has no resource to name",
    "ecr:DescribeRepositoryCreationTemplates": "repository creation templates have no resources to name",
    "ecr:DescribePullThroughCacheRules": "pull through cache rules have no resources to name",
    "tag:GetResources": "the tagging API has no resources to name",
    "ec2:DescribeNetworkInterfaces": "EC2's Describe actions have no resources to name",
    "ec2:DescribeSubnets": "EC2's Describe actions have no resources to name",
}
"""Actions that may be allowed on every resource, and why: Service Authorization Reference."""

_SERVICES = {"states": "stepfunctions", "tag": "resourcegroupstaggingapi"}
"""Prefixes of actions that botocore calls otherwise."""

_PERMISSION_ONLY = frozenset(
    {"lambda:InvokeFunction", "s3:ListBucket", "s3:AbortMultipartUpload"}
    | {f"logs:{verb}LogDelivery" for verb in ("Create", "Delete", "Get", "Update")}
    | {"logs:ListLogDeliveries"}
)
"""Actions that are no operation of the API: Service Authorization Reference."""

_NETWORK_INTERFACES = ("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface")
"""What Lambda needs to put a function into a VPC: AWS Lambda Developer Guide, "Required IAM permissions"."""

_ACTION = re.compile(r"([a-z0-9-]+):([A-Za-z0-9]+)")


class Grant(NamedTuple):
    """One statement of a role."""

    role: str
    effect: str
    actions: list[str]
    resources: list[object]
    conditions: Mapping[str, Mapping[str, object]] = MappingProxyType({})


def grants(template: Template) -> Iterator[Grant]:
    """List what every role is allowed."""
    for role, properties in template.resources("AWS::IAM::Role").items():
        for policy in properties.get("Policies", []):
            for statement in statements(policy["PolicyDocument"]):
                resources = listed(statement["Resource"])
                conditions = statement.get("Condition", {})
                yield Grant(role, statement["Effect"], listed(statement["Action"]), resources, conditions)


def role_findings(template: Template) -> Iterator[str]:
    """Find functions that share a role, or are given permissions elsewhere than in their role."""
    owners: dict[str | None, str] = {}
    for name, function in template.resources(FUNCTION).items():
        role = named(function.get("Role"))
        if role not in template.resources("AWS::IAM::Role"):
            yield f"{name}: has no role of this template"
        elif role in owners:
            yield f"{name}: shares {role} with {owners[role]}"
        owners.setdefault(role, name)
        if "Policies" in function:
            yield f"{name}: SAM ignores Policies beside a Role; put them into {role}"
    for role, properties in template.resources("AWS::IAM::Role").items():
        if "ManagedPolicyArns" in properties:
            yield f"{role}: a managed policy allows more than we call"


def publisher_findings(template: Template) -> Iterator[str]:
    """Find roles beside the publisher's that may move a tag."""
    functions: Mapping[str, Properties] = template.resources(FUNCTION)
    publisher = named(functions.get(ONLY_PUBLISHER, {}).get("Role"))
    may_put = {grant.role for grant in grants(template) if grant.effect == "Allow" and _allows(grant, "ecr:PutImage")}
    if publisher not in may_put:
        yield f"{directory_of(ONLY_PUBLISHER)} may not ecr:PutImage"
    for role in sorted(may_put - {publisher or ""}):
        yield f"{role} may ecr:PutImage; only {directory_of(ONLY_PUBLISHER)} may"


def pruner_findings(template: Template) -> Iterator[str]:
    """Find roles that may delete images but one, and what that one may do besides."""
    functions: Mapping[str, Properties] = template.resources(FUNCTION)
    pruner = named(functions.get(ONLY_PRUNER, {}).get("Role"))
    allowed = [grant for grant in grants(template) if grant.effect == "Allow"]
    may_delete = {grant.role for grant in allowed if _allows(grant, "ecr:BatchDeleteImage")}
    if pruner not in may_delete:
        yield f"{directory_of(ONLY_PRUNER)} may not ecr:BatchDeleteImage"
    for role in sorted(may_delete - {pruner or ""}):
        yield f"{role} may ecr:BatchDeleteImage; only {directory_of(ONLY_PRUNER)} may"
    for action in ("ecr:DeleteRepository", "ecr:PutImage", "ecr:PutLifecyclePolicy", "secretsmanager:GetSecretValue"):
        if any(grant.role == pruner and _allows(grant, action) for grant in allowed):
            yield f"{pruner} may {action}; it removes tags, and nothing else"


def resource_findings(template: Template) -> Iterator[str]:
    """Find grants on everything that have no reason in the list above."""
    for grant in grants(template):
        if grant.effect == "Allow" and "*" in grant.resources:
            for action in grant.actions:
                if action not in EVERYTHING:
                    yield f"{grant.role}: {action} on every resource; name the resource, or give a reason here"


def action_findings(template: Template) -> Iterator[str]:
    """Find actions with wildcards or that do not exist."""
    for grant in grants(template):
        for action in grant.actions:
            match = _ACTION.fullmatch(action)
            if match is None:
                yield f"{grant.role}: {action} is not one action"
            elif action not in _PERMISSION_ONLY and match[2] not in _operations(_SERVICES.get(match[1], match[1])):
                yield f"{grant.role}: there is no action {action}"


_KEYED = frozenset(
    f"dynamodb:{operation}" for operation in ("BatchGetItem", "GetItem", "PutItem", "UpdateItem", "DeleteItem")
)
"""Actions for which DynamoDB knows `dynamodb:LeadingKeys` (Service Authorization Reference)."""
_KEYS, _ATTRIBUTES, _SELECT = "dynamodb:LeadingKeys", "dynamodb:Attributes", "dynamodb:Select"
_KINDS_OF_ITEMS = re.compile(r"[a-z]+#([a-z-]+|\*|\* \(\*\):\$\{\*\})")


def item_findings(template: Template) -> Iterator[str]:
    """Find roles that may read or write items of the table without naming which, or all attributes of all items.

    `ForAllValues` also holds for a request without keys: so an action that has none may not be beside one that has.
    """
    for grant in grants(template):
        conditions = {
            key: (operator, value) for operator, keys in grant.conditions.items() for key, value in keys.items()
        }
        for action in grant.actions:
            where = f"{grant.role}: {action}"
            if action in _KEYED:
                operator, keys = conditions.get(_KEYS, ("", []))
                if operator != "ForAllValues:StringLike" or not keys:
                    yield f"{where} of any item; name keys by {_KEYS}"
                for key in listed(keys):
                    if not _KINDS_OF_ITEMS.fullmatch(str(key)):
                        yield f"{where}: the key {key} is not of one kind of items"
            elif _KEYS in conditions:
                yield f"{where}: {_KEYS} says nothing about it, and would always hold"
            elif action == "dynamodb:Scan" and (
                conditions.get(_ATTRIBUTES, ("",))[0] != "ForAllValues:StringEquals"
                or conditions.get(_SELECT) != ("StringEquals", "SPECIFIC_ATTRIBUTES")
            ):
                yield f"{where} reads all attributes; name some by {_ATTRIBUTES} and {_SELECT}"


PLAN_WRITERS = {
    "PlanCopyRole": ("${PlansBucket.Arn}/plans/*",),
    "CopyBlobsRole": ("${PlansBucket.Arn}/plans/*/units/*",),
    "ScheduleChecksRole": ("${PlansBucket.Arn}/rules/*",),
}
"""Who writes what in the plans bucket: the one that publishes a plan does not get it from those that copy its blobs."""


def object_findings(template: Template) -> Iterator[str]:
    """Find roles that may write other objects than their own."""
    for grant in grants(template):
        if "s3:PutObject" in grant.actions:
            own = PLAN_WRITERS.get(grant.role, ())
            for resource in grant.resources:
                text = resource.get("Fn::Sub") if isinstance(resource, Mapping) else resource
                if text not in own:
                    yield f"{grant.role}: may write {text}, which is not its own"


CREATES_REPOSITORIES = "CreateRepositoryFunction"
"""The one function that may create repositories and set their policies; it reads nothing from outside."""
_CREATION = ("ecr:CreateRepository", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy", "ecr:TagResource")


def creation_findings(template: Template) -> Iterator[str]:
    """Find roles that may create repositories or change their policies beside the one that does so."""
    creator = named(template.resources(FUNCTION).get(CREATES_REPOSITORIES, {}).get("Role"))
    yield from _only_for(grants(template), {creator}, _CREATION, "create repositories")


def network_findings(template: Template) -> Iterator[str]:
    """Find functions in the VPC without the permissions for it, and roles with these permissions and no VPC."""
    within = {named(each.get("Role")) for each in template.resources(FUNCTION).values() if "VpcConfig" in each}
    yield from _only_for(grants(template), within, _NETWORK_INTERFACES, "stand in the VPC")


def secret_findings(template: Template) -> Iterator[str]:
    """Find functions that ask upstreams and may not read the accounts for them, and roles that may for nothing."""
    functions = template.resources(FUNCTION)
    asking = {named(functions.get(name, {}).get("Role")) for name in ASK_UPSTREAMS}
    other = named(functions.get(KNOWS_SENDERS, {}).get("Role"))
    of_secrets = [grant for grant in grants(template) if not _is_on_records_key(grant)]
    yield from _only_for(of_secrets, asking, _ACCOUNTS, "ask upstreams", other)


def records_key_findings(template: Template) -> Iterator[str]:
    """Find roles that use the table of records and not its key, and the other way round."""
    using = {grant.role for grant in grants(template) if any(each.startswith("dynamodb:") for each in grant.actions)}
    yield from _only_for(filter(_is_on_records_key, grants(template)), {*using}, ("kms:Decrypt",), "use the table")


def _is_on_records_key(grant: Grant) -> bool:
    return RECORDS_KEY in map(named, grant.resources)


def _only_for(
    granted: Iterable[Grant], roles: set[str | None], actions: tuple[str, ...], purpose: str, other: str | None = None
) -> Iterator[str]:
    granted = list(granted)
    for needed in actions:
        may = {grant.role for grant in granted if grant.effect == "Allow" and _allows(grant, needed)} - {other}
        for role in sorted(map(str, roles - may)):
            yield f"{role}: may not {needed}, which its function needs to {purpose}"
        for role in sorted(may - roles):
            yield f"{role}: may {needed}, and its function does not {purpose}"


def log_findings(template: Template) -> Iterator[str]:
    """Find functions that may not write to their own log group."""
    for name, function in template.resources(FUNCTION).items():
        group = named(function.get("LoggingConfig", {}).get("LogGroup"))
        allowed = {
            named(resource)
            for grant in grants(template)
            if grant.role == named(function.get("Role")) and _allows(grant, "logs:PutLogEvents")
            for resource in grant.resources
        }
        if allowed != {group}:
            yield f"{name}: logs to {group} and may write to {sorted(map(str, allowed))}"


def _allows(grant: Grant, action: str) -> bool:
    return any(fnmatchcase(action, allowed) for allowed in grant.actions)


@cache
def _operations(service: str) -> frozenset[str]:
    session = get_session()
    if service not in session.get_available_services():
        return frozenset()
    return frozenset(session.get_service_model(service).operation_names)
