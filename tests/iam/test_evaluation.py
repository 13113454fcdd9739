"""The evaluator decides as IAM documents it: wildcards, conditions, missing keys, and Deny before Allow."""

from typing import Any

import pytest

from local.policies.evaluation import AccessRequest, UnknownOperatorError, is_allowed, statements_of

ARN = "arn:aws:s3:::bucket/plans/one"


def allowed(asked: AccessRequest, *statements: dict[str, Any]) -> bool:
    return is_allowed(statements_of("Role", {"Statement": list(statements)}), asked)


def statement(
    action: str | list[str] = "s3:GetObject", resource: str | list[str] = ARN, effect: str = "Allow", **condition: Any
) -> dict[str, Any]:
    return {"Sid": "A", "Effect": effect, "Action": action, "Resource": resource, "Condition": condition}


def ask(action: str = "s3:GetObject", resource: str = ARN, role: str = "Role", **context: str) -> AccessRequest:
    return AccessRequest(
        role, action, resource, tuple((key.replace("_", ":"), value) for key, value in context.items())
    )


KEYS = "dynamodb:LeadingKeys"


def ask_for(*keys: str) -> AccessRequest:
    return AccessRequest("Role", "s3:GetObject", ARN, tuple((KEYS.lower(), key) for key in keys))


@pytest.mark.parametrize(
    ("condition", "keys", "expected"),
    [
        ({"ForAllValues:StringLike": {KEYS: ["a#*", "b"]}}, ["a#1", "b"], True),
        ({"ForAllValues:StringLike": {KEYS: ["a#*", "b"]}}, ["a#1", "c"], False),
        ({"ForAllValues:StringLike": {KEYS: "a#*"}}, [], True),
        ({"ForAllValues:StringEquals": {KEYS: "a#*"}}, ["a#1"], False),
        ({"ForAllValues:StringNotEquals": {KEYS: "a"}}, ["b", "a"], False),
        ({"ForAnyValue:StringLike": {KEYS: "a#*"}}, ["b", "a#1"], True),
        ({"ForAnyValue:StringLike": {KEYS: "a#*"}}, ["b"], False),
        ({"ForAnyValue:StringLike": {KEYS: "a#*"}}, [], False),
        ({"ForAnyValue:StringNotEquals": {KEYS: "a"}}, [], False),
        ({"StringLike": {KEYS: "a#*"}}, ["a#1"], True),
        ({"StringLike": {KEYS: "*${*}"}}, ["a*"], True),
        ({"StringLike": {KEYS: "*${*}"}}, ["a"], False),
        ({"StringLike": {KEYS: "${?}${$}"}}, ["?$"], True),
        ({"Null": {KEYS: "false"}}, ["a", "b"], True),
    ],
)
def test_several_values_of_a_key_are_evaluated(condition: dict[str, Any], keys: list[str], expected: bool) -> None:
    assert allowed(ask_for(*keys), statement(**condition)) is expected


def test_several_values_without_a_quantifier_are_an_error() -> None:
    with pytest.raises(UnknownOperatorError):
        allowed(ask_for("a", "b"), statement(StringLike={KEYS: "*"}))
    with pytest.raises(UnknownOperatorError):
        allowed(ask_for("a"), statement() | {"Condition": {"ForMostValues:StringLike": {KEYS: "*"}}})


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("s3:GetObject", ARN, True),
        ("S3:getobject", ARN, True),
        ("s3:Get*", "arn:aws:s3:::bucket/*", True),
        (["s3:PutObject", "s3:GetObject"], [ARN, "arn:aws:s3:::other/*"], True),
        ("*", "*", True),
        ("s3:GetObjec?", "arn:aws:s3:::bucket/plans/on?", True),
        ("s3:GetObject", "arn:aws:s3:::bucket/plans", False),
        ("s3:GetObject", "arn:aws:s3:::Bucket/plans/one", False),
        ("s3:GetObject", "arn:aws:s3:::bucket/plans/one?", False),
        ("s3:GetObjectAcl", ARN, False),
        ("s3:GetObject.", ARN, False),
    ],
)
def test_actions_and_resources_match_with_wildcards(
    action: str | list[str], resource: str | list[str], expected: bool
) -> None:
    assert allowed(ask(), statement(action, resource)) is expected


def test_call_is_denied_by_default_and_for_other_roles() -> None:
    assert not allowed(ask())
    assert not allowed(ask(role="Other"), statement())


def test_matching_deny_overrides_allow() -> None:
    assert not allowed(ask(), statement(), statement(effect="Deny"))
    assert allowed(ask(), statement(), statement("s3:PutObject", effect="Deny"))


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        (
            {"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-west-2"]}},
            {"aws_requestedregion": "eu-west-2"},
            True,
        ),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, {"aws_requestedregion": "us-east-1"}, False),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, {}, False),
        ({"StringEqualsIfExists": {"aws:RequestedRegion": "eu-west-1"}}, {}, True),
        ({"StringNotEquals": {"aws:a": "x"}}, {"aws_a": "x"}, False),
        ({"StringNotEquals": {"aws:a": ["x", "y"]}}, {"aws_a": "z"}, True),
        ({"StringNotEqualsIgnoreCase": {"aws:a": "true"}}, {"aws_a": "TRUE"}, False),
        ({"StringNotEqualsIgnoreCase": {"aws:a": "true"}}, {}, True),
        (
            {"StringLike": {"aws:a": "secretsmanager.*.amazonaws.com"}},
            {"aws_a": "secretsmanager.x.amazonaws.com"},
            True,
        ),
        ({"StringLike": {"aws:a": "secretsmanager.*.amazonaws.com"}}, {"aws_a": "s3.x.amazonaws.com"}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws_securetransport": "true"}, False),
        ({"ArnEquals": {"aws:a": "arn:aws:sns:*:*:one"}}, {"aws_a": "arn:aws:sns:eu-west-1:1:one"}, True),
        ({"Null": {"lambda:SourceFunctionArn": "true"}}, {}, True),
        ({"Null": {"lambda:SourceFunctionArn": "true"}}, {"lambda_sourcefunctionarn": "f"}, False),
        ({"Null": {"lambda:SourceFunctionArn": "false"}}, {"lambda_sourcefunctionarn": "f"}, True),
        ({"StringEquals": {"aws:a": "x", "aws:b": "y"}}, {"aws_a": "x", "aws_b": "z"}, False),
        ({"StringEquals": {"aws:a": "x"}, "Null": {"aws:b": "false"}}, {"aws_a": "x"}, False),
    ],
)
def test_condition_operators_are_evaluated(condition: dict[str, Any], context: dict[str, str], expected: bool) -> None:
    assert allowed(ask(**context), statement(**condition)) is expected


@pytest.mark.parametrize(
    "unknown", [statement(IpAddress={"aws:SourceIp": "10.0.0.0/8"}), statement(resource="arn:aws:s3:::${aws:username}")]
)
def test_unsupported_condition_or_variable_is_an_error(unknown: dict[str, Any]) -> None:
    with pytest.raises(UnknownOperatorError):
        allowed(ask(), unknown)
