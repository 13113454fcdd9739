"""Every mistake in a rules file is reported, with its line, its path and advice."""

from textwrap import dedent

import pytest

from pullahead.errors import ConfigError
from pullahead.rules.load import load_rules
from pullahead.rules.problems import Problem, RulesError

TEN_MISTAKES = """\
version: 2
upstream: {}
upstreams:
  registry: {plain_http: true}
mirrors:
  - upstream: docker.io/library/alpine:3.20
    tags: [3.20]
    repository: Mirror/alpine
    check_every: 5
  - upstream: https://quay.io/a/b
    tags: [a, b, a]
    repository: mirror/b
    alert_after: 1m
"""

EIGHTEEN_MISTAKES = """\
version: 1
defaults:
  repository: mirror/everything
  check_every: 7h
  newest: 3
sources: {pull_through: true}
ignore: [Team/*]
upstreams:
  ghcr.io:
    credentials: user:hunter2
    rate_limit: {reserve: 1.5}
mirrors:
  - upstream: quay.io/*
    tags: ["v[1", {semver: newest}, {regex: "(a"}, {glob: a, regex: b}]
  - name: twice
    upstream: quay.io/prom*/exporter
    tags: [latest]
    newest: 0
    exclude: [latest]
    platforms: [amd64]
  - name: twice
    upstream: ghcr.io/a__b/c
    tags: [latest]
    repository: "{registry}/{paht}"
    create: {tag_mutability: NEVER}
"""


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(RulesError) as refused:
        load_rules(dedent(text), source="rules.yaml")
    return refused.value.problems


def only_problem_of(text: str) -> Problem:
    problems = problems_of(text)
    assert len(problems) == 1, problems
    return problems[0]


def mirror(**changes: str) -> str:
    """Write a file of one mirror, one field a line from line 3 on; a field changed to "-" is left out."""
    fields = {"upstream": "ghcr.io/a/b", "tags": '["1"]', "repository": "mirror/b"} | changes
    lines = [f"{key}: {value}" for key, value in fields.items() if value != "-"]
    return "version: 1\nmirrors:\n  - " + "\n    ".join(lines) + "\n"


def test_ten_mistakes_are_reported_at_once_with_their_lines() -> None:
    places = [(problem.line, problem.path) for problem in problems_of(TEN_MISTAKES)]
    assert places == [
        (1, "version"),
        (2, ""),
        (4, "upstreams['registry']"),
        (6, "mirrors[0].upstream"),
        (7, "mirrors[0].tags[0]"),
        (8, "mirrors[0].repository"),
        (9, "mirrors[0].check_every"),
        (10, "mirrors[1].upstream"),
        (11, "mirrors[1].tags[2]"),
        (13, "mirrors[1].alert_after"),
    ]


def test_eighteen_mistakes_of_every_kind_are_reported_at_once_with_their_lines() -> None:
    places = [(problem.line, problem.path) for problem in problems_of(EIGHTEEN_MISTAKES)]
    assert places == [
        (3, "defaults.repository"),
        (4, "defaults.check_every"),
        (5, "defaults"),
        (6, "sources"),
        (7, "ignore[0]"),
        (10, "upstreams['ghcr.io'].credentials"),
        (11, "upstreams['ghcr.io'].rate_limit.reserve"),
        (13, "mirrors[0].upstream"),
        (14, "mirrors[0].tags[0]"),
        (14, "mirrors[0].tags[1].semver"),
        (14, "mirrors[0].tags[2].regex"),
        (14, "mirrors[0].tags[3]"),
        (16, "mirrors[1].upstream"),
        (18, "mirrors[1].newest"),
        (20, "mirrors[1].platforms[0]"),
        (21, "mirrors[2].name"),
        (24, "mirrors[2].repository"),
        (25, "mirrors[2].create.tag_mutability"),
    ]


def test_message_has_one_line_for_each_problem_and_names_the_file() -> None:
    with pytest.raises(ConfigError) as refused:
        load_rules(TEN_MISTAKES, source="layers/rules/rules.yaml")
    lines = str(refused.value).splitlines()
    assert len(lines) == 10
    assert lines[0] == (
        "layers/rules/rules.yaml:1: version: '2' is not a supported version. Write version: 1, without quotes."
    )
    assert all(line.startswith("layers/rules/rules.yaml:") for line in lines)


@pytest.mark.parametrize(
    ("text", "line", "path", "message", "hint"),
    [
        ('version: "1"\nmirrors: []', 1, "version", "'1' is not a supported version", "without quotes"),
        ("version: 1.0\nmirrors: []", 1, "version", "'1.0' is not a supported version", "version: 1"),
        ("version: [1]\nmirrors: []", 1, "version", "expected a number, found a list", "version: 1"),
        ("mirrors: []", 1, "", "version is missing", ""),
        ("version: 1", 1, "", "mirrors is missing", ""),
        ("version: 1\nmirrors: []\nmirors: []", 3, "", "unknown key 'mirors'", "Did you mean mirrors?"),
        ("version: 1\nmirrors: []\nzzz: 1", 3, "", "unknown key 'zzz'", "Known keys: version, defaults, upstreams"),
        ("version: 1\nmirrors: []\nversion: 1", 3, "", "'version' is already on line 1", ""),
        ("version: 1\nmirrors: {}", 2, "mirrors", "expected a list, found a mapping", "- A"),
        ("version: 1\nmirrors: [5]", 2, "mirrors[0]", "expected keys with values, found a number", "KEY: VALUE"),
        ("version: 1\nmirrors: []\n? [a]\n: b", 3, "", "a key must be a word, not a list", ""),
        ("- a", 1, "", "expected keys with values, found a list", ""),
        ("version: 1\nmirrors: []\nupstreams: [a]", 3, "upstreams", "expected keys with values, found a list", ""),
        (
            "version: 1\nmirrors: []\nupstreams:\n  a.io: 5",
            4,
            "upstreams['a.io']",
            "expected keys with values, found a number",
            "",
        ),
        ("version: 1\nmirrors: []\nupstreams:\n  a.io: {tls: no}", 4, "upstreams['a.io']", "'tls'", "plain_http"),
        (
            "version: 1\nmirrors: []\nupstreams:\n  a.io: {plain_http: 'true'}",
            4,
            "upstreams['a.io'].plain_http",
            "expected true or false, found a string",
            "without quotes",
        ),
        ("version: 1\nmirrors: []\nupstreams:\n  a.io/b: {}", 4, "upstreams['a.io/b']", "host", "localhost"),
        (
            "version: 1\nmirrors: []\nupstreams:\n  docker.io: {}\n  index.docker.io: {}",
            5,
            "upstreams['index.docker.io']",
            "docker.io already has settings",
            "",
        ),
        (mirror(upstream="-"), 3, "mirrors[0]", "upstream is missing", ""),
        (mirror(tags="-"), 3, "mirrors[0]", "tags is missing", ""),
        (mirror(tag="x"), 6, "mirrors[0]", "unknown key 'tag'", "Did you mean tags?"),
        (mirror(repo="x"), 6, "mirrors[0]", "unknown key 'repo'", "Did you mean repository (in ECR) or upstream?"),
        (mirror(upstream="alpine:3.20"), 3, "mirrors[0].upstream", "the tag does not belong here", 'tags: ["3.20"]'),
        (mirror(upstream=f"alpine@sha256:{'a' * 64}"), 3, "mirrors[0].upstream", "a digest never moves", "tags"),
        (mirror(upstream="https://a.io/b"), 3, "mirrors[0].upstream", "not a URL", "Remove https://"),
        (mirror(upstream="a.io/B"), 3, "mirrors[0].upstream", "lower case", "as b."),
        (mirror(upstream="~"), 3, "mirrors[0].upstream", "expected a string, found nothing", ""),
        (mirror(upstream="[a]"), 3, "mirrors[0].upstream", "expected a string, found a list", ""),
        (mirror(tags="[3.20]"), 4, "mirrors[0].tags[0]", "reads '3.20' as a number", 'Quote it: "3.20"'),
        (mirror(tags="[3]"), 4, "mirrors[0].tags[0]", "reads '3' as a number", 'Quote it: "3"'),
        (mirror(tags="[yes]"), 4, "mirrors[0].tags[0]", "reads 'yes' as a boolean", 'Quote it: "yes"'),
        (mirror(tags="[2026-01-01]"), 4, "mirrors[0].tags[0]", "as a date", 'Quote it: "2026-01-01"'),
        (mirror(tags="['a b']"), 4, "mirrors[0].tags[0]", "'a b' is not a valid tag", "1 to 128"),
        (mirror(tags="['^3']"), 4, "mirrors[0].tags[0]", "'^3' is not a valid tag", "{regex: …}"),
        (mirror(tags="[[a]]"), 4, "mirrors[0].tags[0]", "expected a string, found a list", ""),
        (mirror(tags="latest"), 4, "mirrors[0].tags", "expected a list, found a string", "[A, B]"),
        (mirror(tags="[]"), 4, "mirrors[0].tags", "it is empty", "latest"),
        (mirror(repository="a"), 5, "mirrors[0].repository", "'a' is not a valid ECR repository name", "2 to 256"),
        (mirror(repository="a" * 257), 5, "mirrors[0].repository", "not a valid ECR repository name", "2 to 256"),
        (mirror(repository="a/B"), 5, "mirrors[0].repository", "not a valid ECR repository name", "lower-case"),
        (mirror(repository="a___b"), 5, "mirrors[0].repository", "not a valid ECR repository name", "one or two"),
        (mirror(repository="a/"), 5, "mirrors[0].repository", "not a valid ECR repository name", ""),
        (mirror(repository="123"), 5, "mirrors[0].repository", "as a number", 'Quote it: "123"'),
        (mirror(check_every="300"), 6, "mirrors[0].check_every", "'300' is not a duration", "5m"),
        (mirror(check_every="5 min"), 6, "mirrors[0].check_every", "'5 min' is not a duration", "5m"),
        (mirror(check_every="30m1h"), 6, "mirrors[0].check_every", "'30m1h' is not a duration", "1h30m"),
        (mirror(check_every="''"), 6, "mirrors[0].check_every", "'' is not a duration", "5m"),
        (mirror(check_every="~"), 6, "mirrors[0].check_every", "found nothing", ""),
        (mirror(check_every="59s"), 6, "mirrors[0].check_every", "59s is out of range", "1m to 1d"),
        (mirror(check_every="24h1s"), 6, "mirrors[0].check_every", "24h1s is out of range", "1m to 1d"),
        (mirror(alert_after="31d"), 6, "mirrors[0].alert_after", "31d is out of range", "1m to 30d"),
        (mirror(alert_after="14m"), 6, "mirrors[0].alert_after", "(14m) is shorter than check_every (15m)", "15m"),
        (mirror(check_every="7h"), 6, "mirrors[0].check_every", "(6h) is shorter than check_every (7h)", "7h"),
    ],
)
def test_mistake_is_reported_with_line_path_and_hint(text: str, line: int, path: str, message: str, hint: str) -> None:
    problem = only_problem_of(text)
    assert (problem.line, problem.path) == (line, path)
    assert message in problem.message
    assert hint in problem.hint


REGSYNC = "version: 1\ncreds: [{registry: a.io, pass: hunter2}]\nsync: [{source: a, target: b, type: image}]\n"
SKOPEO = "quay.io:\n  images: {a/b: [v1]}\nharbor.corp: {images-by-semver: {c/d: '>=1'}}\n"


@pytest.mark.parametrize(("text", "tool"), [(REGSYNC, "regsync"), (SKOPEO, "skopeo sync")])
def test_file_of_another_tool_is_one_problem_that_says_how_to_convert_it(text: str, tool: str) -> None:
    problem = only_problem_of(text)
    assert (problem.line, problem.message) == (1, f"it is a file of {tool}, not of rules")
    assert "pullahead import" in problem.hint


def test_tag_published_twice_names_both_lines() -> None:
    problem = only_problem_of("""\
        version: 1
        mirrors:
          - {upstream: ghcr.io/a/b, repository: mirror/b, tags: [one, two]}
          - upstream: quay.io/a/b
            repository: mirror/b
            tags: [three, two]
    """)
    assert (problem.line, problem.path) == (6, "mirrors[1].tags[1]")
    assert problem.message == "mirror/b:two is already on line 3"


def test_mirror_repeated_by_an_alias_is_reported() -> None:
    problem = only_problem_of(
        "version: 1\nmirrors: [&m {upstream: ghcr.io/a/b, repository: mirror/b, tags: [one]}, *m]\n"
    )
    assert (problem.line, problem.path) == (2, "mirrors[1].tags[0]")


def test_invalid_upstream_does_not_hide_a_repeated_target() -> None:
    paths = [p.path for p in problems_of(mirror(upstream="A", tags="[x, x]"))]
    assert paths == ["mirrors[0].upstream", "mirrors[0].tags[1]"]


def test_credential_in_an_upstream_is_not_in_the_message() -> None:
    with pytest.raises(RulesError) as refused:
        load_rules(mirror(upstream="https://user:hunter2@ghcr.io/a/b"), source="rules.yaml")
    assert "hunter2" not in str(refused.value)


def test_message_of_a_thousand_problems_is_bounded() -> None:
    text = "version: 1\nmirrors:\n" + "  - 5\n" * 1000
    with pytest.raises(RulesError) as refused:
        load_rules(text, source="rules.yaml")
    assert len(refused.value.problems) == 1000
    lines = str(refused.value).splitlines()
    assert len(lines) == 101
    assert lines[-1] == "rules.yaml: and 900 more."
