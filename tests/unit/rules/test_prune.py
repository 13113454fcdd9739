"""What rules say of tags that are gone, or no longer chosen."""

from datetime import timedelta

import pytest

from pullahead.rules.load import load_rules
from pullahead.rules.model import Prune
from tests.unit.rules.test_mistakes import mirror, only_problem_of

RULE = "  - {{upstream: ghcr.io/a/b, repository: mirror/b, tags: ['1.*']{more}}}\n"
DAYS = timedelta(days=1)


def policy(defaults: str, more: str) -> Prune | None:
    """Load one rule, and return when it prunes."""
    text = f"version: 1\ndefaults: {defaults}\nmirrors:\n{RULE.format(more=more)}"
    (rule,) = load_rules(text, source="rules.yaml").rules
    return rule.prune


@pytest.mark.parametrize(
    ("defaults", "more", "expected"),
    [
        ("{}", "", None),
        ("{}", ", prune: {}", Prune(30 * DAYS, 30 * DAYS, deletes=False, at_most=0.1)),
        ("{}", ", prune: {mode: report}", Prune()),
        ("{}", ", prune: {mode: delete, at_most: 50%}", Prune(deletes=True, at_most=0.5)),
        ("{}", ", prune: {gone: 7d, unchosen: never}", Prune(7 * DAYS, None)),
        ("{prune: {gone: 90d, mode: delete}}", "", Prune(90 * DAYS, deletes=True)),
        ("{prune: {gone: 90d, mode: delete}}", ", prune: {unchosen: 60d}", Prune(unchosen=60 * DAYS)),
    ],
)
def test_rule_has_its_own_policy_or_that_of_defaults(defaults: str, more: str, expected: Prune | None) -> None:
    assert policy(defaults, more) == expected


@pytest.mark.parametrize(
    ("written", "path", "message"),
    [
        ("{gone: 6d}", ".gone", "6d is out of range"),
        ("{gone: 3651d}", ".gone", "3651d is out of range"),
        ("{unchosen: soon}", ".unchosen", "'soon' is not a duration"),
        ("{mode: remove}", ".mode", "'remove'"),
        ("{at_most: 0%}", ".at_most", "'0%' is not a share"),
        ("{at_most: 51%}", ".at_most", "'51%' is not a share"),
        ("{at_most: 10}", ".at_most", "'10' is not a share"),
        ("{after: 30d}", "", "after"),
    ],
)
def test_mistake_is_reported_where_it_is(written: str, path: str, message: str) -> None:
    problem = only_problem_of(mirror(tags='["1.*"]', prune=written))
    assert problem.path == f"mirrors[0].prune{path}"
    assert message in problem.message


def test_rule_without_a_pattern_does_not_prune_and_is_told_so() -> None:
    problem = only_problem_of(mirror(prune="{}"))
    assert (problem.path, problem.message) == ("mirrors[0].prune", "it has no effect, since `tags` has no pattern")


def test_namespace_does_not_prune_and_is_told_so() -> None:
    text = mirror(upstream="ghcr.io/a/*", repository='"mirror/{path}"', tags='["1.*"]', prune="{}")
    problem = only_problem_of(text)
    assert (problem.path, problem.message) == (
        "mirrors[0].prune",
        "it has no effect, since the upstream is a namespace",
    )


def test_defaults_may_prune_although_some_rules_have_no_pattern() -> None:
    text = f"version: 1\ndefaults: {{prune: {{}}}}\nmirrors:\n{RULE.format(more='')}"
    named = "  - {upstream: ghcr.io/a/c, repository: mirror/c, tags: [latest]}\n"
    assert [rule.prune for rule in load_rules(text + named, source="rules.yaml").rules] == [Prune(), Prune()]
