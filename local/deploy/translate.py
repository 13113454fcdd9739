"""Turns a SAM template into a CloudFormation template that moto reads rightly. Asks no AWS.

Two things are done here that CloudFormation does in AWS: definitions come in line with their substitutions, and
`Fn::Sub` becomes `Fn::Join`, since moto's own Sub loses a dollar of every `$$`.
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Final

import boto3
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from local.aws import REGION
from local.deploy.errors import DeploymentError

# It warns at every translation that its statistics were not collected.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)

_TOKEN: Final = re.compile(r"\$\{([^}!][^}]*)\}")
_LITERAL: Final = re.compile(r"\$\{!([^}]*)\}")
_STATE_MACHINE: Final = "AWS::StepFunctions::StateMachine"
_POLICY_PREFIX: Final = "arn:aws:iam::aws:policy"
# Names that a template may use for AWS managed policies; sam deploy asks IAM for the whole list.
_MANAGED_POLICIES: Final = {
    "AWSLambdaBasicExecutionRole": f"{_POLICY_PREFIX}/service-role/AWSLambdaBasicExecutionRole",
    "AWSXRayDaemonWriteAccess": f"{_POLICY_PREFIX}/AWSXRayDaemonWriteAccess",
    "AWSXrayWriteOnlyAccess": f"{_POLICY_PREFIX}/AWSXrayWriteOnlyAccess",
}


def translate(
    template: Mapping[str, Any], parameters: Mapping[str, str], definitions: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Translate a template whose folders were uploaded.

    Raises:
        DeploymentError: it is no valid SAM template, or a definition has a token that nothing substitutes.
    """
    translated = transformed(dict(template), parameters)
    for name, definition in definitions.items():
        properties = translated["Resources"][name]["Properties"]
        del properties["DefinitionS3Location"]
        substitutions = properties.pop("DefinitionSubstitutions", {})
        properties["DefinitionString"] = _substituted(name, json.dumps(definition), substitutions)
    return without_sub(translated)


def without_sub(template: Mapping[str, Any]) -> dict[str, Any]:
    """Write `Fn::Join` for every `Fn::Sub`."""
    plain: dict[str, Any] = _without_sub(template)
    return plain


def with_definitions_in_line(template: dict[str, Any]) -> dict[str, Any]:
    """Put their substitutions into the definitions of state machines, as CloudFormation does.

    Raises:
        DeploymentError: a definition has a token that nothing substitutes.
    """
    resources = dict(template["Resources"])
    for name, resource in resources.items():
        properties = dict(resource.get("Properties", {}))
        if resource["Type"] == _STATE_MACHINE and "DefinitionSubstitutions" in properties:
            substitutions, text = properties.pop("DefinitionSubstitutions"), properties["DefinitionString"]
            properties["DefinitionString"] = _substituted(name, text, substitutions)
            resources[name] = {**resource, "Properties": properties}
    return {**template, "Resources": resources}


def transformed(template: dict[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """Apply the SAM transform, and nothing else.

    Raises:
        DeploymentError: it is no valid SAM template.
    """
    translator = Translator(_MANAGED_POLICIES, Parser(), boto_session=boto3.Session(region_name=REGION))
    defaults = {name: slot["Default"] for name, slot in template.get("Parameters", {}).items() if "Default" in slot}
    pseudo = {"AWS::Region": REGION, "AWS::Partition": "aws"}
    values = {**pseudo, **defaults, **parameters}
    try:
        # Through JSON: YAML's anchors would be shared objects, and the translator writes into what it reads.
        translated: dict[str, Any] = translator.translate(json.loads(json.dumps(template)), parameter_values=values)
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause.message) for cause in error.causes)
        raise DeploymentError(f"not a valid SAM template: {causes or error.message}") from error
    return translated


def _substituted(name: str, text: str, substitutions: Mapping[str, Any]) -> dict[str, Any]:
    """Put values in place of `${Token}`s, as CloudFormation does with DefinitionSubstitutions."""
    unknown = {token for token in _TOKEN.findall(text) if token not in substitutions}
    if unknown:
        raise DeploymentError(f"{name}: the definition's {sorted(unknown)} are not in DefinitionSubstitutions")
    unused = substitutions.keys() - set(_TOKEN.findall(text))
    if unused:
        raise DeploymentError(f"{name}: the definition uses none of {sorted(unused)} in DefinitionSubstitutions")
    return _joined(text, lambda token: substitutions[token])


def _without_sub(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_sub(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {"Fn::Sub"}:
        return {name: _without_sub(inner) for name, inner in value.items()}
    text, given = value["Fn::Sub"] if isinstance(value["Fn::Sub"], list) else (value["Fn::Sub"], {})
    given = _without_sub(given)
    return _joined(text, lambda token: given[token] if token in given else _reference(token))


def _reference(token: str) -> dict[str, Any]:
    resource, dot, attribute = token.strip().partition(".")
    return {"Fn::GetAtt": [resource, attribute]} if dot else {"Ref": resource}


def _joined(text: str, value_of: Any) -> dict[str, Any]:
    pieces: list[Any] = []
    position = 0
    for token in _TOKEN.finditer(text):
        pieces += [text[position : token.start()], value_of(token[1])]
        position = token.end()
    pieces.append(text[position:])
    plain = [_LITERAL.sub(r"${\1}", piece) if isinstance(piece, str) else piece for piece in pieces]
    return {"Fn::Join": ["", [piece for piece in plain if piece != ""]]}
