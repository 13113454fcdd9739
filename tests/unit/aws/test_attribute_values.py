"""Attribute values are those of boto3's serializer, which functions do not import."""

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from pullahead.aws.attribute_values import decode_value, encode_value

_SCALARS = st.one_of(
    st.text(), st.booleans(), st.none(), st.integers(-(10**30), 10**30), st.decimals(-(10**9), 10**9, places=6)
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)


@given(_VALUES)
def test_values_are_encoded_and_decoded_as_boto3_does(value: Any) -> None:
    encoded = encode_value(value)
    assert encoded == TypeSerializer().serialize(value)
    assert decode_value(encoded) == TypeDeserializer().deserialize(encoded) == value


@pytest.mark.parametrize(
    ("values", "encoded"),
    [
        ({"a"}, {"SS": ["a"]}),
        (frozenset({"b", "a"}), {"SS": ["a", "b"]}),
        ({b"\2", b"\1"}, {"BS": [b"\1", b"\2"]}),
        ({2, Decimal("1.5")}, {"NS": ["1.5", "2"]}),
    ],
)
def test_set_comes_back_as_a_set(values: Any, encoded: Any) -> None:
    assert encode_value(values) == encoded
    assert decode_value(encoded) == values


def test_bytes_come_back() -> None:
    assert decode_value(encode_value(b"\0\xff")) == b"\0\xff"


@pytest.mark.parametrize("value", [1.5, set(), {1, "a"}, {True}, {None}, {1.5}, object()])
def test_value_that_dynamodb_does_not_store_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="DynamoDB cannot store"):
        encode_value(value)


def test_number_of_more_digits_than_dynamodb_keeps_is_refused_rather_than_rounded() -> None:
    with pytest.raises(ArithmeticError):
        encode_value(Decimal("1." + "1" * 40))


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no attribute value"):
        decode_value({"X": 1})
