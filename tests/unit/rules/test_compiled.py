"""Compiled rules: decoded as they were, or not at all."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pullahead.rules.compiled import CompiledRules, compiled_version, decode_compiled, encode_compiled
from pullahead.rules.load import load_rules
from pullahead.rules.sources.combine import gather_rules
from pullahead.rules.sources.findings import CachedRepository, Findings
from tests.fakes.sources import QUAY

DOCUMENTED = Path(__file__).parents[3] / "docs" / "rules.md"
FINDINGS = Findings((QUAY,), (CachedRepository("quay/team/app", ("1",)),), within=("*",))
SMALL = load_rules("version: 1\nmirrors: [{upstream: a.io/b, tags: [x], repository: mm}]", source="rules.yaml")


def documented_rules() -> Iterator[str]:
    """Take every whole file of docs/rules.md, which show every key."""
    for block in DOCUMENTED.read_text(encoding="utf-8").split("```yaml\n")[1:]:
        text = block.partition("```")[0]
        if text.startswith("version: 1"):
            yield text


@pytest.mark.parametrize("text", list(documented_rules()))
def test_rules_are_decoded_as_they_were(text: str) -> None:
    gathered = gather_rules(load_rules(text, source="rules.yaml"), FINDINGS)
    compiled = CompiledRules("source", True, gathered.rules, FINDINGS, gathered.notices)
    assert decode_compiled(encode_compiled(compiled)) == compiled


def test_what_rules_have_in_common_is_in_the_form_once() -> None:
    signers = "".join(
        f"        - keyless: {{issuer: 'https://token.example.com', identity: 'https://github.com/org/app{n}/*'}}\n"
        for n in range(10)
    )
    settings = f"  create: {{tags: {{team: {'x' * 200}}}}}\n"
    defaults = f"defaults:\n{settings}  admit:\n    verify:\n      any:\n{signers}"
    mirrors = "".join(f"  - {{upstream: a.io/b{n}, repository: mm/b{n}, tags: [x]}}\n" for n in range(1000))
    own = "  - {upstream: a.io/own, repository: mm/own, tags: [x], admit: {min_age: 3d}}\n"
    rules = load_rules(f"version: 1\n{defaults}mirrors:\n{mirrors}{own}", source="rules.yaml")
    content = encode_compiled(CompiledRules("source", False, rules))
    decoded = decode_compiled(content)
    assert decoded is not None
    assert decoded.rules.rules == rules.rules
    first, second, *_, last = decoded.rules.rules
    assert (first.admit is second.admit, first.settings is second.settings) == (True, True)
    assert last.admit != first.admit is not None
    plain = load_rules(f"version: 1\nmirrors:\n{mirrors}{own}", source="rules.yaml")
    assert len(content) < len(encode_compiled(CompiledRules("source", False, plain))) + 5000


def test_mirrors_of_decoded_rules_are_found() -> None:
    decoded = decode_compiled(encode_compiled(CompiledRules("source", False, SMALL)))
    assert decoded is not None
    assert decoded.rules.find("mm", "x") == SMALL.find("mm", "x") == SMALL.mirrors[0]
    assert decoded.rules.find("mm", "y") is None


@pytest.mark.parametrize("content", [b"", b"\xc1", b"{}", msgspec.msgpack.encode([1, 2, 3]), b"\xff" * 100])
def test_what_is_no_form_is_not_decoded(content: bytes) -> None:
    assert decode_compiled(content) is None


def test_damage_anywhere_is_noticed() -> None:
    content = encode_compiled(CompiledRules("source", False, SMALL))
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        assert decode_compiled(bytes(damaged)) is None
        assert decode_compiled(content[:position]) is None


def test_version_is_the_same_in_every_process() -> None:
    code = "from pullahead.rules.compiled import compiled_version; print(compiled_version())"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == compiled_version()
