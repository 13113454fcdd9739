"""Decides whether an event matches an EventBridge pattern. Pure.

EventBridge user guide, "Comparison operators for use in event patterns". What is not known here is refused, never
taken as a match.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final


class UnsupportedPatternError(ValueError):
    """A pattern uses something that the local EventBridge does not judge."""


def check_pattern(pattern: Any) -> None:
    """Read a pattern through without an event.

    Raises:
        UnsupportedPatternError: it is malformed, or uses an operator that is not known here.
    """
    if not isinstance(pattern, Mapping) or not pattern:
        raise UnsupportedPatternError(f"a pattern is an object with at least one field, not {pattern!r}")
    for name, wanted in pattern.items():
        if name == "$or":
            for alternative in wanted:
                check_pattern(alternative)
        elif isinstance(wanted, Mapping):
            check_pattern(wanted)
        elif isinstance(wanted, list) and wanted:
            for one in wanted:
                _test_for(one)
        else:
            raise UnsupportedPatternError(f"{name}: an object or an array with something in it is wanted")


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Tell whether the event has every field of the pattern with one of the values wanted there."""
    return _matches(pattern, [event])


def _matches(pattern: Mapping[str, Any], nodes: Sequence[Any]) -> bool:
    for name, wanted in pattern.items():
        if name == "$or":
            if not any(_matches(alternative, nodes) for alternative in wanted):
                return False
        elif isinstance(wanted, Mapping):
            if not _matches(wanted, list(_children(nodes, name))):
                return False
        elif not any(_fits(one, list(_leaves(nodes, name))) for one in wanted):
            return False
    return True


def _children(nodes: Sequence[Any], name: str) -> Iterator[Any]:
    """Step into objects; an array of objects matches when one of them does."""
    for node in nodes:
        child = node.get(name) if isinstance(node, Mapping) else None
        yield from child if isinstance(child, list) else [child]


def _leaves(nodes: Sequence[Any], name: str) -> Iterator[Any]:
    for node in nodes:
        if isinstance(node, Mapping) and name in node:
            value = node[name]
            yield from value if isinstance(value, list) else [value]


def _fits(wanted: Any, values: Sequence[Any]) -> bool:
    if isinstance(wanted, Mapping) and "exists" in wanted:
        # "exists" works on leaf nodes only.
        return wanted["exists"] is any(not isinstance(value, Mapping) for value in values)
    test = _test_for(wanted)
    return any(test(value) for value in values)  # an absent field has no value, so that even anything-but fails


def _test_for(wanted: Any) -> Callable[[Any], bool]:
    if not isinstance(wanted, Mapping):
        return lambda value: _same(value, wanted)
    if len(wanted) != 1:
        raise UnsupportedPatternError(f"one operator is wanted, not {sorted(wanted)}")
    [(operator, operand)] = wanted.items()
    make = _OPERATORS.get(operator)
    if make is None:
        raise UnsupportedPatternError(f"the local EventBridge does not judge {operator!r}")
    return make(operand)


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted  # in JSON true is not 1
    return bool(value == wanted)


def _on_text(test: Callable[[str], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and test(value)


def _affix(method: Callable[[str, str], bool]) -> Callable[[Any], Callable[[Any], bool]]:
    def make(operand: Any) -> Callable[[Any], bool]:
        if isinstance(operand, Mapping):
            folded = operand["equals-ignore-case"].lower()
            return _on_text(lambda value: method(value.lower(), folded))
        return _on_text(lambda value: method(value, operand))

    return make


def _anything_but(operand: Any) -> Callable[[Any], bool]:
    if isinstance(operand, Mapping):
        [(operator, inner)] = operand.items()
        tests = [_test_for({operator: one}) for one in (inner if isinstance(inner, list) else [inner])]
    else:
        tests = [_test_for(one) for one in (operand if isinstance(operand, list) else [operand])]
    return lambda value: not any(test(value) for test in tests)


def _wildcard(operand: str) -> Callable[[Any], bool]:
    expression = "".join(
        ".*" if part == "*" else re.escape(part if part == "\\" else part.removeprefix("\\"))
        for part in re.findall(r"\\[*\\]|\*|[^*\\]+|\\", operand)
    )
    return _on_text(lambda value: re.fullmatch(expression, value, re.DOTALL) is not None)


def _numeric(operand: Sequence[Any]) -> Callable[[Any], bool]:
    compare: Mapping[str, Callable[[Any, Any], bool]] = {
        "=": lambda value, limit: bool(value == limit),
        "<": lambda value, limit: bool(value < limit),
        "<=": lambda value, limit: bool(value <= limit),
        ">": lambda value, limit: bool(value > limit),
        ">=": lambda value, limit: bool(value >= limit),
    }
    pairs = [(compare[sign], limit) for sign, limit in zip(operand[::2], operand[1::2], strict=True)]

    def test(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and all(holds(value, limit) for holds, limit in pairs)

    return test


def _exists(operand: Any) -> Callable[[Any], bool]:
    if not isinstance(operand, bool):
        raise UnsupportedPatternError(f"exists is true or false, not {operand!r}")
    return lambda _: operand


_OPERATORS: Final[Mapping[str, Callable[[Any], Callable[[Any], bool]]]] = {
    "anything-but": _anything_but,
    "equals-ignore-case": lambda operand: _on_text(lambda value: value.lower() == operand.lower()),
    "exists": _exists,
    "numeric": _numeric,
    "prefix": _affix(str.startswith),
    "suffix": _affix(str.endswith),
    "wildcard": _wildcard,
}
