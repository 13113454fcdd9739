"""A version that is read wrongly, or a range that holds what it should not, mirrors the wrong tags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.rules.tag_patterns import InvalidPatternError, parse_range, parse_version, release_of


def holds(text: str, tag: str, *, prereleases: bool = False) -> bool:
    version = parse_version(tag)
    assert version is not None
    return parse_range(text).contains(version, prereleases=prereleases)


@pytest.mark.parametrize(
    ("tag", "same"),
    [
        ("3.20", "3.20.0"),
        ("3", "3.0.0"),
        ("v1.2.3", "1.2.3"),
        ("V1", "1.0.0"),
        ("24.04", "24.4"),
        ("3.13-slim", "v3.13.0-slim"),
        ("109.0.1_up1.0.2", "109.0.1"),
        ("v1.2.3_build.5", "1.2.3"),
        ("1.2.3-rc.1_up0.1", "1.2.3-rc.1"),
        ("21.0.5_11-jdk-alpine", "21.0.5-jdk-alpine"),
    ],
)
def test_short_version_is_the_whole_version(tag: str, same: str) -> None:
    assert parse_version(tag) == parse_version(same) is not None


@pytest.mark.parametrize(
    "tag",
    [
        *("", "latest", "v", "1.2.3.4", "1.2.", ".1", "1.2.3-", "1.2.3-a..b", "1.2_3", "vv1", "1.2.3+b", "1.x", "٣.1"),
        *("1.2.3_", "1.2.3_a..b", "1.2.3_a_b", "_1.2.3", "1.2.3_a-"),
    ],
)
def test_tag_that_is_not_a_version_gives_none(tag: str) -> None:
    assert parse_version(tag) is None


def test_order_is_that_of_semantic_versioning() -> None:
    # Semantic Versioning 2.0.0, item 11, and its example.
    in_order = [
        *("0.9", "1.0.0-0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2"),
        *("1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2", "1.10", "v2", "10"),
    ]
    versions = [parse_version(tag) for tag in in_order]
    assert None not in versions
    assert sorted(versions, key=lambda version: version or ()) == versions
    assert len(set(versions)) == len(versions)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=3.18 <4", ["3.18", "3.18.0", "v3.99.1"], ["3.17.9", "4", "4.0.0", "20240923"]),
        (">= 3.18, < 4", ["3.18", "3.99"], ["4", "3.17"]),
        (">1.2", ["1.3", "2"], ["1.2", "1.2.9"]),
        (">1.2.3", ["1.2.4"], ["1.2.3", "1.2"]),
        ("<=1.2", ["1.2.9", "1.1"], ["1.3"]),
        ("<=1.2.3", ["1.2.3"], ["1.2.4"]),
        ("<1.2", ["1.1.9"], ["1.2"]),
        ("<1.2.3", ["1.2.2"], ["1.2.3"]),
        ("~1.2", ["1.2", "1.2.9"], ["1.3", "1.1.9"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.2.2", "1.3"]),
        ("~> 1.2.3", ["1.2.9"], ["1.3"]),
        ("~1", ["1", "1.9"], ["2", "0.9"]),
        ("^1.2.3", ["1.2.3", "1.9"], ["1.2.2", "2"]),
        ("^1.2", ["1.2", "1.9"], ["1.1", "2"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3", "0.2.2", "1"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4", "0.1"]),
        ("^0.0", ["0.0.3"], ["0.1"]),
        ("^0", ["0.9.9"], ["1"]),
        ("^0.x", ["0.9.9"], ["1"]),
        ("1.x", ["1", "1.9.9"], ["2", "0.9"]),
        ("v1.X.x", ["1.9.9"], ["2"]),
        ("1.2.*", ["1.2", "1.2.9"], ["1.3"]),
        ("3.20", ["3.20", "3.20.9"], ["3.21", "3.19.9"]),
        ("=3.20", ["3.20.9"], ["3.21"]),
        ("==3.20.1", ["3.20.1"], ["3.20", "3.20.2"]),
        ("*", ["0", "99.99"], []),
        (">=*", ["1"], []),
        ("1.2 - 1.4", ["1.2", "1.4.9"], ["1.1.9", "1.5"]),
        ("1.2.3 - 1.4.5", ["1.2.3", "1.4.5"], ["1.2.2", "1.4.6"]),
        ("1.x || >=3.1 <3.3", ["1.5", "3.1", "3.2.9"], ["2", "3.0", "3.3"]),
    ],
)
def test_range_contains_what_npm_says(text: str, inside: list[str], outside: list[str]) -> None:
    assert [tag for tag in inside if not holds(text, tag)] == []
    assert [tag for tag in outside if holds(text, tag)] == []


@pytest.mark.parametrize("text", [">=1", ">=109.0.1", "109.0.1+up9", "^109.0.0_up1", "109.x"])
def test_build_metadata_makes_no_difference(text: str) -> None:
    assert holds(text, "109.0.1_up1.0.2")


@pytest.mark.parametrize(
    ("tag", "release"),
    [
        ("v3.0.0-rc.1", "v3.0.0"),
        ("3.14-beta2", "3.14"),
        ("1.0.0-SNAPSHOT", "1.0.0"),
        ("1.0.0-0.dev.7", "1.0.0"),
        ("1.0.0-M2", "1.0.0"),
        ("1.0.0-rc.1_up2", "1.0.0_up2"),
        ("3.13-slim", None),
        ("1.2.3-1", None),
        ("v1.30.2-k3s1", None),
        ("1.0.0-betamax", None),
        ("main-rc1", None),
        ("v3.0.0", None),
    ],
)
def test_release_of_a_prerelease(tag: str, release: str | None) -> None:
    assert release_of(tag) == release


@pytest.mark.parametrize(
    ("text", "tag", "by_default", "on_demand"),
    [
        (">=3.12 <4", "3.13-slim", False, True),
        (">=3.13", "3.13-slim", False, True),  # a part that is left out includes its prereleases
        (">=3.13.0", "3.13-slim", False, False),  # one that is written does not: a prerelease comes before it
        ("<4", "4.0.0-rc1", False, False),
        ("~1.2", "1.3.0-rc1", False, False),
        ("^1.2", "2.0.0-rc1", False, False),
        ("1.x", "1.0.0-rc1", False, True),
        (">=1.2.0-rc1 <1.3", "1.2.0-rc2", True, True),  # named by the range itself
        (">=1.2.0-rc1 <1.3", "1.2.0-rc0", False, False),
        (">=1.2.0-rc1 <1.3", "1.2.1-rc1", False, True),
        ("3.13-slim", "v3.13.0-slim", True, True),
        ("3.13-slim", "3.13.0-slim.1", False, False),
        ("1.x || 3.1.0-b", "1.5-a", False, True),  # named by the other alternative only
    ],
)
def test_prereleases_are_excluded_unless_asked_for(text: str, tag: str, by_default: bool, on_demand: bool) -> None:
    assert holds(text, tag) is by_default
    assert holds(text, tag, prereleases=True) is on_demand


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "a part of the range is empty"),
        ("1 ||", "a part of the range is empty"),
        ("|| 1", "a part of the range is empty"),
        (">=", "an operator has no version"),
        (">", "an operator has no version"),
        ("1.2 ^ ", "an operator has no version"),
        ("1 - ", "'-' is not a version"),
        ("latest", "'latest' is not a version"),
        ("=>1", "'=>' is not an operator"),
        (",", "an operator has no version"),
        ("1.2.3.4", "'1.2.3.4' is not a version"),
        ("1.x.3", "'1.x.3' is not a version"),
        ("1 - 2 - 3", "is not a version"),
        ("<*", "no version is < *"),
        (">x", "no version is > *"),
        ("1 | 2", "'|' is not a version"),
    ],
)
def test_invalid_range_is_refused(text: str, cause: str) -> None:
    with pytest.raises(InvalidPatternError) as refused:
        parse_range(text)
    assert cause in refused.value.cause
    assert ">=3.18 <4" in refused.value.advice


numbers = st.integers(0, 30)
triples = st.tuples(numbers, numbers, numbers)


@given(triples, triples)
def test_versions_compare_as_their_numbers(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    first, second = (".".join(map(str, triple)) for triple in (one, other))
    assert holds(f">={first}", second) is (other >= one)
    assert holds(f"<{first}", second) is (other < one)


@given(st.text(alphabet="0123.xX*v<>=~^|- ,ab", max_size=20))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        outcome: object = holds(text, "1.2.3")
    except InvalidPatternError as error:
        outcome = error
    assert isinstance(outcome, bool | InvalidPatternError)
