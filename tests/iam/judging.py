"""Holds what the roles of a stack may do against what was asked in their names. Findings are sentences.

Knows how to read both out of the local AWS; how IAM decides is `evaluation`'s.
"""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from local.aws import ACCOUNT_ID, REGION
from local.aws.api_actions import UNKNOWN
from local.aws.policy_simulation import document_of
from local.aws.server import LocalAws
from local.deploy import Stack
from local.policies.evaluation import AccessRequest, Statement, is_allowed, is_like, matches, statements_of
from local.policies.platform import FUNCTION, KEYS, STATE_MACHINE, PlatformNeed, needs_of
from tests.architecture.sam_template import Properties, Template, named

_NONE: Mapping[str, str] = MappingProxyType({})
_OF_EVERY_CALL = (("aws:securetransport", "true"),)
_WITH_KEYS = {
    "secretsmanager": ("UpstreamSecretsKeyArn", "secretsmanager:GetSecretValue"),
    "dynamodb": ("RecordsKeyArn", "dynamodb:*"),
}
"""The parameters with the keys of services, and the calls for which a service uses its key."""


class Case(NamedTuple):
    """The roles of one stack, by their names in the template: what they may, and what was asked in their names."""

    statements: list[Statement]
    asked: list[AccessRequest]


class Grant(NamedTuple):
    """One action that one statement allows."""

    role: str
    sid: str
    action: str


def read_case(aws: LocalAws, stack: Stack, template: Template, parameters: Mapping[str, str] = _NONE) -> Case:
    """Read a stack's policies as deployed, and the calls until now: of functions, and those of AWS in their names."""
    roles = template.resources("AWS::IAM::Role")
    logical = {stack.resources[role]: role for role in roles if role in stack.resources}  # a condition may leave it out
    statements = [
        statement
        for name, role in logical.items()
        for each in _documents(aws, name)
        for statement in statements_of(role, each)
    ]
    functions = {named(each["Role"]) for each in template.resources(FUNCTION).values()}
    asked = []
    for call in aws.recorded_calls:
        if call.role in logical:
            role = logical[call.role]
            by_code = (("lambda:sourcefunctionarn", role),) if role in functions else ()
            context = (*_context(call.resource, call.region), *call.context, *by_code)
            asked.append(AccessRequest(role, call.action, call.resource, context))
    platform = _by_platform(stack, template, in_vpc="VpcSubnetIds" in parameters)
    by_keys = [
        decryption
        for service, (parameter, actions) in _WITH_KEYS.items()
        if (key := parameters.get(parameter)) is not None
        for decryption in _with_key(asked, service, key, actions)
    ]
    return Case(statements, [*asked, *platform, *by_keys])


def refused(case: Case) -> list[str]:
    """List calls that IAM would refuse."""
    return list(refusals(case))


def refusals(case: Case) -> Iterator[str]:
    """Look for calls that IAM would refuse."""
    statements = _by_role(case.statements)
    for asked in case.asked:
        if asked.resource == UNKNOWN or not is_allowed(statements.get(asked.role, ()), asked):
            yield f"{asked.role} may not {asked.action} on {asked.resource}{_of_keys(asked)}"


def grants(case: Case) -> Iterator[Grant]:
    """List what is allowed, action by action."""
    for each in case.statements:
        yield from (Grant(each.role, each.sid, action) for action in each.actions if each.effect == "Allow")


def unused(cases: Iterable[Case]) -> list[str]:
    """List what no call of any case needed: actions of statements, resources that are named in full, and keys of items.

    Of the keys that a condition names, each is to be needed by each action of its statement.
    """
    granted: set[str] = set()
    used: set[str] = set()
    for case in cases:
        by_role = _by_role(case.asked)
        for statement in case.statements:
            mine = [asked for asked in by_role.get(statement.role, ()) if matches(statement, asked)]
            for action in statement.actions:
                grant = f"{statement.role}, {statement.sid}: {action}"
                granted.add(grant)
                calls = [asked for asked in mine if asked.action == action]
                used.update({grant} if calls else ())
                keys = [key for asked in calls for key in _leading_keys(asked)]
                for pattern in _named_keys(statement) if calls else ():
                    granted.add(f"{grant} of {pattern}")
                    used.update({f"{grant} of {pattern}"} if any(is_like(pattern, key) for key in keys) else ())
            used.update(f"{statement.role}, {statement.sid}: {asked.resource}" for asked in mine)
            exact = [resource for resource in statement.resources if not set("*?").intersection(resource)]
            granted.update(f"{statement.role}, {statement.sid}: {resource}" for resource in exact if mine)
    return sorted(granted - used)


_OfRole = TypeVar("_OfRole", Statement, AccessRequest)


def _by_role(each_of_a_role: Iterable[_OfRole]) -> dict[str, list[_OfRole]]:
    """Group by role: no statement of one role is about a call of another."""
    found: dict[str, list[_OfRole]] = {}
    for each in each_of_a_role:
        found.setdefault(each.role, []).append(each)
    return found


LEADING_KEYS = "dynamodb:LeadingKeys"


def _of_keys(asked: AccessRequest) -> str:
    keys = _leading_keys(asked)
    return f" of {', '.join(keys)}" if keys else ""


def _named_keys(statement: Statement) -> list[str]:
    """List the patterns of the items' keys that a statement is about."""
    named = statement.conditions.get("ForAllValues:StringLike", {}).get(LEADING_KEYS, [])
    return named if isinstance(named, list) else [named]


def _leading_keys(asked: AccessRequest) -> list[str]:
    return [value for key, value in asked.context if key == LEADING_KEYS.lower()]


def calls_of(case: Case, grant: Grant) -> Case:
    """Leave only the calls that an action may be needed for; how others are judged does not depend on it."""
    pattern = grant.action.lower()
    return case._replace(
        asked=[each for each in case.asked if each.role == grant.role and is_like(pattern, each.action.lower())]
    )


def without(case: Case, grant: Grant) -> Case:
    """Take one action out of one statement."""
    return case._replace(
        statements=[
            each._replace(actions=tuple(action for action in each.actions if action != grant.action))
            if (each.role, each.sid) == (grant.role, grant.sid)
            else each
            for each in case.statements
        ]
    )


def _documents(aws: LocalAws, role: str) -> Iterator[Any]:
    iam = aws.client("iam")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        yield document_of(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])


def _context(resource: str, region: str) -> tuple[tuple[str, str], ...]:
    parts = resource.split(":", 5)
    account = parts[4] if len(parts) == 6 and parts[4] else ACCOUNT_ID
    return (*_OF_EVERY_CALL, ("aws:requestedregion", region), ("aws:resourceaccount", account))


def _by_platform(stack: Stack, template: Template, *, in_vpc: bool) -> Iterator[AccessRequest]:
    for kind in (FUNCTION, STATE_MACHINE):
        for each in template.resources(kind).values():
            if named(each["Role"]) not in stack.resources:
                continue
            properties = {name: value for name, value in each.items() if in_vpc or name != "VpcConfig"}
            for need in needs_of(kind, properties):
                resource = _resource_of(need, properties, stack)
                yield AccessRequest(named(properties["Role"]) or "", need.action, resource, _context(resource, REGION))


def _resource_of(need: PlatformNeed, properties: Properties, stack: Stack) -> str:
    """Name what a service uses for a function; `*` where there is nothing to name."""
    service, _, verb = need.action.partition(":")
    if service == "sqs":
        (queue,) = (event["Properties"]["Queue"] for event in properties["Events"].values() if event["Type"] == "SQS")
        return f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{stack.resources[named(queue) or ''].rpartition('/')[2]}"
    if service == "ec2" and not verb.startswith("Describe"):
        return f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:network-interface/eni-1"
    if service == "logs" and "LoggingConfig" in properties:
        group = stack.resources[named(properties["LoggingConfig"]["LogGroup"]) or ""]
        return f"arn:aws:logs:{REGION}:{ACCOUNT_ID}:log-group:{group}:log-stream:one"
    return "*"


def _with_key(asked: Iterable[AccessRequest], service: str, key: str, actions: str) -> Iterator[AccessRequest]:
    """List what a service asks of a key in the names of the roles that call it by these actions."""
    via = (*_OF_EVERY_CALL, ("kms:viaservice", f"{service}.{REGION}.amazonaws.com"))
    calling = {each.role for each in asked if fnmatchcase(each.action, actions)}
    yield from (AccessRequest(role, need.action, key, via) for role in sorted(calling) for need in KEYS[service])
