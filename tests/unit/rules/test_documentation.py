"""What the documents show of rules: the files load, every key is explained, and the message is the one that comes."""

import re
from pathlib import Path

import pytest
import yaml

from pullahead.rules.file_format import (
    AdmitOptions,
    Creation,
    Credential,
    Defaults,
    HostSettings,
    KeepPreviousOptions,
    MirrorRule,
    OnDemandRule,
    Pattern,
    PruneOptions,
    RateLimits,
    ReferrerOptions,
    RulesDocument,
    RuleVerifyOptions,
    ScanOptions,
    Sources,
)
from pullahead.rules.load import load_rules
from pullahead.rules.problems import RulesError
from pullahead.rules.signature_rules import AttestationOptions, KeylessOptions, SignerOptions

ROOT = Path(__file__).parents[3]
RULES = ROOT / "docs/rules.md"
SECTIONS = (
    *(RulesDocument, MirrorRule, OnDemandRule, Defaults, Creation, ReferrerOptions, KeepPreviousOptions, PruneOptions),
    *(AdmitOptions, RuleVerifyOptions, SignerOptions, KeylessOptions, AttestationOptions),
    ScanOptions,
    *(HostSettings, Credential, RateLimits, Sources),
)
PATTERN_KINDS = set(Pattern.__struct_encode_fields__)
KEYS = PATTERN_KINDS.union(*(section.__struct_encode_fields__ for section in SECTIONS))


def shown(document: Path) -> list[str]:
    """Find the YAML files that a document shows."""
    found = re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL)
    assert found
    return found


def words(value: object) -> set[str]:
    """Find every key of a YAML file, however deep."""
    if isinstance(value, dict):
        return set(value).union(*map(words, value.values()))
    return set().union(*map(words, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("document", ["README.md", "docs/rules.md"])
def test_rules_in_documents_load(document: str) -> None:
    for text in shown(ROOT / document):
        assert load_rules(text, source=document).rules


def test_every_key_has_an_example() -> None:
    assert KEYS - set().union(*(words(yaml.safe_load(text)) for text in shown(RULES))) == set()


def test_every_key_is_in_a_table() -> None:
    explained = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"^\| (`[^|]*) \|", RULES.read_text(), re.MULTILINE))))
    assert KEYS - explained - PATTERN_KINDS == set()


def test_message_in_the_document_is_the_loaders() -> None:
    text = (
        "version: 1\nmirrors:\n  - upstream: alpine\n    repository: mirror/alpine\n"
        "    check_every: 15m\n    tags: [3.20]\n"
    )
    with pytest.raises(RulesError) as refused:
        load_rules(text, source="rules.yaml")
    assert str(refused.value) in RULES.read_text()
