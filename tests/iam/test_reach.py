"""docs/security.md says what each role allows at most, and names tests that are there."""

import re
from copy import deepcopy
from typing import Any

import pytest

from local.deploy.template import load_template
from local.policies.__main__ import ROOT, SECURITY
from local.policies.reach import BEGIN, UnknownActionError, table, with_table


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return dict(load_template(ROOT / "template.yaml"))


def row(template: dict[str, Any], function: str) -> list[str]:
    (found,) = (line for line in table(template).splitlines() if line.startswith(f"| `{function}` |"))
    return found.strip("| ").split(" | ")


def statements(template: dict[str, Any], role: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"][
        "Statement"
    ]
    return found


def test_table_is_as_the_template_says(template: dict[str, Any]) -> None:
    text = SECURITY.read_text(encoding="utf-8")
    assert BEGIN in text
    assert with_table(text, template) == text, "run `make policies`"


def test_each_of_moving_tags_deleting_them_and_setting_policies_is_of_one_function(template: dict[str, Any]) -> None:
    rows = table(template).splitlines()[2:]
    assert len(rows) == sum(name.endswith("Function") for name in template["Resources"])
    for phrase, function in (
        ("moves tags", "publish_image"),
        ("deletes tags", "prune_tags"),
        ("sets repository policies", "create_repository"),
    ):
        assert [line.split("`")[1] for line in rows if phrase in line] == [function]


def test_what_the_internet_reaches_changes_items_of_its_own_alone(template: dict[str, Any]) -> None:
    _, _, changes, _ = row(template, "receive_webhook")
    assert changes == "sends messages (`ChecksQueue`); writes items (`window#*`, `seen#*`, `budget#*`)"


def test_what_copies_blobs_writes_no_plan(template: dict[str, Any]) -> None:
    _, _, changes, _ = row(template, "copy_blobs")
    assert re.findall(r"plans/[^`]*", changes) == ["plans/*/units/*"]


def test_wider_role_changes_the_table(template: dict[str, Any]) -> None:
    wider = deepcopy(template)
    added = {
        "Sid": "More",
        "Effect": "Allow",
        "Action": ["s3:PutObject"],
        "Resource": {"Fn::Sub": "${PlansBucket.Arn}/*"},
    }
    statements(wider, "ReceiveWebhookRole").append(added)
    assert row(wider, "receive_webhook")[2].endswith("writes objects (`⟨PlansBucket⟩/*`)")


def test_action_without_a_phrase_is_an_error(template: dict[str, Any]) -> None:
    wider = deepcopy(template)
    added = {"Sid": "More", "Effect": "Allow", "Action": ["ecr:DeleteRepository"], "Resource": "*"}
    statements(wider, "PlanCopyRole").append(added)
    with pytest.raises(UnknownActionError, match="ecr:DeleteRepository"):
        table(wider)


def test_every_boundary_names_tests_that_are_there() -> None:
    _, _, rest = SECURITY.read_text(encoding="utf-8").partition("| Boundary | What holds it | Test |")
    rows = [line for line in rest.partition("##")[0].splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) >= 9
    for line in rows:
        named = re.findall(r"`(tests/[^`]+)`", line)
        assert named, line
        assert [path for path in named if not (ROOT / path).is_file()] == []
