"""A text that is no single, bounded YAML document is refused with its line, whichever parser PyYAML has."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules
from pullahead.rules.problems import MAX_DOCUMENT_BYTES, RulesError
from pullahead.rules.yaml_document import DEFAULT_PARSER, DocumentError, Mapping, Scalar, Sequence, compose

PARSERS = [yaml.SafeLoader, yaml.CSafeLoader]
both_parsers = pytest.mark.parametrize("parser", PARSERS, ids=["python", "libyaml"])

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@both_parsers
def test_nodes_have_the_lines_and_kinds_of_the_text(parser: Any) -> None:
    document = compose("# comment\na: &x 1\nb:\n  - '1'\n  - *x\n", parser)
    number = Scalar(2, "1", "int")
    assert document == Mapping(
        2,
        (
            (Scalar(2, "a", "str"), number),
            (Scalar(3, "b", "str"), Sequence(4, (Scalar(4, "1", "str"), number))),
        ),
    )


@both_parsers
def test_text_without_a_document_gives_none(parser: Any) -> None:
    assert compose("", parser) is None
    assert compose("# only a comment\n", parser) is None


@both_parsers
@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: [", 2, "invalid YAML"),
        ("a:\n\tb: 1\n", 2, "invalid YAML"),
        ("a: 1\n b: 2\n", 2, "invalid YAML"),
        ("a: 1\nb: [\n\n", 3, "invalid YAML"),
        ("a: 'x\n", 1, "invalid YAML"),
        ("%YAML 9.9\n---\na: 1\n", 1, "invalid YAML"),
        ("---\na: 1\n---\nb: 2\n", 3, "the file has several documents"),
        ("a: 1\nb: *x\n", 2, "the alias *x has no anchor"),
        ("a: 1\nb: &x [1, *x]\n", 2, "the alias *x"),
        ("a: 1\nb: &x {c: {d: *x}}\n", 2, "the alias *x"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "tags are not supported"),
        ("a: 1\nb: !!str 3.20\n", 2, "tags are not supported"),
        ("a: 1\nb: !mine [x]\n", 2, "tags are not supported"),
        ("a: 1\nb: \x00\n", 2, "does not allow the character '\\x00'"),
        ("a: 1\nb: \ud800\n", 2, "does not allow the character"),
        ("a: 1\nb: " + "[" * 40 + "]" * 40, 2, "nested deeper than 32 levels"),
        ("a: 1\nb: " + "[" * 100_000, 2, "nested deeper than 32 levels"),
        (BOMB, 7, "more than 4,000,000 values"),
        ("x: " + "a" * MAX_DOCUMENT_BYTES, 1, "larger than 33,554,432 bytes"),
        ("x: " + "é" * (MAX_DOCUMENT_BYTES // 2), 1, "larger than 33,554,432 bytes"),
    ],
)
def test_invalid_document_is_refused_with_its_line(parser: Any, text: str, line: int, message: str) -> None:
    with pytest.raises(DocumentError) as refused:
        compose(text, parser)
    assert message in refused.value.message
    assert str(refused.value).startswith(f"line {line}: {refused.value.message}.")
    assert refused.value.line == line


@both_parsers
@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\tb: 1\n", "Indent with spaces"),
        ("a:\n  - b: c\n\t  d: e\n", "Indent with spaces"),
        ('a: {regex: "3\\.2"}\n', r"Use single quotes, where YAML leaves backslashes alone: '3\.2'."),
        ("a: [*]\n", 'Quote what begins with a star: "*".'),
        ("a: [*-alpine]\n", 'If a glob is meant, quote it: "*-alpine".'),
        ("a: @b\n", "Quote what begins with @"),
        ("a: {b}/{c}\n", "quote what begins with { or ["),
    ],
)
def test_hint_names_the_mistake(parser: Any, text: str, hint: str) -> None:
    with pytest.raises(DocumentError) as refused:
        compose(text, parser)
    assert hint in refused.value.hint


def test_default_parser_is_libyaml_where_installed() -> None:
    assert DEFAULT_PARSER is (yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)


def test_invalid_document_is_one_problem_of_the_rules() -> None:
    with pytest.raises(RulesError) as refused:
        load_rules("version: 1\nmirrors: [\n", source="rules.yaml")
    assert [(p.line, p.path) for p in refused.value.problems] == [(2, "")]


def test_empty_file_is_refused_with_a_hint() -> None:
    with pytest.raises(
        RulesError, match=r"^rules.yaml:1: the file is empty. Write version: 1 and mirrors: \[\] for no rules.$"
    ):
        load_rules("# nothing yet\n", source="rules.yaml")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nmirrors:\n" + "  - 5\n" * 30_000,
        "version: 1\nmirrors: []\n" + "".join(f"version{i}: 1\n" for i in range(10_000)),
        "version: 1\nmirrors: []\n" + "version: 1\n" * 20_000,
        "version: 1\nmirrors: [" + "{" * 1_000_000,
        "- " * 500_000,
        "? " * 500_000,
        "a: " + "&a " * 300_000,
        "1:" * 500_000,
        "'" * 1_000_000,
        "a" * 1_000_000 + ":",
    ],
)
def test_hostile_file_is_refused_in_bounded_time(text: str) -> None:
    with pytest.raises(RulesError):
        load_rules(text, source="rules.yaml")


TOKENS = r"""
version:_1| mirrors:| mirrors:_[|]|__-_|____|upstream:_|tags:_|repository:_|ghcr.io/a/b|mirror/b|[a,_b]|&x_|*x_|<<:_
{|}|,_|?_|!!int_|---|...|%TAG_!_x|>_|'|"|\\|#|é|1.5|~|-|:|`|@|_|null|0x1|1:2
"""
pieces = st.sampled_from(
    [token.replace("_", " ") for token in TOKENS.replace("\n", "|").split("|")]
    + [*"\n\n\n\t\x85\u2028\ufeff\ud800\x00", "\r\n", "|\n"]
)


@given(st.one_of(st.lists(pieces, max_size=40).map("".join), st.text(max_size=200)))
def test_any_text_gives_rules_or_problems(text: str) -> None:
    try:
        outcome: object = load_rules(text, source="rules.yaml")
    except RulesError as error:
        outcome = error
    assert isinstance(outcome, Rules) or (isinstance(outcome, RulesError) and len(outcome.problems) > 0)


@both_parsers
@given(text=st.lists(pieces, max_size=40).map("".join))
def test_any_text_is_parsed_or_refused_at_one_of_its_lines(parser: Any, text: str) -> None:
    try:
        compose(text, parser)
        line = 1
    except DocumentError as error:
        line = error.line
    assert 1 <= line <= max(1, len(text.splitlines()))
