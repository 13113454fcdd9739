"""Regular expressions of tags mean what they mean in Python, and take linear time whatever they are."""

import os
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullahead.rules.tag_patterns import InvalidPatternError, PatternKind, TagPattern, check_pattern, matches

ALPHABET = "abZ019._-"
atoms = st.sampled_from(
    [*"abZ019_-", ".", r"\.", r"\d", r"\w", r"\D", r"\W", r"\S", r"\-", "[ab]", "[^a0]", "[0-8a-]"]
) | (st.sampled_from([r"[\d.]", r"[^\w]", "[]a]", r"[\]b]", "[a-zA-Z0-9]", "[^/:]"]))
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"({'|'.join(options)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?", "{1,2}?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        inner.map(lambda one: f"({one}|)"),
    ),
    max_leaves=8,
)


def regex(text: str) -> TagPattern:
    return TagPattern(PatternKind.REGEX, text)


def fits(text: str, tag: str) -> bool:
    return matches(regex(text), tag)


def refusal(text: str) -> InvalidPatternError | None:
    """Return the error that refuses an expression; None where it is accepted."""
    try:
        check_pattern(regex(text))
    except InvalidPatternError as error:
        return error
    return None


def is_too_large(refused: InvalidPatternError) -> bool:
    return any(cause in refused.cause for cause in ("repetition size", "too large", "more than 200 characters"))


@given(expressions, st.lists(st.text(alphabet=ALPHABET, max_size=8), min_size=1, max_size=10))
@settings(max_examples=300)
def test_expression_matches_as_in_python(text: str, tags: list[str]) -> None:
    refused = refusal(text)
    if refused is not None:
        assert is_too_large(refused)
        return
    expected = re.compile(text)
    assert [fits(text, tag) for tag in tags] == [expected.fullmatch(tag) is not None for tag in tags]


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        (r"v?\d+(\.\d+)*", ["1", "v1.2.3"], ["1.", "v", "x1"]),
        (r"^3\.(19|2[0-9])$", ["3.19", "3.25"], ["3.1", "3.190"]),
        (r"a|b$", ["a", "b"], ["ab"]),
        (r"[A-F]{2,3}-x", ["AB-x", "ABC-x"], ["A-x", "ABCD-x", "ab-x"]),
        (r"[a-]b", ["-b", "ab"], ["cb"]),
        (r".*", ["", "a" * 128], []),
        (r"(?P<major>\d+)-(?i:alpine)", ["3-alpine", "3-ALPINE"], ["3-debian"]),
    ],
)
def test_expression_must_match_the_whole_tag(text: str, matching: list[str], others: list[str]) -> None:
    assert [tag for tag in matching if not fits(text, tag)] == []
    assert [tag for tag in others if fits(text, tag)] == []


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "it is empty"),
        ("ab(c", "missing )"),
        ("ab)c", "unexpected )"),
        ("a[bc", "missing ]: [bc"),
        ("[]", "missing ]"),
        ("[", "missing ]"),
        ("a|*", "no argument for repetition operator: *"),
        ("a**", "bad repetition operator: **"),
        ("a*+", "bad repetition operator: *+"),
        ("a{3,2}", "invalid repetition size: {3,2}"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("a{,129}", "a { must begin {m}, {m,} or {m,n}"),
        ("a{x}", "a { must begin {m}, {m,} or {m,n}"),
        ("a{,}", "a { must begin {m}, {m,} or {m,n}"),
        ("a{1", "a { must begin {m}, {m,} or {m,n}"),
        ("(?=a)b", "look-around and other groups that begin with (?= are not supported"),
        ("a(?<!b)", "look-around and other groups that begin with (?<! are not supported"),
        (r"(a)\1", r"the back reference \1 is not supported"),
        ("a\\", "trailing \\"),
        ("a:b", "no tag has the character ':'"),
        ("a b", "no tag has the character ' '"),
        (r"a\/", "no tag has the character '/'"),
        ("é", "no tag has the character 'é'"),
        ("[z-a]", "invalid character class range: z-a"),
        ("(a{128}){128}", "invalid repetition size"),
        ("a" * 201, "more than 200 characters"),
    ],
)
def test_invalid_expression_is_refused_with_its_cause(text: str, cause: str) -> None:
    refused = refusal(text)
    assert refused is not None
    assert cause in refused.cause


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        r"(\w+-?)*x",
        "(a*)*b",
        "((((((((a*)*)*)*)*)*)*)*)*b",
        "(a|aa|a?)+b",
        ".*.*.*.*.*.*.*.*.*.*x",
        "(a?){100}a{100}b",
        "(.{0,60}){16}x",
    ],
)
def test_hostile_expression_takes_linear_time(text: str) -> None:
    assert not any(fits(text, f"{'a' * length}-") for length in range(28, 128))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["(" * 100 + ")" * 100, "(" * 25 + "a" + "){128}" * 25, "(" * 25 + "){128}" * 25, "(|" * 60 + ")" * 60]
)
def test_hostile_nesting_is_compiled_or_refused_at_once(text: str) -> None:
    refused = refusal(text)
    assert is_too_large(refused) if refused is not None else fits(text, "")


@given(st.text(alphabet=r"ab1.*+?{}[]()|\^$,-:", max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    assert isinstance(refusal(text), InvalidPatternError | None)


def test_rules_without_expressions_do_not_import_re2() -> None:
    text = "version: 1\nmirrors: [{upstream: a.io/b, tags: ['1.*', {semver: 1.x}]}]\n"
    script = (
        "import sys\nfrom pullahead.rules.load import load_rules\n"
        f"load_rules({text!r}, source='rules.yaml')\nprint('re2' in sys.modules)"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
