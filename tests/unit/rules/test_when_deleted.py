"""What rules say of tags that are deleted from ECR."""

import pytest

from pullahead.rules.load import load_rules
from pullahead.rules.model import WhenDeleted
from tests.unit.rules.test_mistakes import mirror, only_problem_of

RULE = "  - {{upstream: ghcr.io/a/{name}, repository: mirror/{name}, tags: ['1']{more}}}\n"


def restored(defaults: str, more: str) -> bool:
    """Load one rule, and tell whether its mirror is restored."""
    text = f"version: 1\ndefaults: {defaults}\nmirrors:\n{RULE.format(name='b', more=more)}"
    (found,) = load_rules(text, source="rules.yaml").mirrors
    return found.restored


@pytest.mark.parametrize(
    ("defaults", "more", "is_restored"),
    [
        ("{}", "", True),
        ("{}", ", when_deleted: restore", True),
        ("{}", ", when_deleted: leave", False),
        ("{when_deleted: leave}", "", False),
        ("{when_deleted: leave}", ", when_deleted: restore", True),
    ],
)
def test_rule_overrides_defaults(defaults: str, more: str, is_restored: bool) -> None:
    assert restored(defaults, more) is is_restored


def test_rule_on_demand_may_set_it() -> None:
    text = (
        "version: 1\nmirrors: []\non_demand:\n"
        "  - {name: hub, upstream: docker.io/*, repository: 'hub/{path}', allow: ['*'], when_deleted: leave}\n"
    )
    (rule,) = load_rules(text, source="rules.yaml").rules
    assert rule.when_deleted is WhenDeleted.LEAVE


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("restor", "unknown value 'restor'", "Did you mean restore?"),
        ("zzz", "unknown value 'zzz'", "Known values: restore, leave."),
        ("true", "unknown value 'true'", "Known values"),
        ("[leave]", "found a list", ""),
    ],
)
def test_mistake_is_reported_with_a_hint(written: str, message: str, hint: str) -> None:
    problem = only_problem_of(mirror(when_deleted=written))
    assert (problem.line, problem.path) == (6, "mirrors[0].when_deleted")
    assert message in problem.message
    assert hint in problem.hint
