"""The templates that readers copy from documents are valid."""

import re

from tests.architecture.source import ROOT


def test_rule_of_outcome_events_is_valid() -> None:
    from cfnlint.api import lint_all  # type: ignore[import-untyped]  # it ships no types, and takes two seconds

    page = (ROOT / "docs/outcome-events.md").read_text(encoding="utf-8")
    (template, *_) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert [found for found in lint_all(template) if found.rule.severity != "informational"] == []
