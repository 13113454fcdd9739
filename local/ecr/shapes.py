"""Hold requests against AWS's own description of the ECR API. Refuses to know what the operations do.

The description is the service model that botocore ships, so a limit that AWS changes there is kept here.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import botocore.loaders
import botocore.model
import pybase64

from local.ecr.errors import EcrError, invalid_constraint


@cache
def service_model() -> botocore.model.ServiceModel:
    """Load the description of the ECR API."""
    description = botocore.loaders.Loader().load_service_model("ecr", "service-2")
    return botocore.model.ServiceModel(description, service_name="ecr")


def checked_parameters(operation: str, parameters: Any) -> dict[str, Any]:
    """Give the parameters with blobs decoded; members that the shape does not have are left out, as AWS does.

    Raises:
        EcrError: UnknownOperationException, SerializationException, InvalidParameterException.
    """
    model = service_model()
    if operation not in model.operation_names:
        raise EcrError("UnknownOperationException", f"The ECR API has no operation '{operation}'")
    shape = model.operation_model(operation).input_shape
    checked: dict[str, Any] = _check(shape, parameters, "")
    return checked


def _check(shape: Any, value: Any, where: str) -> Any:
    return _CHECKS[shape.type_name](shape, value, where)


def _check_structure(shape: Any, value: Any, where: str) -> dict[str, Any]:
    _need(isinstance(value, Mapping), where, "a JSON object")
    for name in shape.required_members:
        if value.get(name) is None:
            raise invalid_constraint(_join(where, name), "Member must not be null")
    known = ((name, member) for name, member in shape.members.items() if value.get(name) is not None)
    return {name: _check(member, value[name], _join(where, name)) for name, member in known}


def _check_list(shape: Any, value: Any, where: str) -> list[Any]:
    _need(isinstance(value, list), where, "a JSON array")
    _check_range(shape, len(value), where, "length")
    return [_check(shape.member, item, f"{where}.{n}.member") for n, item in enumerate(value, start=1)]


def _check_map(shape: Any, value: Any, where: str) -> dict[str, Any]:
    _need(isinstance(value, Mapping), where, "a JSON object")
    return {key: _check(shape.value, item, f"{where}.{key}") for key, item in value.items()}


def _check_string(shape: Any, value: Any, where: str) -> str:
    _need(isinstance(value, str), where, "a string")
    _check_range(shape, len(value), where, "length")
    pattern, choices = shape.metadata.get("pattern"), shape.enum
    if pattern and not re.fullmatch(pattern, value):
        raise invalid_constraint(where, f"must satisfy regular expression '{pattern}'")
    if choices and value not in choices:
        raise invalid_constraint(where, f"Member must satisfy enum value set: {list(choices)}")
    return str(value)


def _check_integer(shape: Any, value: Any, where: str) -> int:
    _need(isinstance(value, int) and not isinstance(value, bool), where, "an integer")
    _check_range(shape, value, where, "value")
    return int(value)


def _check_boolean(_shape: Any, value: Any, where: str) -> bool:
    _need(isinstance(value, bool), where, "a boolean")
    return bool(value)


def _check_blob(shape: Any, value: Any, where: str) -> bytes:
    _need(isinstance(value, str), where, "base64")
    try:
        decoded = pybase64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise EcrError("SerializationException", f"'{where}' is not base64") from error
    _check_range(shape, len(decoded), where, "length")
    return decoded


def _check_range(shape: Any, size: int, where: str, what: str) -> None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        raise invalid_constraint(where, f"Member must have {what} greater than or equal to {low}")
    if high is not None and size > high:
        raise invalid_constraint(where, f"Member must have {what} less than or equal to {high}")


def _need(fits: bool, where: str, kind: str) -> None:
    if not fits:
        raise EcrError("SerializationException", f"'{where or 'the request'}' must be {kind}")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


_CHECKS: Mapping[str, Callable[[Any, Any, str], Any]] = {
    "structure": _check_structure,
    "list": _check_list,
    "map": _check_map,
    "string": _check_string,
    "integer": _check_integer,
    "long": _check_integer,
    "boolean": _check_boolean,
    "blob": _check_blob,
}
