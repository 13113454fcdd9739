"""Attribute values of DynamoDB as its API has them, from and to plain values of Python.

As boto3's own serializer, which brings all of boto3 and s3transfer along: a third of a cold start's imports.

Source: DynamoDB API reference, "AttributeValue".
"""

from collections.abc import Callable, Mapping, Set
from decimal import Context, Decimal, Inexact, Rounded
from typing import Any, Final

# DynamoDB developer guide, "Data types": numbers have up to 38 digits; others are refused rather than rounded.
_NUMBERS: Final = Context(prec=38, Emin=-128, Emax=126, traps=[Inexact, Rounded])


def encode_value(value: object) -> dict[str, Any]:
    """Encode a value. A set has texts, bytes or numbers. Raises TypeError for others, and for a float: it is inexact.

    Raises: ArithmeticError for a number that DynamoDB cannot store.
    """
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": str(_NUMBERS.create_decimal(value))}
        case None:
            return {"NULL": True}
        case bytes():
            return {"B": value}
        case Mapping():
            return {"M": {name: encode_value(each) for name, each in value.items()}}
        case list() | tuple():
            return {"L": [encode_value(each) for each in value]}
        case Set() if value and len({_set_kind(each) for each in value}) == 1:
            (kind,) = {_set_kind(each) for each in value}
            return {kind + "S": sorted(encode_value(each)[kind] for each in value)}
    raise TypeError(f"DynamoDB cannot store {type(value).__name__}")


def _set_kind(value: object) -> str:
    """Return the type of an item of a set. Raises TypeError where sets have no such items."""
    ((kind, _),) = encode_value(value).items()
    if kind not in ("S", "N", "B"):
        raise TypeError(f"DynamoDB cannot store {type(value).__name__} in a set")
    return kind


def decode_value(encoded: Mapping[str, Any]) -> Any:
    """Decode a value: numbers as Decimal, sets as sets. Raises ValueError for what the API does not know."""
    ((kind, value),) = encoded.items()
    decode = _DECODERS.get(kind)
    if decode is None:
        raise ValueError(f"no attribute value of DynamoDB: {kind}")
    return decode(value)


def _same(value: Any) -> Any:
    return value


def _none(_value: object) -> None:
    return None


_DECODERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "S": _same,
    "N": _NUMBERS.create_decimal,
    "BOOL": _same,
    "B": _same,
    "NULL": _none,
    "M": lambda value: {name: decode_value(each) for name, each in value.items()},
    "L": lambda value: [decode_value(each) for each in value],
    "SS": set,
    "NS": lambda value: set(map(_NUMBERS.create_decimal, value)),
    "BS": set,
}
