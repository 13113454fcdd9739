"""The page about events is true: its example, its tables, and the rule that readers copy."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from local.aws.patterns import matches
from local.deploy.template import load_template
from pullahead.mirrors.outcome_event import OutcomeDetail, OutcomeKind, OutcomeReason
from tests.unit.mirrors.test_outcome_event_samples import ROOT, sample, sample_events

PAGE: Final = (ROOT / "docs/outcome-events.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_example_is_the_sample_with_its_long_values_cut() -> None:
    (text,) = blocks("json")
    shown, whole = json.loads(text), sample("refreshed")
    assert shown.keys() <= whole.keys()
    assert shown["detail"].keys() == whole["detail"].keys()
    for place, values in ((shown, whole), (shown["detail"], whole["detail"])):
        for name, value in place.items():
            if name != "detail":
                assert str(values[name]).startswith(str(value).removesuffix("…")), name


def test_every_kind_reason_and_field_is_documented() -> None:
    fields = OutcomeDetail.__struct_encode_fields__
    words = [*(kind.value for kind in OutcomeKind), *(reason.value for reason in OutcomeReason), *fields]
    assert [word for word in words if f"`{word}`" not in PAGE] == []


@pytest.mark.parametrize("name", sorted(sample_events()))
def test_documented_rule_matches_new_digests_only(name: str, tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(blocks("yaml")[0])
    template = load_template(tmp_path / "template.yaml")
    pattern = template["Resources"]["NewDigestRule"]["Properties"]["EventPattern"]
    assert matches(pattern, sample(name)) == (name == "refreshed")
    assert not matches(pattern, {**sample(name), "source": "somebody"})


def test_documented_image_name_uses_existing_fields() -> None:
    paths = yaml.safe_load(blocks("yaml")[1])["InputTransformer"]["InputPathsMap"]
    for path in paths.values():
        value: Any = sample("refreshed")
        for step in path.removeprefix("$.").split("."):
            value = value[step]
        assert isinstance(value, str)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ({"repository": [{"prefix": "mirror/ng"}]}, "stale", True),
        ({"repository": [{"prefix": "mirror/team-a/"}]}, "stale", False),
        ({"scan-findings": {"CRITICAL": [{"exists": False}]}}, "scanned", True),
        ({"scan-findings": {"HIGH": [{"exists": False}]}}, "scanned", False),
        ({"previous-digest": [{"exists": True}]}, "refreshed", True),
    ],
)
def test_documented_patterns_match_as_documented(pattern: dict[str, Any], name: str, fits: bool) -> None:
    assert matches({"source": ["pullahead"], "detail": pattern}, sample(name)) == fits
