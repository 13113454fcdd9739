"""Puts parameters and conditions into a template; resources remain that refer to each other. Makes nothing."""

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, NamedTuple

from local.aws import ACCOUNT_ID, REGION
from local.stacks.errors import StackError
from local.stacks.intrinsics import NO_VALUE, UNKNOWN, is_true, referred, resolve

_RETAINED: Final = ("Retain", "RetainExceptOnCreate")


class Declared(NamedTuple):
    """A resource as a template describes it, its references to others left open."""

    kind: str
    properties: dict[str, Any]
    after: frozenset[str]
    policy: str  # what becomes of it when the stack is deleted: Delete, Retain, RetainExceptOnCreate


class Output(NamedTuple):
    """An output, its references left open."""

    value: Any
    description: str


class ResolvedTemplate(NamedTuple):
    """What a template means with certain parameters."""

    resources: Mapping[str, Declared]
    outputs: Mapping[str, Output]
    parameters: Mapping[str, str]
    description: str


NOTHING: Final = ResolvedTemplate({}, {}, {}, "")


def settle(template: Mapping[str, Any], given: Mapping[str, str], stack_name: str, stack_id: str) -> ResolvedTemplate:
    """Apply parameters to a template.

    Raises:
        StackError: a parameter is not as the template wants it, a rule is not met, or a name is not there.
    """
    values = _parameter_values(template.get("Parameters", {}), given)
    names = _TemplateNames(template, _typed(template.get("Parameters", {}), values), stack_name, stack_id)
    _check_rules(template.get("Rules", {}), names)
    resources = {
        name: _declared(resource, names)
        for name, resource in template.get("Resources", {}).items()
        if "Condition" not in resource or names.holds(resource["Condition"])
    }
    outputs = {
        name: Output(resolve(output["Value"], names), output.get("Description", ""))
        for name, output in template.get("Outputs", {}).items()
        if "Condition" not in output or names.holds(output["Condition"])
    }
    _check_references(resources, outputs)
    kept = {name: each._replace(after=each.after & resources.keys()) for name, each in resources.items()}
    in_order(kept)
    return ResolvedTemplate(kept, outputs, values, str(template.get("Description", "")))


def in_order(resources: Mapping[str, Declared]) -> list[str]:
    """Order resources so that each comes after those that it refers to.

    Raises:
        StackError: they refer to each other in a circle.
    """
    graph = {name: sorted(declared.after) for name, declared in resources.items()}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise StackError(f"Circular dependency between resources: {error.args[1]}") from error


class _TemplateNames:
    """Parameters, conditions and mappings of one template; its resources are not known."""

    def __init__(
        self, template: Mapping[str, Any], parameters: Mapping[str, Any], stack_name: str, stack_id: str
    ) -> None:
        self._conditions = template.get("Conditions", {})
        self._mappings = template.get("Mappings", {})
        self._resources = template.get("Resources", {})
        self._judged: dict[str, bool] = {}
        self._values: dict[str, Any] = {
            "AWS::AccountId": ACCOUNT_ID,
            "AWS::NoValue": NO_VALUE,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::StackId": stack_id,
            "AWS::StackName": stack_name,
            "AWS::URLSuffix": "amazonaws.com",
            **parameters,
        }

    def look_up(self, name: str, attribute: str | None) -> Any:
        if attribute is None and name in self._values:
            return self._values[name]
        if name in self._resources:
            return UNKNOWN
        raise StackError(f"Template error: unresolved resource dependencies [{name}] in the template")

    def holds(self, condition: str) -> bool:
        if condition not in self._judged:
            if condition not in self._conditions:
                raise StackError(f"Template error: there is no condition {condition}")
            self._judged[condition] = is_true(self._conditions[condition], self)
        return self._judged[condition]

    def mapped(self, mapping: str, first: str, second: str) -> Any:
        try:
            return self._mappings[mapping][first][second]
        except KeyError as error:
            raise StackError(f"Template error: no {first}, {second} in mapping {mapping}") from error


def _declared(resource: Mapping[str, Any], names: _TemplateNames) -> Declared:
    properties = resolve(resource.get("Properties", {}), names)
    wanted = resource.get("DependsOn", [])
    after = {wanted} if isinstance(wanted, str) else set(wanted)
    policy = resource.get("DeletionPolicy", "Delete")
    if policy not in (*_RETAINED, "Delete"):
        raise StackError(f"the local AWS knows no DeletionPolicy {policy}")
    return Declared(resource["Type"], properties, frozenset(after | referred(properties)), policy)


def _check_references(resources: Mapping[str, Declared], outputs: Mapping[str, Output]) -> None:
    for name, declared in resources.items():
        if missing := referred(declared.properties) - resources.keys():
            raise StackError(f"Unresolved resource dependencies {sorted(missing)} of {name} in the Resources block")
    for name, output in outputs.items():
        if missing := referred(output.value) - resources.keys():
            raise StackError(f"Unresolved resource dependencies {sorted(missing)} of {name} in the Outputs block")


def _check_rules(rules: Mapping[str, Any], names: _TemplateNames) -> None:
    for rule in rules.values():
        if "RuleCondition" in rule and not is_true(rule["RuleCondition"], names):
            continue
        for each in rule["Assertions"]:
            if not is_true(each["Assert"], names):
                raise StackError(f"Template validation error: {each.get('AssertDescription', 'a rule is not met')}")


def _parameter_values(slots: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    unknown = sorted(given.keys() - slots.keys())
    if unknown:
        raise StackError(f"Parameters: {unknown} do not exist in the template")
    missing = sorted(name for name, slot in slots.items() if name not in given and "Default" not in slot)
    if missing:
        raise StackError(f"Parameters: {missing} must have values")
    values = {name: str(given.get(name, slot.get("Default"))) for name, slot in slots.items()}
    for name, slot in slots.items():
        for fault in _faults(slot, values[name]):
            raise StackError(f"Parameter {name} {fault}")
    return values


def _faults(slot: Mapping[str, Any], value: str) -> Iterator[str]:
    if "AllowedValues" in slot and value not in map(str, slot["AllowedValues"]):
        yield f"must be one of {[*map(str, slot['AllowedValues'])]} and not {value!r}"
    if "AllowedPattern" in slot and re.fullmatch(slot["AllowedPattern"], value) is None:
        yield f"must match the pattern {slot['AllowedPattern']}"
    if slot["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            yield f"must be a number and not {value!r}"
            return
        if number < float(slot.get("MinValue", number)) or number > float(slot.get("MaxValue", number)):
            yield f"must lie between {slot.get('MinValue')} and {slot.get('MaxValue')}"


def _typed(slots: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    return {name: _typed_value(slot["Type"], values[name]) for name, slot in slots.items()}


def _typed_value(kind: str, value: str) -> Any:
    if kind == "CommaDelimitedList":
        return [item.strip() for item in value.split(",")]
    if kind == "Number":
        return float(value) if "." in value else int(value)
    if kind == "String":
        return value
    raise StackError(f"the local AWS knows no parameters of type {kind}")
