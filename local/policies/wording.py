"""Says in words what a statement of the template names: resources, conditions, and what it is there for.

Knows CloudFormation's functions as far as the template uses them in policies; another one is an error.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

_ARN: Final = re.compile(r"arn:\$\{AWS::Partition\}:([a-z0-9-]+):(?:(?:\$\{[^}]*\}|[^:])*:){2}(.+)")
_TOKEN: Final = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9]+)?\}")
_WORD: Final = re.compile(r"[A-Z][a-z0-9]*")

_GIVEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "RulesAreInS3": "`RulesUri` is `s3://…`",
        "RulesAreAFolder": "`RulesUri` is `s3://…/`",
        "RulesAreInSsm": "`RulesUri` is `ssm:/…`",
        "CachedRepositoriesAreKept": "`PullThroughCacheRepositories` is not `none`",
        "HasVpc": "`VpcSubnetIds` are given",
        "HasUpstreamSecrets": "`UpstreamSecrets` are given",
        "HasUpstreamSecretsKey": "`UpstreamSecretsKeyArn` is given",
        "HasRecordsKey": "`RecordsKeyArn` is given",
        "HasSigningProfiles": "`SigningProfiles` are given",
        "HasTrustRoot": "`TrustRootUri` is given",
        "HasSignatureKeys": "`SignatureKeys` are given",
        "HasUpstreamRoles": "`UpstreamRoles` are given",
        "HasUpstreamRepositories": "`UpstreamRepositories` is not `none`",
    }
)
_OPERATORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "StringEquals": "is",
        "StringNotEquals": "is not",
        "StringEqualsIgnoreCase": "is",
        "StringNotEqualsIgnoreCase": "is not",
        "StringLike": "is like",
        "ForAllValues:StringLike": "is like",
        "ForAllValues:StringEquals": "is",
        "ArnEquals": "is",
        "ArnLike": "is like",
        "Bool": "is",
    }
)


class UnknownWordingError(Exception):
    """The template says something in a way that has no words here yet."""


def why(sid: str, note: str | None) -> str:
    """Read what a statement is there for out of its name, as DescribeRefreshes, and a note on it."""
    words = _WORD.findall(sid)
    known = {"ecr": "ECR", "s3": "S3", "ssm": "SSM", "vpc": "VPC"}
    named = " ".join([words[0], *(known.get(word.lower(), word.lower()) for word in words[1:])])
    return f"{named}: {note}" if note else named


def given(condition: str) -> str:
    """Say when a condition of the template holds."""
    return _GIVEN.get(condition, f"`{condition}`")


def resources(value: Any) -> str:
    """Say what a statement's Resource names."""
    return "; ".join(_resource(each) for each in (value if isinstance(value, list) else [value]))


def conditions(value: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what a statement's Condition asks for."""
    return " and ".join(
        _condition(operator, key, wanted) for operator, keys in value.items() for key, wanted in keys.items()
    )


def _condition(operator: str, key: str, wanted: Any) -> str:
    if operator == "Null":
        return f"`{key}` is {'not there' if str(wanted).lower() == 'true' else 'there'}"
    if operator not in _OPERATORS:
        raise UnknownWordingError(f"the operator {operator} of a condition")
    values = wanted if isinstance(wanted, list) else [wanted]
    return f"`{key}` {_OPERATORS[operator]} {' or '.join(_value(each) for each in values)}"


def _value(value: Any) -> str:
    if value == {"Ref": "AWS::AccountId"}:
        return "this account"
    if value == {"Ref": "AWS::Region"}:
        return "this Region"
    return f"`{value}`" if isinstance(value, str) else _resource(value)


def _resource(value: Any) -> str:
    if value == "*":
        return "`*`"
    if isinstance(value, str):
        return f"`{value}`"
    if value.keys() == {"Ref"}:
        return f"`{value['Ref']}`"
    if value.keys() == {"Fn::GetAtt"}:
        return f"`{value['Fn::GetAtt'][0]}`"
    if value.keys() == {"Fn::If"}:
        condition, then, otherwise = value["Fn::If"]
        return f"{resources(then)} where {given(condition)}, else {resources(otherwise)}"
    if value.keys() == {"Fn::Sub"}:
        text, names = value["Fn::Sub"] if isinstance(value["Fn::Sub"], list) else (value["Fn::Sub"], {})
        return _substituted(text, {name: f"what {_parameter(inner)} names" for name, inner in names.items()})
    if value.keys() == {"Fn::Split"}:  # a pattern for each entry of a list
        text, names = value["Fn::Split"][1]["Fn::Sub"]
        return _substituted(text, {name: f"each of {_parameter(inner)}" for name, inner in names.items()})
    raise UnknownWordingError(f"the resource {json.dumps(value)}")


def _parameter(value: Any) -> str:
    """Name the parameter that a nest of functions is about."""
    named = re.search(r'"Ref": "([A-Za-z0-9]+)"|\$\{([A-Za-z0-9]+)\}', json.dumps(value))
    if named is None:
        raise UnknownWordingError(f"the value {json.dumps(value)}")
    return str(named[1] or named[2])


def _substituted(text: str, names: Mapping[str, str]) -> str:
    """Leave out of an ARN what is the same in all of them, and name what is put into it."""
    arn = _ARN.fullmatch(text)
    plain = _TOKEN.sub(lambda token: f"⟨{names.get(token[1], token[1])}⟩", arn[2] if arn else text)
    return f"{arn[1]} `{plain}`" if arn else f"`{plain}`"
