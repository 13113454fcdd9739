"""Resolves CloudFormation's functions in a value, as far as is known: what cannot be known yet stays as it is written.

CloudFormation User Guide, "Intrinsic function reference". `Fn::Sub` is not known here; `local.deploy.translate` turns
it into `Fn::Join`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from local.stacks.errors import StackError

NO_VALUE: Final = object()
"""What `AWS::NoValue` is: the property or item is left out."""
UNKNOWN: Final = object()
"""What a resource is that is not made yet."""


class Names(Protocol):
    """What the functions of a template refer to."""

    def look_up(self, name: str, attribute: str | None) -> Any:
        """Return the value of `Ref` or `Fn::GetAtt`; UNKNOWN keeps the expression."""

    def holds(self, condition: str) -> bool:
        """Tell whether a condition is true."""

    def mapped(self, mapping: str, first: str, second: str) -> Any:
        """Return a value of `Mappings`."""


def resolve(value: Any, names: Names) -> Any:
    """Put values in the place of functions.

    Raises:
        StackError: a function is none that is known here, or was given what it does not take.
    """
    if isinstance(value, list):
        return [item for item in (resolve(each, names) for each in value) if item is not NO_VALUE]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        ((function, argument),) = value.items()
        if function == "Ref" or function.startswith("Fn::"):
            return _called(function, argument, names)
    resolved = {key: resolve(inner, names) for key, inner in value.items()}
    return {key: inner for key, inner in resolved.items() if inner is not NO_VALUE}


def is_open(value: Any) -> bool:
    """Tell whether something in a value is still unknown."""
    if isinstance(value, list):
        return any(is_open(item) for item in value)
    if not isinstance(value, Mapping):
        return False
    if len(value) == 1 and next(iter(value)) in ("Ref", "Fn::GetAtt"):
        return True
    return any(is_open(inner) for inner in value.values())


def referred(value: Any) -> set[str]:
    """Name the resources that a value is still waiting for."""
    if isinstance(value, list):
        return set().union(*(referred(item) for item in value)) if value else set()
    if not isinstance(value, Mapping):
        return set()
    if value.keys() == {"Ref"}:
        return {str(value["Ref"])}
    if value.keys() == {"Fn::GetAtt"}:
        return {_attribute(value["Fn::GetAtt"])[0]}
    return referred(list(value.values()))


def is_true(condition: Any, names: Names) -> bool:
    """Judge a condition, or an assertion of `Rules`.

    Raises:
        StackError: it is made of something else than conditions are made of.
    """
    if isinstance(condition, Mapping) and len(condition) == 1:
        ((function, argument),) = condition.items()
        if function == "Condition":
            return names.holds(argument)
        if function == "Fn::Equals":
            left, right = (_text(resolve(side, names)) for side in argument)
            return left == right
        if function == "Fn::EachMemberEquals":
            members, wanted = (resolve(side, names) for side in argument)
            return all(_text(member) == _text(wanted) for member in members)
        if function == "Fn::Not":
            return not is_true(argument[0], names)
        if function == "Fn::And":
            return all(is_true(each, names) for each in argument)
        if function == "Fn::Or":
            return any(is_true(each, names) for each in argument)
    raise StackError(f"{condition!r} is no condition")


def _called(function: str, argument: Any, names: Names) -> Any:
    if function in ("Ref", "Fn::GetAtt"):
        name, attribute = (argument, None) if function == "Ref" else _attribute(argument)
        found = names.look_up(name, attribute)
        return {function: argument} if found is UNKNOWN else found
    if function == "Fn::If":
        condition, then, otherwise = argument
        return resolve(then if names.holds(condition) else otherwise, names)
    if function == "Fn::FindInMap":
        return names.mapped(*(str(resolve(each, names)) for each in argument))
    if function not in _FUNCTIONS:
        raise StackError(f"Template error: the local AWS knows no {function}")
    if function in _DELIMITED and not isinstance(argument[0], str):
        raise StackError(f"Template error: {function} requires a string delimiter, not {argument[0]}")
    given = resolve(argument, names)
    return {function: given} if is_open(given) else _FUNCTIONS[function](given)


def _attribute(argument: Any) -> tuple[str, str]:
    name, attribute = argument if isinstance(argument, list) else str(argument).split(".", 1)
    return str(name), str(attribute)


def _join(given: Any) -> str:
    separator, items = given
    return str(separator).join(_text(item) for item in items)


def _split(given: Any) -> list[str]:
    separator, text = given
    return _text(text).split(separator)


def _select(given: Any) -> Any:
    index, items = given
    if int(index) >= len(items):
        raise StackError("Template error: Fn::Select cannot select nonexistent value at index " + str(index))
    return items[int(index)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_DELIMITED: Final = ("Fn::Join", "Fn::Split")
"""Their delimiter may be no function."""
_FUNCTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "Fn::Join": _join,
    "Fn::Split": _split,
    "Fn::Select": _select,
}
