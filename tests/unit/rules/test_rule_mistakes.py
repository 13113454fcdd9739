"""Mistakes in what a rule selects and where it publishes, and in what holds for all rules: each at its line."""

import pytest

from tests.unit.rules.test_mistakes import mirror, only_problem_of


@pytest.mark.parametrize(
    ("text", "line", "path", "message", "hint"),
    [
        (mirror(name="''"), 6, "mirrors[0].name", "'' is no name of a rule", "1 to 128"),
        (mirror(name="a" * 129), 6, "mirrors[0].name", "is no name of a rule", "1 to 128"),
        (mirror(name='"a\\nb"'), 6, "mirrors[0].name", "is no name of a rule", "one line"),
        (mirror(upstream="quay.io/*"), 3, "mirrors[0].upstream", "a whole registry", "quay.io/prometheus/*"),
        (mirror(upstream="localhost:5500/*"), 3, "mirrors[0].upstream", "a whole registry", "namespace"),
        (mirror(upstream="docker.io/*"), 3, "mirrors[0].upstream", "a whole registry", "namespace"),
        (mirror(upstream="quay.io/a*"), 3, "mirrors[0].upstream", "it is no reference", "at the end"),
        (mirror(upstream="quay.io/*/a"), 3, "mirrors[0].upstream", "it is no reference", "at the end"),
        (mirror(upstream="quay.io/A/*"), 3, "mirrors[0].upstream", "it is no reference", ""),
        (mirror(upstream="quay.io/a/*"), 5, "mirrors[0].repository", "would publish into one", "{path} or {name}"),
        (
            mirror(tags="['v[1']"),
            4,
            "mirrors[0].tags[0]",
            "'v[1' is no glob: it has a character that no tag has",
            "[a-z]",
        ),
        (mirror(tags="[{}]"), 4, "mirrors[0].tags[0]", "it is not one pattern", "glob, regex, semver"),
        (mirror(tags="[{glop: a}]"), 4, "mirrors[0].tags[0]", "'glop' is not known", "Did you mean glob?"),
        (mirror(tags="[{semver: 3}]"), 4, "mirrors[0].tags[0].semver", "'3' as a number", 'Quote it: "3"'),
        (
            mirror(tags="[{semver: '>=a'}]"),
            4,
            "mirrors[0].tags[0].semver",
            "is no semver: 'a' is not a version",
            "^1.2",
        ),
        (mirror(tags="[{regex: 'a{'}]"), 4, "mirrors[0].tags[0].regex", "a { must begin {m}, {m,} or {m,n}", "classes"),
        (mirror(tags="[{regex: ''}]"), 4, "mirrors[0].tags[0].regex", "it is empty", ""),
        (mirror(tags="['1', a*]", exclude="['1']"), 4, "mirrors[0].tags[0]", "'1' is named here and excluded", ""),
        (mirror(tags="['1-a', a*]", exclude="[{semver: 1.x}]"), 4, "mirrors[0].tags[0]", "excluded as well", ""),
        (mirror(exclude="[b]"), 6, "mirrors[0].exclude", "no effect, since every tag is named", "pattern"),
        (mirror(newest="2"), 6, "mirrors[0].newest", "no effect, since every tag is named", "pattern"),
        (mirror(min_tags="2"), 6, "mirrors[0].min_tags", "no effect, since every tag is named", "pattern"),
        (mirror(tags="[a*]", prereleases="true"), 6, "mirrors[0].prereleases", "no pattern is a semver range", ""),
        (mirror(tags="[a*]", newest="0"), 6, "mirrors[0].newest", "0 is out of range", "from 1 to"),
        (mirror(tags="[a*]", newest="1.5"), 6, "mirrors[0].newest", "1.5 is out of range", "whole number"),
        (mirror(tags="[a*]", newest="'3'"), 6, "mirrors[0].newest", "'3' is no number", "without quotes"),
        (mirror(tags="[a*]", newest="0x10"), 6, "mirrors[0].newest", "'0x10' is no number", "digits"),
        (mirror(tags="[a*]", newest=".inf"), 6, "mirrors[0].newest", "'.inf' is no number", "digits"),
        (mirror(tags="[a*]", newest="010"), 6, "mirrors[0].newest", "'010' is no number", "digits"),
        (mirror(tags="[a*]", min_tags="-1"), 6, "mirrors[0].min_tags", "'-1' is no number", "digits"),
        (mirror(tags="[a*]", min_tags="100001"), 6, "mirrors[0].min_tags", "out of range", "from 0 to 100000"),
        (mirror(platforms="linux/amd64"), 6, "mirrors[0].platforms", "it is a text; expected a list", ""),
        (mirror(platforms="[linux]"), 6, "mirrors[0].platforms[0]", "'linux' is no platform", "linux/amd64"),
        (mirror(immutable_tags="['v[']"), 6, "mirrors[0].immutable_tags[0]", "'v[' is no glob", ""),
        (mirror(repository="mirror/{paht}"), 5, "mirrors[0].repository", "'{paht}' is no placeholder", "mean path?"),
        (mirror(repository="mirror/{}"), 5, "mirrors[0].repository", "'{}' is no placeholder", "registry, path, name"),
        (mirror(repository="{name}"), 5, "mirrors[0].repository", "a mapping", 'Quote it: "{registry}/{path}"'),
        (mirror(repository="{registry}/x"), 5, "", "it is no YAML", "quote what begins with {"),
        (mirror(repository="Mirror/{path}"), 5, "mirrors[0].repository", "gives 'Mirror/a/b', which is no name", ""),
        (mirror(upstream="ghcr.io/a__b/c", repository="-"), 3, "mirrors[0]", "gives 'ghcr.io/a__b/c', which is no", ""),
        ("version: 1\nmirrors: []\ndefaults: {tags: [a]}", 3, "defaults", "'tags' is not known", ""),
        ("version: 1\nmirrors: []\ndefaults: {repository: a/b}", 3, "defaults.repository", "into one", "{path}"),
        ("version: 1\nmirrors: []\ndefaults: {repository: A/{path}}", 3, "", "it is no YAML", ""),
        (
            "version: 1\nmirrors: []\ndefaults: {repository: 'A/{path}'}",
            3,
            "defaults.repository",
            "no name that ECR",
            "",
        ),
        ("version: 1\nmirrors: []\nsources: {cache: true}", 3, "sources", "'cache' is not known", "pull_through_cache"),
        ("version: 1\nmirrors: []\nsources: {resource_tags: 1}", 3, "sources.resource_tags", "it is a number", ""),
        ("version: 1\nmirrors: []\nignore: all", 3, "ignore", "it is a text; expected a list", ""),
        ("version: 1\nmirrors: []\nignore: [A/*]", 3, "ignore[0]", "'A/*' fits no repository of ECR", "team-a/*"),
    ],
)
def test_mistake_in_a_rule(text: str, line: int, path: str, message: str, hint: str) -> None:
    problem = only_problem_of(text)
    assert (problem.line, problem.path) == (line, path)
    assert message in problem.message
    assert hint in problem.hint


def test_a_name_given_twice_names_the_first_line() -> None:
    problem = only_problem_of("""\
        version: 1
        mirrors:
          - {name: one, upstream: ghcr.io/a/b, tags: [a], repository: mirror/b}
          - {name: one, upstream: ghcr.io/a/c, tags: [a], repository: mirror/c}
    """)
    assert (problem.line, problem.path) == (4, "mirrors[1].name")
    assert problem.message == "'one' is the name of the rule on line 3 already"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "upstream: ghcr.io/a/b, tags: ['a*'], repository: mirror/b",
            "upstream: ghcr.io/a/c, tags: ['b*'], repository: mirror/b",
        ),
        (
            "upstream: quay.io/a/*, tags: [x], repository: 'm/{name}'",
            "upstream: quay.io/b/*, tags: [x*], repository: 'm/{name}'",
        ),
    ],
)
def test_rules_that_choose_into_one_repository_have_one_upstream(first: str, second: str) -> None:
    problem = only_problem_of(f"version: 1\nmirrors:\n  - {{{first}}}\n  - {{{second}}}\n")
    assert (problem.line, problem.path) == (4, "mirrors[1].repository")
    assert "by the rule on line 3" in problem.message


def test_a_namespace_claimed_twice_is_found() -> None:
    line = "  - {upstream: quay.io/a/*, tags: [x, 'v*']}\n"
    problem = only_problem_of(f"version: 1\nmirrors:\n{line}{line}")
    assert problem.message == "quay.io/a/*:x is named on line 3 already"


def test_a_wrong_template_of_the_defaults_is_one_problem_and_not_one_for_each_rule() -> None:
    rules = "mirrors:\n  - {upstream: a.io/b, tags: [x]}\n  - {upstream: a.io/c, tags: [x]}\n"
    problem = only_problem_of(f"version: 1\ndefaults: {{repository: mirror/all}}\n{rules}")
    assert problem.path == "defaults.repository"


def test_times_of_a_rule_are_compared_with_those_of_the_defaults() -> None:
    problem = only_problem_of("version: 1\ndefaults: {check_every: 2h}\n" + mirror(alert_after="1h").partition("\n")[2])
    assert (problem.line, problem.path) == (6 + 1, "mirrors[0].alert_after")
    assert "shorter than check_every (2h)" in problem.message
