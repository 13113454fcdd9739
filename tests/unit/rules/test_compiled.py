"""Compiled rules: decoded as they were, or not at all."""

import os
import subprocess
import sys
import tracemalloc
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


SIGNERS = "".join(
    f"        - keyless: {{issuer: 'https://token.example.com', identity: 'https://x.io/app{n}/{'x' * 80}*'}}\n"
    for n in range(10)
)
LONG_DEFAULTS = f"""\
defaults:
  create: {{tags: {{team: {"x" * 200}}}}}
  admit:
    verify:
      any:
{SIGNERS}"""


def with_defaults(defaults: str, count: int) -> str:
    """Write rules of one tag each, and one that asks for something else."""
    mirrors = "".join(f"  - {{upstream: a.io/b{n}, repository: mm/b{n}, tags: [x]}}\n" for n in range(count))
    own = "  - {upstream: a.io/own, repository: mm/own, tags: [x], admit: {min_age: 3d}}\n"
    return f"version: 1\n{defaults}mirrors:\n{mirrors}{own}"


def test_what_rules_have_in_common_is_in_the_form_once() -> None:
    rules = load_rules(with_defaults(LONG_DEFAULTS, 1000), source="rules.yaml")
    content = encode_compiled(CompiledRules("source", False, rules))
    decoded = decode_compiled(content)
    assert decoded is not None
    assert decoded.rules.rules == rules.rules
    first, second, *_, last = decoded.rules.rules
    assert (first.admit is second.admit, first.settings is second.settings) == (True, True)
    assert last.admit != first.admit is not None
    plain = load_rules(with_defaults("", 1000), source="rules.yaml")
    assert len(content) < len(encode_compiled(CompiledRules("source", False, plain))) + 8000


def test_long_defaults_are_not_in_memory_for_each_rule() -> None:
    """The text of a rule with these has 3 KB."""

    def peak_of(text: str) -> int:
        load_rules(text, source="rules.yaml")  # what is kept of the first time does not count
        tracemalloc.start()
        load_rules(text, source="rules.yaml")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak_of(with_defaults(LONG_DEFAULTS, 300)) < peak_of(with_defaults("", 300)) + 300 * 1000


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
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == compiled_version()
