"""Which referrers rules copy, and mistakes in saying so."""

from datetime import timedelta

import pytest

from pullahead.rules.load import load_rules
from pullahead.rules.model import NO_REFERRERS, ReferrersPolicy
from pullahead.rules.problems import Problem, RulesError

RULE = "  - {{upstream: ghcr.io/a/b, repository: mirror/b, tags: ['1']{more}}}\n"
SPDX = "application/spdx+json"


def policy(defaults: str, more: str) -> ReferrersPolicy:
    """Load one rule, and return which referrers its mirror copies."""
    text = f"version: 1\ndefaults: {defaults}\nmirrors:\n{RULE.format(more=more)}"
    rules = load_rules(text, source="rules.yaml")
    (found,) = rules.mirrors
    assert rules.referrers_of("mirror/b", "1") == found.referrers
    return found.referrers


@pytest.mark.parametrize(
    ("defaults", "more", "expected"),
    [
        ("{}", "", ReferrersPolicy()),
        ("{}", ", referrers: {copy: false}", NO_REFERRERS),
        ("{}", f", referrers: {{copy: [{SPDX}]}}", ReferrersPolicy((SPDX,))),
        ("{referrers: {copy: false}}", "", NO_REFERRERS),
        ("{referrers: {copy: false}}", ", referrers: {copy: true}", ReferrersPolicy()),
        (f"{{referrers: {{exclude: [{SPDX}], late: 7d}}}}", "", ReferrersPolicy(True, (SPDX,), timedelta(days=7))),
        (
            f"{{referrers: {{exclude: [{SPDX}]}}}}",
            ", referrers: {late: never}",
            ReferrersPolicy(True, (SPDX,), timedelta()),
        ),
        ("{referrers: {late: never}}", ", referrers: {late: always}", ReferrersPolicy()),
    ],
)
def test_rule_overrides_defaults_key_by_key(defaults: str, more: str, expected: ReferrersPolicy) -> None:
    assert policy(defaults, more) == expected


def test_rule_on_demand_may_set_it() -> None:
    text = (
        "version: 1\nmirrors: []\non_demand:\n"
        "  - {name: hub, upstream: docker.io/*, repository: 'hub/{path}', allow: ['*'], referrers: {copy: false}}\n"
    )
    (rule,) = load_rules(text, source="rules.yaml").rules
    assert rule.referrers == NO_REFERRERS


def test_they_are_part_of_the_digest_of_the_rules() -> None:
    one, other = (
        load_rules(f"version: 1\nmirrors:\n{RULE.format(more=more)}", source="rules.yaml").digest
        for more in ("", ", referrers: {copy: false}")
    )
    assert one != other


@pytest.mark.parametrize(
    ("written", "path", "message", "hint"),
    [
        ("true", "", "expected keys with values, found a boolean", "KEY: VALUE"),
        ("{types: [a]}", "", "unknown key 'types'", ""),
        ("{copy: 'yes'}", ".copy", "expected true or false, found a string", "without quotes"),
        ("{copy: []}", ".copy", "it is empty", "copy: false"),
        ("{copy: ['a b']}", ".copy[0]", "'a b' is not an artifact type", "application/spdx+json"),
        ("{exclude: sbom}", ".exclude", "expected a list, found a string", ""),
        ("{late: soon}", ".late", "'soon' is not a duration", "always, never"),
        ("{late: 20s}", ".late", "20s is out of range", ""),
        ("{copy: false, exclude: [a]}", ".exclude", "it has no effect, since copy is false", "Remove one"),
        ("{copy: false, late: never}", ".late", "it has no effect, since copy is false", "Remove one"),
    ],
)
def test_mistake_is_reported_where_it_is(written: str, path: str, message: str, hint: str) -> None:
    problem = problem_of(f"version: 1\nmirrors:\n{RULE.format(more=f', referrers: {written}')}")
    assert problem.path == f"mirrors[0].referrers{path}"
    assert message in problem.message
    assert hint in problem.hint


def problem_of(text: str) -> Problem:
    with pytest.raises(RulesError) as refused:
        load_rules(text, source="rules.yaml")
    assert len(refused.value.problems) == 1, refused.value
    return refused.value.problems[0]
