"""template.yaml and the state machine's definition, read into plain values that are easy to ask. Judges nothing."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

from samtranslator.yaml_helper import yaml_parse

from tests.architecture.source import ROOT

FUNCTION = "AWS::Serverless::Function"
STATE_MACHINE = "AWS::Serverless::StateMachine"
_SUB_NAME = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}")

Properties = Mapping[str, Any]


class Template(NamedTuple):
    """A SAM template as parsed, intrinsic functions in their long form."""

    document: dict[str, Any]

    def resources(self, kind: str) -> dict[str, Properties]:
        """Map logical ids of resources of one type to their properties, globals applied to functions."""
        defaults = self.document.get("Globals", {}).get("Function", {}) if kind == FUNCTION else {}
        return {
            name: _merged(defaults, resource.get("Properties", {}))
            for name, resource in self.document["Resources"].items()
            if resource["Type"] == kind
        }

    def largest(self, value: Any) -> float:
        """Tell the largest number that a value can be, be it written out or a parameter."""
        if isinstance(value, Mapping):
            parameter = self.document["Parameters"][value["Ref"]]
            allowed = parameter.get("AllowedValues", [parameter.get("MaxValue", parameter["Default"])])
            return max(map(float, allowed))
        return float(value)


@cache
def _real() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    return parsed


def real_template() -> Template:
    """Read template.yaml; each caller may break its own copy."""
    return Template(deepcopy(_real()))


def read_definition(template: Template) -> dict[str, Any]:
    """Read the definition that the only state machine names."""
    (machine,) = template.resources(STATE_MACHINE).values()
    parsed: dict[str, Any] = yaml_parse((ROOT / machine["DefinitionUri"]).read_text(encoding="utf-8"))
    return parsed


def named(value: Any) -> str | None:
    """Tell which resource a Ref, GetAtt or Sub names (a Sub: the first)."""
    if not isinstance(value, Mapping):
        return None
    if "Ref" in value:
        return str(value["Ref"])
    if "Fn::GetAtt" in value:
        attribute = value["Fn::GetAtt"]
        return str(attribute[0] if isinstance(attribute, list) else attribute.partition(".")[0])
    match = _SUB_NAME.search(value["Fn::Sub"]) if isinstance(value.get("Fn::Sub"), str) else None
    return match[1] if match else None


def listed(value: Any) -> list[Any]:
    """Make a list of what may be one thing or several."""
    return value if isinstance(value, list) else [value]


def statements(document: Properties) -> Iterator[Properties]:
    """List the statements of a policy document, those included that hold only under a condition."""
    for statement in listed(document["Statement"]):
        _, *branches = statement.get("Fn::If", ["", statement])
        yield from (branch for branch in branches if branch != {"Ref": "AWS::NoValue"})


def directory_of(function: str) -> str:
    """Name the folder of a function: PlanCopyFunction lives in plan_copy."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", function.removesuffix("Function")).lower()


def _merged(defaults: Properties, own: Properties) -> dict[str, Any]:
    merged = {**defaults, **own}
    if "Environment" in defaults and "Environment" in own:
        variables = {**defaults["Environment"]["Variables"], **own["Environment"]["Variables"]}
        merged["Environment"] = {"Variables": variables}
    if "Layers" in defaults and "Layers" in own:  # AWS SAM Developer Guide, Globals: lists are additive
        merged["Layers"] = [*defaults["Layers"], *own["Layers"]]
    return merged
