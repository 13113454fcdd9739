"""The schema that editors check by is the loader's own, takes what the loader takes, and refuses what it can."""

import json
from collections.abc import Iterator

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]

from pullahead.rules.file_format import schema_text
from tests.unit.rules.test_documentation import ROOT, shown
from tests.unit.rules.test_mistakes import EIGHTEEN_MISTAKES, TEN_MISTAKES

PUBLISHED = ROOT / "docs/rules.schema.json"
SHIPPED = ROOT / "layers/rules/rules.yaml"


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    document = json.loads(schema_text())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def test_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == schema_text(), (
        "write it anew: bin/pullahead validate --schema > docs/rules.schema.json"
    )


@pytest.mark.parametrize("document", ["README.md", "docs/rules.md"])
def test_schema_accepts_the_rules_in_documents(schema: Draft202012Validator, document: str) -> None:
    for text in shown(ROOT / document):
        assert list(schema.iter_errors(yaml.safe_load(text))) == []


def test_schema_accepts_the_shipped_rules_and_is_named_in_them(schema: Draft202012Validator) -> None:
    text = SHIPPED.read_text()
    assert list(schema.iter_errors(yaml.safe_load(text))) == []
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (SHIPPED.parent / first.partition("=")[2]).resolve() == PUBLISHED


@pytest.mark.parametrize(
    "text", ["version: 1\nmirrors:\n", "version: 1\nmirrors: []\nupstreams:\ndefaults:\nsources:\nignore:\n"]
)
def test_schema_accepts_sections_with_commented_out_content(schema: Draft202012Validator, text: str) -> None:
    assert list(schema.iter_errors(yaml.safe_load(text))) == []


def mistakes(error: ValidationError) -> Iterator[ValidationError]:
    """List what an editor shows of an error: of alternatives, what is wrong with the one of the value's own type."""
    alternatives: dict[object, list[ValidationError]] = {}
    for each in error.context or ():
        alternatives.setdefault(each.schema_path[0], []).append(each)
    of_its_type = [
        each for each in alternatives.values() if not any(e.validator == "type" and not e.path for e in each)
    ]
    if len(of_its_type) == 1:
        for each in of_its_type[0]:
            yield from mistakes(each)
    else:
        yield error


@pytest.mark.parametrize(("text", "reported"), [(TEN_MISTAKES, 4), (EIGHTEEN_MISTAKES, 9)])
def test_schema_reports_mistakes_in_single_values(schema: Draft202012Validator, text: str, reported: int) -> None:
    found = [each for error in schema.iter_errors(yaml.safe_load(text)) for each in mistakes(error)]
    assert len(found) == reported, [each.message for each in found]


@pytest.mark.parametrize(
    "mirror",
    [
        {"upstream": "a.io/b"},
        {"upstream": "a.io/b", "tags": []},
        {"upstream": "a.io/b", "tags": ["a b"]},
        {"upstream": "a.io/b", "tags": [3.2]},
        {"upstream": "a.io/b", "tags": [{"glob": "a", "regex": "b"}]},
        {"upstream": "a.io/b", "tags": [{"prefix": "a"}]},
        {"upstream": "a.io/b", "tags": ["a*"], "newest": 0},
        {"upstream": "a.io/b", "tags": ["a"], "check_every": "5 min"},
        {"upstream": "a.io/b", "tags": ["a"], "create": {"tag_mutability": "SOMETIMES"}},
        {"upstream": "a.io/b", "tags": ["a"], "platforms": ["linux"]},
    ],
)
def test_schema_refuses_invalid_rules(schema: Draft202012Validator, mirror: object) -> None:
    assert not schema.is_valid({"version": 1, "mirrors": [mirror]})


def test_every_key_is_described(schema: Draft202012Validator) -> None:
    def undescribed(form: object) -> list[str]:
        if isinstance(form, list):
            return [name for item in form for name in undescribed(item)]
        if not isinstance(form, dict):
            return []
        own = [
            name
            for name, value in form.get("properties", {}).items()
            if not value.get("description") and not name.endswith("_WITH_EXCLUSION")
        ]
        return own + [name for value in form.values() for name in undescribed(value)]

    assert undescribed(schema.schema) == []
