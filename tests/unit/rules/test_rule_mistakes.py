"""Mistakes in what a rule selects and where it publishes, and in what holds for all rules: each at its line."""

import pytest

from tests.unit.rules.test_mistakes import mirror, only_problem_of

LONG_NAME = (
    f"version: 1\ndefaults: {{repository: 'm/{{path}}/{{name}}'}}\nmirrors: [{{upstream: a.io/{'b' * 200}, tags: [x]}}]"
)


@pytest.mark.parametrize(
    ("text", "line", "path", "message", "hint"),
    [
        (mirror(name="''"), 6, "mirrors[0].name", "'' is not a valid name", "1 to 128"),
        (mirror(name="a" * 129), 6, "mirrors[0].name", "is not a valid name", "1 to 128"),
        (mirror(name='"a\\nb"'), 6, "mirrors[0].name", "is not a valid name", "one line"),
        (mirror(upstream="quay.io/*"), 3, "mirrors[0].upstream", "a whole registry", "quay.io/prometheus/*"),
        (mirror(upstream="localhost:5500/*"), 3, "mirrors[0].upstream", "a whole registry", "namespace"),
        (mirror(upstream="docker.io/*"), 3, "mirrors[0].upstream", "a whole registry", "namespace"),
        (mirror(upstream="quay.io/a*"), 3, "mirrors[0].upstream", "invalid reference", "at the end"),
        (mirror(upstream="quay.io/*/a"), 3, "mirrors[0].upstream", "invalid reference", "at the end"),
        (mirror(upstream="quay.io/A/*"), 3, "mirrors[0].upstream", "invalid reference", ""),
        (mirror(upstream="quay.io/a/*"), 5, "mirrors[0].repository", "would be published into one", "{path} or {name}"),
        (
            mirror(tags="['v[1']"),
            4,
            "mirrors[0].tags[0]",
            "invalid glob 'v[1': it has a character that no tag has",
            "[a-z]",
        ),
        (mirror(tags="[{}]"), 4, "mirrors[0].tags[0]", "expected exactly one key", "glob, regex, semver"),
        (mirror(tags="[{glop: a}]"), 4, "mirrors[0].tags[0]", "unknown key 'glop'", "Did you mean glob?"),
        (mirror(tags="[{semver: 3}]"), 4, "mirrors[0].tags[0].semver", "'3' as a number", 'Quote it: "3"'),
        (
            mirror(tags="[{semver: '>=a'}]"),
            4,
            "mirrors[0].tags[0].semver",
            "invalid semver '>=a': 'a' is not a version",
            "^1.2",
        ),
        (mirror(tags="[{regex: 'a{'}]"), 4, "mirrors[0].tags[0].regex", "a { must begin {m}, {m,} or {m,n}", "classes"),
        (mirror(tags="[{regex: ''}]"), 4, "mirrors[0].tags[0].regex", "it is empty", ""),
        (mirror(tags="['1', a*]", exclude="['1']"), 4, "mirrors[0].tags[0]", "'1' is both named and excluded", ""),
        (mirror(tags="['1-a', a*]", exclude="[{semver: 1.x}]"), 4, "mirrors[0].tags[0]", "both named and excluded", ""),
        (mirror(exclude="[b]"), 6, "mirrors[0].exclude", "no effect, since `tags` has no pattern", "pattern"),
        (mirror(newest="2"), 6, "mirrors[0].newest", "no effect, since `tags` has no pattern", "pattern"),
        (mirror(min_tags="2"), 6, "mirrors[0].min_tags", "no effect, since `tags` has no pattern", "pattern"),
        (mirror(tags="[a*]", prereleases="true"), 6, "mirrors[0].prereleases", "no pattern is a semver range", ""),
        (mirror(tags="[a*]", newest="0"), 6, "mirrors[0].newest", "0 is out of range", "from 1 to"),
        (mirror(tags="[a*]", newest="1.5"), 6, "mirrors[0].newest", "1.5 is out of range", "whole number"),
        (mirror(tags="[a*]", newest="'3'"), 6, "mirrors[0].newest", "'3' is not a number", "without quotes"),
        (mirror(tags="[a*]", newest="0x10"), 6, "mirrors[0].newest", "'0x10' is not a number", "digits"),
        (mirror(tags="[a*]", newest=".inf"), 6, "mirrors[0].newest", "'.inf' is not a number", "digits"),
        (mirror(tags="[a*]", newest="010"), 6, "mirrors[0].newest", "'010' is not a number", "digits"),
        (mirror(max_layer_size="20"), 6, "mirrors[0].max_layer_size", "is not a size", "like 500MB or 20GiB"),
        (mirror(max_layer_size="20 gigs"), 6, "mirrors[0].max_layer_size", "is not a size", "like 500MB or 20GiB"),
        (mirror(max_layer_size="52001MiB"), 6, "mirrors[0].max_layer_size", "out of range", "1MB to 52000MiB"),
        (mirror(max_image_size="0GB"), 6, "mirrors[0].max_image_size", "is not a size", "like 500MB or 20GiB"),
        (mirror(max_image_size="11TiB"), 6, "mirrors[0].max_image_size", "out of range", "1MB to 10TiB"),
        (mirror(max_tags="2"), 6, "mirrors[0].max_tags", "no effect, since `tags` has no pattern", "pattern"),
        (mirror(tags="[a*]", max_tags="0"), 6, "mirrors[0].max_tags", "out of range", "from 1 to 20000"),
        (mirror(tags="[a*]", max_tags="20001"), 6, "mirrors[0].max_tags", "out of range", "from 1 to 20000"),
        (
            mirror(tags="[a*]", newest="1001"),
            6,
            "mirrors[0].newest",
            "more than max_tags, which is 1000",
            "max_tags: 1001",
        ),
        (mirror(tags="[a*]", min_tags="-1"), 6, "mirrors[0].min_tags", "'-1' is not a number", "digits"),
        (mirror(tags="[a*]", min_tags="100001"), 6, "mirrors[0].min_tags", "out of range", "from 0 to 100000"),
        (mirror(platforms="linux/amd64"), 6, "mirrors[0].platforms", "expected a list, found a string", ""),
        (
            mirror(tags="['>=3.20']"),
            4,
            "mirrors[0].tags[0]",
            "not a valid tag",
            'Write it as a range: {semver: ">=3.20"}.',
        ),
        (mirror(tags="['~1.2']"), 4, "mirrors[0].tags[0]", "not a valid tag", '{semver: "~1.2"}'),
        (mirror(tags="['>=3 <4']"), 4, "mirrors[0].tags[0]", "not a valid tag", '{semver: ">=3 <4"}'),
        (mirror(tags="['^3']"), 4, "mirrors[0].tags[0]", "not a valid tag", '{semver: "^3"}'),
        (mirror(tags=r"['3\.2.*']"), 4, "mirrors[0].tags[0]", "not a valid tag", r"{regex: '3\.2.*'}"),
        (mirror(tags="['(a|b)']"), 4, "mirrors[0].tags[0]", "not a valid tag", "{regex: '(a|b)'}"),
        (mirror(tags="['alpine:3.20']"), 4, "mirrors[0].tags[0]", "not a valid tag", 'the tag alone: "3.20"'),
        (mirror(tags="[{range: '>=3'}]"), 4, "mirrors[0].tags[0]", "unknown key 'range'", "Did you mean semver?"),
        (mirror(tags="[{semverRange: '>=3'}]"), 4, "mirrors[0].tags[0]", "unknown key", "Did you mean semver?"),
        (mirror(interval="1h"), 6, "mirrors[0]", "unknown key 'interval'", "Did you mean check_every?"),
        (mirror(target="a/b"), 6, "mirrors[0]", "unknown key 'target'", "Did you mean repository?"),
        (mirror(password="x"), 6, "mirrors[0]", "unknown key 'password'", "upstreams: {HOST: {credentials: NAME}}"),
        (mirror(upstream="harbor.corp"), 3, "mirrors[0].upstream", "'harbor.corp' is a registry", "harbor.corp/PATH"),
        (
            mirror(upstream="harbor.corp:8443"),
            3,
            "mirrors[0].upstream",
            "is a registry, without",
            "harbor.corp:8443/PATH",
        ),
        (mirror(upstream="localhost:5000"), 3, "mirrors[0].upstream", "is a registry, without", "localhost:5000/PATH"),
        (mirror(upstream="docker.io"), 3, "mirrors[0].upstream", "is a registry, without", "docker.io/library/NAME"),
        (mirror(upstream="redis:7"), 3, "mirrors[0].upstream", "the tag does not belong here", 'tags: ["7"]'),
        (
            mirror(repository="123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/x"),
            5,
            "mirrors[0].repository",
            "'123456789012.dkr.ecr.eu-west-1.amazonaws.com' is a registry",
            "Write mirror/x: tags are published in the ECR of the stack's account and Region.",
        ),
        (
            mirror(repository="mirror/x:1"),
            5,
            "mirrors[0].repository",
            "not a valid ECR repository name",
            "without a tag",
        ),
        (mirror(platforms="[linux/x86_64]"), 6, "mirrors[0].platforms[0]", "'linux/x86_64'", "Write linux/amd64."),
        (mirror(platforms="[linux/arm/7]"), 6, "mirrors[0].platforms[0]", "'linux/arm/7'", "Write linux/arm/v7."),
        (mirror(platforms="['a/b,c/d']"), 6, "mirrors[0].platforms[0]", "is not a platform", "each"),
        (mirror(platforms="[linux]"), 6, "mirrors[0].platforms[0]", "'linux' is not a platform", "linux/amd64"),
        (mirror(immutable_tags="['v[']"), 6, "mirrors[0].immutable_tags[0]", "invalid glob 'v['", ""),
        (mirror(repository="mirror/{paht}"), 5, "mirrors[0].repository", "unknown placeholder '{paht}'", "mean path?"),
        (
            mirror(repository="mirror/{}"),
            5,
            "mirrors[0].repository",
            "unknown placeholder '{}'",
            "registry, path, name",
        ),
        (mirror(repository="{name}"), 5, "mirrors[0].repository", "a mapping", 'Quote it: "{registry}/{path}"'),
        (mirror(repository="{registry}/x"), 5, "", "invalid YAML", "quote what begins with {"),
        (
            mirror(repository="Mirror/{path}"),
            5,
            "mirrors[0].repository",
            "gives 'Mirror/a/b', which is not a valid",
            "",
        ),
        (
            LONG_NAME,
            3,
            "mirrors[0]",
            "which is not a valid ECR repository name",
            "2 to 256",
        ),
        ("version: 1\nmirrors: []\ndefaults: {tags: [a]}", 3, "defaults", "unknown key 'tags'", ""),
        ("version: 1\nmirrors: []\ndefaults: {repository: a/b}", 3, "defaults.repository", "into one", "{path}"),
        ("version: 1\nmirrors: []\ndefaults: {repository: A/{path}}", 3, "", "invalid YAML", ""),
        (
            "version: 1\nmirrors: []\ndefaults: {repository: 'A/{path}'}",
            3,
            "defaults.repository",
            "not a valid ECR repository name",
            "",
        ),
        ("version: 1\nmirrors: []\nsources: {cache: true}", 3, "sources", "unknown key 'cache'", "pull_through_cache"),
        ("version: 1\nmirrors: []\nsources: {resource_tags: 1}", 3, "sources.resource_tags", "found a number", ""),
        ("version: 1\nmirrors: []\nignore: all", 3, "ignore", "expected a list, found a string", ""),
        ("version: 1\nmirrors: []\nignore: [A/*]", 3, "ignore[0]", "'A/*' matches no ECR repository", "team-a/*"),
    ],
)
def test_mistake_in_a_rule_is_reported_with_line_path_and_hint(
    text: str, line: int, path: str, message: str, hint: str
) -> None:
    problem = only_problem_of(text)
    assert (problem.line, problem.path) == (line, path)
    assert message in problem.message
    assert hint in problem.hint


def test_repeated_name_names_the_first_line() -> None:
    problem = only_problem_of("""\
        version: 1
        mirrors:
          - {name: one, upstream: ghcr.io/a/b, tags: [a], repository: mirror/b}
          - {name: one, upstream: ghcr.io/a/c, tags: [a], repository: mirror/c}
    """)
    assert (problem.line, problem.path) == (4, "mirrors[1].name")
    assert problem.message == "'one' is already the name of the rule on line 3"


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
def test_patterns_of_two_upstreams_in_one_repository_are_reported(first: str, second: str) -> None:
    problem = only_problem_of(f"version: 1\nmirrors:\n  - {{{first}}}\n  - {{{second}}}\n")
    assert (problem.line, problem.path) == (4, "mirrors[1].repository")
    assert "by the rule on line 3" in problem.message


def test_repeated_namespace_is_reported() -> None:
    line = "  - {upstream: quay.io/a/*, tags: [x, 'v*']}\n"
    problem = only_problem_of(f"version: 1\nmirrors:\n{line}{line}")
    assert problem.message == "quay.io/a/*:x is already on line 3"


def test_invalid_template_of_the_defaults_is_one_problem() -> None:
    rules = "mirrors:\n  - {upstream: a.io/b, tags: [x]}\n  - {upstream: a.io/c, tags: [x]}\n"
    problem = only_problem_of(f"version: 1\ndefaults: {{repository: mirror/all}}\n{rules}")
    assert problem.path == "defaults.repository"


def test_alert_after_is_compared_with_check_every_of_the_defaults() -> None:
    problem = only_problem_of("version: 1\ndefaults: {check_every: 2h}\n" + mirror(alert_after="1h").partition("\n")[2])
    assert (problem.line, problem.path) == (6 + 1, "mirrors[0].alert_after")
    assert "shorter than check_every (2h)" in problem.message
