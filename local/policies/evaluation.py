"""Judges a call by a role's statements as IAM does (IAM User Guide, "Policy evaluation logic").

A condition key may have several values in one request, as `dynamodb:LeadingKeys` has: those need `ForAllValues` or
`ForAnyValue` (IAM User Guide, "Multivalued context keys").

Knows identity policies of one account; what else could refuse (boundaries, organisations, resource policies) is no part
of a template. An operator or variable that it does not know is an error, never a guess.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

_IF_EXISTS: Final = "IfExists"
_ALL, _ANY = "ForAllValues", "ForAnyValue"


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
    """What a role asks for, and what IAM knows about it besides: condition keys, in small letters, one pair a value."""

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
        and _in_small_letters(statement.actions).fullmatch(asked.action.lower()) is not None
        and _any_of(statement.resources).fullmatch(asked.resource) is not None
        and holds(statement.conditions, asked.context)
    )


def holds(conditions: Mapping[str, Mapping[str, Any]], context: Iterable[tuple[str, str]]) -> bool:
    """Tell whether all conditions of a statement hold for what is known of a request."""
    values: dict[str, list[str]] = {}
    for key, value in context:
        values.setdefault(key, []).append(value)
    return all(
        _holds_for(operator, key, values.get(key.lower(), []), [str(value) for value in _listed(wanted)])
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _holds_for(operator: str, key: str, values: Sequence[str], wanted: Sequence[str]) -> bool:
    """Compare one key (IAM JSON policy elements: Condition operators); a key that is not there meets only negations."""
    if operator == "Null":
        return (not values) == (wanted[0].lower() == "true")
    quantifier, _, rest = operator.rpartition(":")
    plain = rest.removesuffix(_IF_EXISTS)
    if plain not in _OPERATORS or quantifier not in ("", _ALL, _ANY):
        raise UnknownOperatorError(f"the operator {operator} is not judged here")
    equal, negated = _OPERATORS[plain]
    met = [any(equal(each, value) for each in wanted) != negated for value in values]
    if quantifier == _ALL:
        return all(met)  # also where the request has no value at all
    if not values:
        return plain != rest or (negated and not quantifier)
    if quantifier == _ANY:
        return any(met)
    if len(values) > 1:
        raise UnknownOperatorError(f"{key} has several values; {operator} compares one")
    return met[0]


_SIGNS: Final = re.compile(r"\$\{([*?$])\}|(.)", re.DOTALL)
"""A sign, or one that is meant as it is (IAM User Guide, "Policy variables and tags": special characters)."""


@cache
def _pattern(text: str) -> re.Pattern[str]:
    if "${" in re.sub(r"\$\{[*?$]\}", "", text):
        raise UnknownOperatorError(f"the variable in {text} is not judged here")
    signs = ((re.escape(meant), sign) for meant, sign in _SIGNS.findall(text))
    return re.compile(
        "".join(meant or {"*": ".*", "?": "."}.get(sign, re.escape(sign)) for meant, sign in signs), re.DOTALL
    )


@cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_pattern(each).pattern for each in patterns) if patterns else r"(?!)", re.DOTALL)


@cache
def _in_small_letters(actions: tuple[str, ...]) -> re.Pattern[str]:
    return _any_of(tuple(action.lower() for action in actions))


def is_like(pattern: str, value: str) -> bool:
    """Compare a value with a pattern of `*` and `?`."""
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
        "StringLike": (is_like, False),
        "StringNotLike": (is_like, True),
        "ArnEquals": (is_like, False),
        "ArnLike": (is_like, False),
        "Bool": (_same_in_any_case, False),
    }
)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
