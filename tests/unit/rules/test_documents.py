"""What the documents show of rules: the files load, and the message is the one that people get."""

import re
from pathlib import Path

import pytest

from pullahead.rules.load import load_rules
from pullahead.rules.problems import RulesError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("document", ["README.md", "docs/rules.md"])
def test_rules_that_are_shown_are_rules(document: str) -> None:
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    assert shown
    for text in shown:
        assert load_rules(text, source=document).mirrors


def test_message_that_is_shown_is_the_one_that_comes() -> None:
    text = (
        "version: 1\nmirrors:\n  - upstream: alpine\n    repository: mirror/alpine\n"
        "    check_every: 15m\n    tags: [3.20]\n"
    )
    with pytest.raises(RulesError) as refused:
        load_rules(text, source="rules.yaml")
    assert str(refused.value) in (ROOT / "docs/rules.md").read_text()
