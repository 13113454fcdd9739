"""Reads the roles of template.yaml: statement by statement, who has it, what it allows and when. Judges nothing."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from local.policies.platform import FUNCTION, KEYS, STATE_MACHINE, needs_of

_NOTE: Final = re.compile(r"- Sid: (\w+) +# (.+)")


class RoleStatement(NamedTuple):
    """One statement, and the condition of the template under which it is there."""

    body: Mapping[str, Any]
    only_if: str | None

    @property
    def actions(self) -> list[str]:
        """What it allows."""
        action = self.body["Action"]
        return sorted(action if isinstance(action, list) else [action])


class Owner(NamedTuple):
    """A function or state machine, with the statements of its role."""

    name: str
    description: str
    role: str
    statements: tuple[RoleStatement, ...]
    platform: Mapping[str, str]  # which service of AWS does what the code never does, by action

    def user_of(self, statement: RoleStatement) -> str:
        """Say who uses a statement: the code, or a service of AWS."""
        if (service := _service_with_key(statement.body)) is not None:
            return " and ".join(sorted({need.who for need in KEYS[service]}))
        services = {self.platform.get(action, "code") for action in statement.actions}
        return " and ".join(sorted(services))


def owners(template: Mapping[str, Any]) -> list[Owner]:
    """List who has a role, in the order of the template."""
    resources, defaults = template["Resources"], template["Globals"]["Function"]
    found = []
    for name, made in resources.items():
        if made["Type"] not in (FUNCTION, STATE_MACHINE):
            continue
        properties = {**defaults, **made["Properties"]} if made["Type"] == FUNCTION else made["Properties"]
        role = properties["Role"]["Fn::GetAtt"][0]
        statements = tuple(_statements(resources[role]["Properties"]))
        found.append(
            Owner(name, properties.get("Description", _REFRESH), role, statements, _platform(made, properties))
        )
    return found


def notes_on_statements(text: str) -> dict[str, str]:
    """Read the comments on statements, by their Sids, out of the template's text."""
    return dict(reversed(_NOTE.findall(text)))


_REFRESH: Final = "Copies one tag by invoking the functions that plan, copy, publish and record"


def _platform(made: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, str]:
    users = {need.action: need.who for need in needs_of(made["Type"], properties)}
    return {**users, "lambda:InvokeFunction": "Step Functions"} if made["Type"] == STATE_MACHINE else users


def _service_with_key(statement: Mapping[str, Any]) -> str | None:
    """Name the service through which alone a statement's key may be used; None if it is about no key."""
    for condition in statement.get("Condition", {}).values():
        if (via := condition.get("kms:ViaService")) is not None:
            return str(via["Fn::Sub"] if isinstance(via, Mapping) else via).partition(".")[0]
    return None


def _statements(role: Mapping[str, Any]) -> Iterator[RoleStatement]:
    for policy in role["Policies"]:
        for each in policy["PolicyDocument"]["Statement"]:
            condition, then, *_ = each.get("Fn::If", [None, each])
            yield RoleStatement(then, condition)
