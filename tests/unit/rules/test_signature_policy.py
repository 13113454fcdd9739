"""Names of signers: how patterns match, and which of them are refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.rules.signature_policy import (
    KeylessSigner,
    check_issuer,
    check_pattern,
    check_source,
    matches_pattern,
)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("abc", "xabc", False),
        ("", "", True),
        ("a*", "a", True),
        ("a*", "abc", True),
        ("a*", "ab/c", False),
        ("a*", "ab@c", False),
        ("a**", "ab/c@d", True),
        ("a*c", "abcbc", True),
        ("a**/b", "a/x/b", True),
        ("a**/b", "a/x/bb", False),
        ("*@example.com", "ann@example.com", True),
        ("*@example.com", "ann@evil@example.com", False),
        ("a.c", "abc", False),
        ("a?c", "abc", False),
        ("[a]", "a", False),
    ],
)
def test_pattern_matches_a_whole_name(pattern: str, name: str, matches: bool) -> None:
    assert matches_pattern(name, pattern) is matches


@given(st.text("ab/@*", max_size=8), st.text("ab/@", max_size=10))
def test_pattern_matches_as_the_same_regular_expression_would(pattern: str, name: str) -> None:
    if "***" in pattern:
        return
    parts = {"**": ".*", "*": "[^/@]*"}
    expression = "".join(parts.get(part, re.escape(part)) for part in re.findall(r"\*+|[^*]", pattern))
    assert matches_pattern(name, pattern) is (re.fullmatch(expression, name, re.DOTALL) is not None)


def test_hostile_name_takes_no_time_to_speak_of() -> None:
    assert not matches_pattern("a" * 4096, "a**a**a**a**a**a**a**a**b")
    assert not matches_pattern("a" * 5000, "**a")


@pytest.mark.parametrize(
    "pattern",
    [
        "https://github.com/org/app/.github/workflows/release.yml@refs/tags/*",
        "https://github.com/org/**",
        "*@example.com",
        "spiffe://example.com/*",
        "ann@example.com",
    ],
)
def test_pattern_of_somebody_is_taken(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "empty"),
        ("*", "host or domain"),
        ("**", "host or domain"),
        ("*@*", "host or domain"),
        ("https://**", "host or domain"),
        ("https://*.com/org", "host or domain"),
        ("https://github.com*", "host or domain"),
        ("**://github.com/org", "host or domain"),
        ("*@example.com@*", "host or domain"),
        ("a***@b", "any text"),
        ("**@example.com", "is for URLs"),
        ("*a*b*c*d*e*f*g*h*i@b", "more than 8"),
        ("a" * 2000, "characters"),
        ("a b", "spaces"),
        ("ä@b", "beyond ASCII"),
    ],
)
def test_pattern_of_nobody_or_anybody_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_pattern(pattern)


def test_issuer_and_source_are_checked() -> None:
    check_issuer("https://accounts.google.com")
    check_source("github.com/org/*")
    for check, text in (
        (check_issuer, "accounts.google.com"),
        (check_issuer, "https://*.com"),
        (check_source, "a/b@c"),
    ):
        with pytest.raises(ValueError, match=r"issuer|source"):
            check(text)


def test_signer_is_named_by_both() -> None:
    signer = KeylessSigner("https://i", "a@b")
    assert signer.is_named_by("a@b", "https://i")
    assert not signer.is_named_by("a@b", "https://i/")
    assert str(signer) == "a@b (issuer https://i)"
