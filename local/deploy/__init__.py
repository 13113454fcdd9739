"""Puts a SAM template into the local AWS, the way `sam build && sam deploy` puts it into AWS, or says what is missing.

The steps: build and upload what the template points at (`build.py`), translate it (`translate.py`), create the stack,
and look whether everything is really there (`verify.py`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from local.aws.server import LocalAws
from local.deploy.build import upload_artifacts
from local.deploy.errors import DeploymentError
from local.deploy.template import load_template
from local.deploy.translate import translate
from local.deploy.verify import PASSED_OVER, check_kinds, verify, without_passed_over

__all__ = ["PASSED_OVER", "DeploymentError", "Stack", "deploy", "update"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_CAPABILITIES: Final = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM")
_HASH_CHARACTERS: Final = 10  # what aws-sam-translator appends to a layer's logical id


class Stack(NamedTuple):
    """What a deployment made."""

    outputs: Mapping[str, str]
    resources: Mapping[str, str]  # logical id, as the template has it, to physical id


def deploy(
    aws: LocalAws,
    template: Path,
    stack_name: str = "pullahead",
    parameters: Mapping[str, str] = _NOTHING,
    content: Mapping[str, Path] = _NOTHING,
) -> Stack:
    """Deploy a template; `content` gives other folders for the functions or layers named.

    Raises:
        DeploymentError: something of the template would be missing or different.
    """
    source, translated = _translated(aws, template, parameters, content)
    stack = _create(aws, stack_name, without_passed_over(translated), parameters)
    return _verified(aws, stack, source, translated)


def update(aws: LocalAws, template: Path, content: Mapping[str, Path], stack_name: str = "pullahead") -> Stack:
    """Deploy a template over its stack, with other content; the stack's parameters keep their values.

    Raises:
        DeploymentError: there is no such stack, or as `deploy`.
    """
    deployed = _described(aws, stack_name)
    declared = load_template(template).get("Parameters", {})
    kept = {each["ParameterKey"]: each["ParameterValue"] for each in deployed.get("Parameters", [])}
    parameters = {name: value for name, value in kept.items() if name in declared}
    source, translated = _translated(aws, template, parameters, content)
    try:
        aws.client("cloudformation").update_stack(
            StackName=stack_name,
            TemplateBody=json.dumps(without_passed_over(translated)),
            Parameters=[{"ParameterKey": name, "UsePreviousValue": True} for name in parameters],
            Capabilities=_CAPABILITIES,
        )
    except ClientError as error:
        raise DeploymentError(f"the update of the stack was refused: {error}") from error
    return _verified(aws, _described(aws, stack_name), source, translated)


def _translated(
    aws: LocalAws, template: Path, parameters: Mapping[str, str], content: Mapping[str, Path]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Upload what a template points at; return the template, and what it is translated to."""
    source = load_template(template)
    _check_parameters(source, parameters)
    definitions = upload_artifacts(aws.client("s3"), source, template.resolve().parent, content)
    translated = translate(source, parameters, definitions)
    check_kinds(translated)
    return source, translated


def _verified(
    aws: LocalAws, stack: Mapping[str, Any], source: Mapping[str, Any], translated: Mapping[str, Any]
) -> Stack:
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise DeploymentError(
            f"the stack is {stack['StackStatus']}: {stack.get('StackStatusReason', 'no reason given')}"
        )
    physical = _physical_ids(aws, stack["StackName"])
    verify(aws, translated, physical)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return Stack(outputs, {**physical, **_layers_by_their_own_name(source, physical)})


def _check_parameters(source: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
    unknown = parameters.keys() - source.get("Parameters", {}).keys()
    if unknown:
        raise DeploymentError(f"the template has no parameters {sorted(unknown)}")
    for name, declared in source.get("Parameters", {}).items():
        if name not in parameters and "Default" not in declared:
            raise DeploymentError(f"parameter {name} has no default and was not given")


def _create(
    aws: LocalAws, stack_name: str, translated: Mapping[str, Any], parameters: Mapping[str, str]
) -> dict[str, Any]:
    try:
        aws.client("cloudformation").create_stack(
            StackName=stack_name,
            TemplateBody=json.dumps(translated),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Capabilities=_CAPABILITIES,
        )
    except ClientError as error:
        raise DeploymentError(f"the stack was refused: {error}") from error
    return _described(aws, stack_name)


def _described(aws: LocalAws, stack_name: str) -> dict[str, Any]:
    try:
        stack: dict[str, Any] = aws.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
    except ClientError as error:
        raise DeploymentError(f"there is no stack {stack_name}: {error}") from error
    return stack


def _physical_ids(aws: LocalAws, stack_name: str) -> dict[str, str]:
    found = aws.client("cloudformation").describe_stack_resources(StackName=stack_name)["StackResources"]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}


def _layers_by_their_own_name(source: Mapping[str, Any], physical: Mapping[str, str]) -> dict[str, str]:
    layers = (name for name, made in source["Resources"].items() if made["Type"] == "AWS::Serverless::LayerVersion")
    return {
        layer: identifier
        for layer in layers
        for name, identifier in physical.items()
        if name[:-_HASH_CHARACTERS] == layer and len(name) == len(layer) + _HASH_CHARACTERS
    }
