"""What an EventBridge pattern matches, and what is refused instead of matched."""

from typing import Any

import pytest

from local.aws.patterns import UnsupportedPatternError, check_pattern, matches

EVENT = {
    "source": "aws.ecr",
    "detail": {
        "repository-name": "mirror/app",
        "image-tag": "1.0",
        "size": 300,
        "fresh": True,
        "nothing": None,
        "layers": [{"digest": "a"}, {"digest": "b"}],
        "nested": {"deep": "down"},
    },
}


@pytest.mark.parametrize(
    ("field", "wanted", "expected"),
    [
        ("repository-name", ["mirror/app"], True),
        ("repository-name", ["other", "mirror/app"], True),
        ("repository-name", ["other"], False),
        ("repository-name", [{"prefix": "mirror/"}], True),
        ("repository-name", [{"prefix": "app"}], False),
        ("repository-name", [{"prefix": {"equals-ignore-case": "MIRROR/"}}], True),
        ("repository-name", [{"suffix": "/app"}], True),
        ("repository-name", [{"suffix": "mirror"}], False),
        ("repository-name", [{"equals-ignore-case": "MIRROR/APP"}], True),
        ("repository-name", [{"wildcard": "mirror/*"}], True),
        ("repository-name", [{"wildcard": "*/other"}], False),
        ("repository-name", [{"wildcard": "mirror\\*app"}], False),
        ("repository-name", [{"anything-but": "mirror/app"}], False),
        ("repository-name", [{"anything-but": ["other"]}], True),
        ("repository-name", [{"anything-but": {"prefix": "mirror/"}}], False),
        ("repository-name", [{"anything-but": {"prefix": ["cache/", "other/"]}}], True),
        ("absent", [{"anything-but": ["x"]}], False),
        ("absent", [{"exists": False}], True),
        ("absent", [{"exists": True}], False),
        ("absent", [None], False),
        ("nothing", [None], True),
        ("image-tag", [{"exists": True}], True),
        ("image-tag", [{"exists": False}], False),
        ("nested", [{"exists": True}], False),
        ("size", [{"numeric": [">", 100, "<=", 300]}], True),
        ("size", [{"numeric": ["<", 300]}], False),
        ("image-tag", [{"numeric": ["=", 1]}], False),
        ("fresh", [True], True),
        ("fresh", [1], False),
        ("layers", {"digest": ["b"]}, True),
        ("layers", {"digest": ["c"]}, False),
        ("nested", {"deep": [{"prefix": "do"}]}, True),
        ("absent", {"deep": [{"exists": False}]}, True),
        ("absent", {"deep": [{"anything-but": "x"}]}, False),
    ],
)
def test_field_matches(field: str, wanted: Any, expected: bool) -> None:
    pattern = {"detail": {field: wanted}}

    check_pattern(pattern)
    assert matches(pattern, EVENT) is expected


def test_every_field_of_the_pattern_must_match() -> None:
    assert matches({"source": ["aws.ecr"], "detail": {"image-tag": ["1.0"]}}, EVENT)
    assert not matches({"source": ["aws.s3"], "detail": {"image-tag": ["1.0"]}}, EVENT)


def test_or_needs_one_alternative() -> None:
    alternatives = [{"image-tag": ["2.0"]}, {"size": [{"numeric": ["=", 300]}]}]

    assert matches({"detail": {"$or": alternatives}}, EVENT)
    assert not matches({"detail": {"$or": alternatives[:1]}}, EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        {},
        [],
        {"source": []},
        {"source": "aws.ecr"},
        {"source": [{"cidr": "10.0.0.0/8"}]},
        {"source": [{"prefixes": "a"}]},
        {"source": [{"prefix": "a", "suffix": "b"}]},
        {"source": [{"exists": "yes"}]},
        {"detail": {"$or": [{"tag": [{"unknown": 1}]}]}},
    ],
)
def test_pattern_that_is_not_understood_is_refused(pattern: Any) -> None:
    with pytest.raises(UnsupportedPatternError):
        check_pattern(pattern)
