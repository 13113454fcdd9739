"""Judges a call by a role's statements as IAM does (IAM User Guide, "Policy evaluation logic").

Knows identity policies of one account; what else could refuse (boundaries, organisations, resource policies) is no part
of a template. An operator or variable that it does not know is an error, never a guess.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

_IF_EXISTS: Final = "IfExists"


class UnknownOperatorError(Exception):
    """A policy says something that is not judged here."""


class Statement(NamedTuple):
    """One statement of a role's policies, as CloudFormation has resolved it."""

    role: str
    sid: str
    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, Any]]


class AccessRequest(NamedTuple):
    """What a role asks for, and what IAM knows about it besides (global condition keys, in small letters)."""

    role: str
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def statements_of(role: str, document: Mapping[str, Any]) -> list[Statement]:
    """Read a policy document."""
    return [
        Statement(
            role,
            each.get("Sid", ""),
            each["Effect"],
            tuple(_listed(each["Action"])),
            tuple(_listed(each["Resource"])),
            each.get("Condition", {}),
        )
        for each in _listed(document["Statement"])
    ]


def is_allowed(statements: Iterable[Statement], asked: AccessRequest) -> bool:
    """Tell whether a call is allowed: by some statement, and denied by none."""
    matching = [each.effect for each in statements if matches(each, asked)]
    return "Allow" in matching and "Deny" not in matching


def matches(statement: Statement, asked: AccessRequest) -> bool:
    """Tell whether a statement speaks of a call."""
    return (
        statement.role == asked.role
        and any(_like(pattern.lower(), asked.action.lower()) for pattern in statement.actions)
        and any(_like(pattern, asked.resource) for pattern in statement.resources)
        and _holds(statement.conditions, dict(asked.context))
    )


def _holds(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    return all(
        _holds_for(operator, context.get(key.lower()), [str(value) for value in _listed(wanted)])
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _holds_for(operator: str, value: str | None, wanted: Sequence[str]) -> bool:
    """Compare one key (IAM JSON policy elements: Condition operators); a key that is not there meets only negations."""
    if operator == "Null":
        return (value is None) == (wanted[0].lower() == "true")
    plain = operator.removesuffix(_IF_EXISTS)
    if plain not in _OPERATORS:
        raise UnknownOperatorError(f"the operator {operator} is not judged here")
    equal, negated = _OPERATORS[plain]
    if value is None:
        return negated or plain != operator
    return any(equal(each, value) for each in wanted) != negated


@cache
def _pattern(text: str) -> re.Pattern[str]:
    if "${" in text:
        raise UnknownOperatorError(f"the variable in {text} is not judged here")
    return re.compile("".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in text), re.DOTALL)


def _like(pattern: str, value: str) -> bool:
    return _pattern(pattern).fullmatch(value) is not None


def _same(wanted: str, value: str) -> bool:
    return wanted == value


def _same_in_any_case(wanted: str, value: str) -> bool:
    return wanted.lower() == value.lower()


# How two values are compared, and whether the result is negated.
_OPERATORS: Final[Mapping[str, tuple[Callable[[str, str], bool], bool]]] = MappingProxyType(
    {
        "StringEquals": (_same, False),
        "StringNotEquals": (_same, True),
        "StringEqualsIgnoreCase": (_same_in_any_case, False),
        "StringNotEqualsIgnoreCase": (_same_in_any_case, True),
        "StringLike": (_like, False),
        "StringNotLike": (_like, True),
        "ArnEquals": (_like, False),
        "ArnLike": (_like, False),
        "Bool": (_same_in_any_case, False),
    }
)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
