"""An expression must mean what Python means by it, and must never keep a function busy."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullahead.rules.regex import InvalidPatternError, TagRegex

ALPHABET = "abZ019._-"
atoms = st.sampled_from(
    [*"abZ019_-", ".", r"\.", r"\d", r"\w", r"\D", r"\W", r"\S", r"\-", "[ab]", "[^a0]", "[0-8a-]"]
) | (st.sampled_from([r"[\d.]", r"[^\w]", "[]a]", r"[\]b]", "[a-zA-Z0-9]"]))
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"({'|'.join(options)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "{,2}", "*?", "+?", "{1,2}?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        inner.map(lambda one: f"({one}|)"),
    ),
    max_leaves=8,
)


def compiled(text: str) -> TagRegex | InvalidPatternError:
    """Compile an expression, or give the error that refuses it."""
    try:
        return TagRegex(text)
    except InvalidPatternError as error:
        return error


def is_too_large(refused: InvalidPatternError) -> bool:
    return "repeats too much" in refused.cause or "more than 200 characters" in refused.cause


@given(expressions, st.lists(st.text(alphabet=ALPHABET, max_size=8), min_size=1, max_size=10))
@settings(max_examples=300)
def test_expression_means_what_python_means(text: str, tags: list[str]) -> None:
    ours = compiled(text)
    if isinstance(ours, InvalidPatternError):
        assert is_too_large(ours)
        return
    theirs = re.compile(text)
    assert [ours.matches(tag) for tag in tags] == [theirs.fullmatch(tag) is not None for tag in tags]


@pytest.mark.parametrize(
    ("text", "fits", "fails"),
    [
        (r"v?\d+(\.\d+)*", ["1", "v1.2.3"], ["1.", "v", "x1"]),
        (r"^3\.(19|2[0-9])$", ["3.19", "3.25"], ["3.1", "3.190"]),
        (r"a|b$", ["a", "b"], ["ab"]),
        (r"[A-F]{2,3}-x", ["AB-x", "ABC-x"], ["A-x", "ABCD-x", "ab-x"]),
        (r"[a-]b", ["-b", "ab"], ["cb"]),
        (r".*", ["", "a" * 128], []),
    ],
)
def test_tag_fits_as_a_whole(text: str, fits: list[str], fails: list[str]) -> None:
    assert [tag for tag in fits if not TagRegex(text).matches(tag)] == []
    assert [tag for tag in fails if TagRegex(text).matches(tag)] == []


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "it is empty (character 1)"),
        ("ab(c", "this ( is not closed (character 3)"),
        ("ab)c", "this ) closes nothing (character 3)"),
        ("a[bc", "this [ is not closed (character 2)"),
        ("[]", "this [ is not closed (character 1)"),
        ("[", "this [ is not closed (character 1)"),
        ("a|*", "nothing to repeat (character 3)"),
        ("a**", "one quantifier follows another (character 3)"),
        ("a*+", "one quantifier follows another (character 3)"),
        ("a{3,2}", "smaller than the first (character 2)"),
        ("a{129}", "no more than 128 characters (character 2)"),
        ("a{,129}", "no more than 128 characters (character 2)"),
        ("a{x}", "no {m}, {m,} or {m,n} (character 2)"),
        ("a{,}", "no {m}, {m,} or {m,n} (character 2)"),
        ("a{1", "no {m}, {m,} or {m,n} (character 2)"),
        ("(?=a)b", "only plain groups and (?:…) are known (character 1)"),
        (r"(a)\1", r"\1 is not known"),
        (r"a\b", r"\b is not known"),
        ("a\\", "is not known"),
        ("a^b", "compared as a whole"),
        ("a$b", "compared as a whole"),
        ("a:b", "in no tag (character 2)"),
        (r"a\s", r"\s is not known"),
        (r"a\/", "in no tag (character 2)"),
        ("[/:]", "in no tag (character 1)"),
        ("[z-a]", "no range of characters (character 2)"),
        (r"[\d-z]", "no range of characters (character 2)"),
        ("(a{128}){128}", "repeats too much"),
        ("a" * 201, "more than 200 characters"),
    ],
)
def test_expression_that_means_nothing_is_refused_with_its_place(text: str, cause: str) -> None:
    with pytest.raises(InvalidPatternError) as refused:
        TagRegex(text)
    assert cause in refused.value.cause


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
        "(.{0,60}){20}x",
    ],
)
def test_hostile_expression_takes_no_time(text: str) -> None:
    expression = TagRegex(text)
    assert not any(expression.matches(f"{'a' * length}-") for length in range(28, 128))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["(" * 100 + ")" * 100, "(" * 25 + "a" + "){128}" * 25, "(" * 25 + "){128}" * 25, "(|" * 60 + ")" * 60]
)
def test_hostile_nesting_is_compiled_or_refused_at_once(text: str) -> None:
    ours = compiled(text)
    assert is_too_large(ours) if isinstance(ours, InvalidPatternError) else ours.matches("")


@given(st.text(alphabet=r"ab1.*+?{}[]()|\^$,-:", max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    assert isinstance(compiled(text), TagRegex | InvalidPatternError)
