"""Reads a template that a request brings: what is SAM's is translated, parameters and conditions are put in."""

from collections.abc import Mapping
from typing import Any, Final

from local.aws import ACCOUNT_ID
from local.aws.moto_guard import take
from local.deploy.template import parse_yaml
from local.deploy.translate import translate, with_definitions_in_line, without_sub
from local.deploy.verify import check_kinds, without_passed_over
from local.stacks.errors import RefusedError, StackError
from local.stacks.settled import ResolvedTemplate, settle

_SERVERLESS: Final = "AWS::Serverless-2016-10-31"
_IAM: Final = "AWS::IAM::"
_CAPABILITIES: Final = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM")


def parsed(text: str) -> dict[str, Any]:
    """Read a template's text.

    Raises:
        DeploymentError: it is no object.
        StackError: it has no resources.
    """
    template = parse_yaml(text, "Template format error")
    if not template.get("Resources"):
        raise StackError("Template format error: At least one Resources member must be defined.")
    return dict(template)


def resolved_template(
    source: dict[str, Any], parameters: Mapping[str, str], stack_name: str, stack_id: str
) -> ResolvedTemplate:
    """Translate what is SAM's, and apply the parameters.

    Raises:
        DeploymentError: it is no SAM template, or has something that the local AWS does not make.
        StackError: parameters, rules or references are not right.
    """
    template = source
    if source.get("Transform") == _SERVERLESS:
        template = translate(source, parameters, _definitions(source))
    elif "Transform" in source:
        raise StackError(f"the local AWS knows no transform {source['Transform']}")
    else:
        template = with_definitions_in_line(source)
    check_kinds(template)
    return settle(without_passed_over(without_sub(template)), parameters, stack_name, stack_id)


def _definitions(source: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Read the definitions of state machines where `sam` uploaded them."""
    found = {}
    for name, resource in source["Resources"].items():
        where = resource.get("Properties", {}).get("DefinitionUri")
        if resource["Type"] == "AWS::Serverless::StateMachine" and where is not None:
            if isinstance(where, str):
                bucket, _, key = where.removeprefix("s3://").partition("/")
                where = resource["Properties"]["DefinitionUri"] = {"Bucket": bucket, "Key": key}
            found[name] = parse_yaml(read_object(where["Bucket"], where["Key"]), name)
    return found


def read_object(bucket: str, key: str) -> str:
    """Read a text out of the local S3.

    Raises:
        StackError: it is not there.
    """
    backend = take("moto.s3.models", "s3_backends")[ACCOUNT_ID]["aws"]
    found = backend.get_object(bucket, key) if bucket in backend.buckets else None
    if found is None:
        raise StackError(f"S3 error: s3://{bucket}/{key} is not there")
    text: str = found.value.decode()
    return text


def check_capabilities(source: Mapping[str, Any], given: list[str]) -> None:
    """Refuse a template with roles without the caller's acknowledgement.

    Raises:
        RefusedError: the agreement is missing.
    """
    names_iam = any(each["Type"].startswith(_IAM) for each in source["Resources"].values())
    if names_iam and not set(_CAPABILITIES) & set(given):
        raise RefusedError("InsufficientCapabilitiesException", f"Requires capabilities : [{_CAPABILITIES[0]}]")
