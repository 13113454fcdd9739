"""Writes what CloudFormation's operations answer. Decides nothing."""

import uuid
from collections.abc import Mapping
from typing import Any

from local.stacks.stack import Change, Stack


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Write tags."""
    return [{"Key": key, "Value": value} for key, value in values.items()]


def described(stack: Stack) -> dict[str, Any]:
    """Write a stack as DescribeStacks does."""
    return {
        **summary(stack),
        "Description": stack.template.settled.description or None,
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in stack.template.settled.parameters.items()
        ],
        "Outputs": [
            {"OutputKey": key, "OutputValue": value, "Description": description or None}
            for key, (value, description) in stack.outputs.items()
        ],
        "Tags": dict(stack.tags),
        "EnableTerminationProtection": False,
        "DisableRollback": False,
    }


def summary(stack: Stack) -> dict[str, Any]:
    """Write a stack as ListStacks does."""
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "CreationTime": stack.created,
        "StackStatus": stack.status,
        "StackStatusReason": stack.reason or None,
    }


def resource(stack: Stack, name: str, time_is: str) -> dict[str, Any]:
    """Write a resource; its time has another name in each operation."""
    made = stack.made[name]
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "LogicalResourceId": name,
        "PhysicalResourceId": made.physical_id,
        "ResourceType": made.kind,
        "ResourceStatus": "CREATE_COMPLETE",
        time_is: stack.events[-1].at,
    }


def events(stack: Stack) -> list[dict[str, Any]]:
    """Write all that happened, the latest first."""
    written = [
        {
            "StackId": stack.id,
            "StackName": stack.name,
            "EventId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{stack.id}/{number}")),
            "LogicalResourceId": event.logical_id,
            "PhysicalResourceId": event.physical_id,
            "ResourceType": event.kind,
            "ResourceStatus": event.status,
            "ResourceStatusReason": event.reason or None,
            "Timestamp": event.at,
        }
        for number, event in enumerate(stack.events)
    ]
    return written[::-1]


def template_summary(template: Mapping[str, Any]) -> dict[str, Any]:
    """Write what a template asks for."""
    parameters = [
        {
            "ParameterKey": key,
            "ParameterType": slot["Type"],
            "DefaultValue": str(slot["Default"]) if "Default" in slot else None,
            "Description": slot.get("Description", ""),
            "NoEcho": bool(slot.get("NoEcho", False)),
            "ParameterConstraints": {"AllowedValues": [*map(str, slot.get("AllowedValues", []))]},
        }
        for key, slot in template.get("Parameters", {}).items()
    ]
    kinds = sorted({each["Type"] for each in template.get("Resources", {}).values()})
    return {"Parameters": parameters, "ResourceTypes": kinds, "Description": template.get("Description", "")}


class ShownChange:
    """A change, with the names that moto's serialisation looks for."""

    def __init__(self, change: Change) -> None:
        self.action = change.action
        self.logical_resource_id = change.logical_id
        self.resource_type = change.kind
        self.replacement = change.replacement
