"""Two upstreams that may be published into one repository: seen when rules are loaded, with both lines."""

import pytest

from pullahead.oci import Repository
from pullahead.rules.load import load_rules
from pullahead.rules.problems import Problem, RulesError
from pullahead.rules.repository_names import NameSet


def problems_of(*mirrors: str, on_demand: str = "") -> tuple[Problem, ...]:
    """Load rules, of which the first one is on line 3."""
    text = "\n".join(["version: 1", "mirrors:", *(f"  - {{{mirror}}}" for mirror in mirrors)])
    try:
        load_rules(f"{text}\n{on_demand}", source="rules.yaml")
    except RulesError as error:
        return tuple(error.problems)
    return ()


def ns(upstream: str, repository: str) -> str:
    return f'upstream: {upstream}, repository: "{repository}", tags: ["v*"]'


def one(upstream: str, repository: str, tags: str = "[v1]") -> str:
    return f'upstream: {upstream}, repository: "{repository}", tags: {tags}'


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # The last segment alone: whoever makes a repository of that name below either takes it over.
        (ns("quay.io/ns/*", "mirror/{name}"), ns("quay.io/ns/attacker/*", "mirror/{name}")),
        (ns("quay.io/ns/*", "mirror/{name}"), ns("evil.example/x/*", "mirror/{name}")),
        (ns("quay.io/ns/*", "mirror/{path}"), ns("evil.example/ns/sub/*", "mirror/{path}")),
        (ns("quay.io/ns/*", "mirror/{path}"), ns("evil.example/x/*", "mirror/ns/{name}")),
        (ns("quay.io/ns/*", "mirror/{registry}/{path}"), ns("evil.example/x/*", "mirror/quay.io/ns/{name}")),
        (ns("quay.io/ns/*", "mirror/{registry}/{path}"), ns("quay.io/other/*", "mirror/{registry}/ns/{name}")),
        (ns("quay.io/ns/*", "m/{name}-x"), ns("evil.example/x/*", "m/y-{name}")),
        # One repository, and a namespace that may give the same name to another.
        (one("ghcr.io/team/app", "mirror/app"), ns("evil.example/x/*", "mirror/{name}")),
        (one("ghcr.io/team/app", "mirror/app", '["v*"]'), ns("evil.example/x/*", "mirror/{name}")),
        (one("ghcr.io/x/app", "mirror/x/app"), ns("evil.example/x/*", "mirror/{path}")),
        (one("quay.io/ns/a", "mirror/ns/b"), ns("quay.io/ns/*", "mirror/{path}")),
    ],
)
def test_two_upstreams_of_one_repository_are_refused_with_both_lines(first: str, second: str) -> None:
    for mirrors in ((first, second), (second, first)):
        (problem,) = problems_of(*mirrors)
        assert problem.line == 4
        assert "by the rule on line 3" in problem.message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ns("quay.io/ns/*", "mirror/{registry}/{path}"), ns("evil.example/ns/*", "mirror/{registry}/{path}")),
        (ns("quay.io/ns/*", "mirror/{registry}/{path}"), ns("quay.io/ns/team/*", "mirror/{registry}/{path}")),
        (ns("quay.io/ns/*", "a/{name}"), ns("evil.example/x/*", "b/{name}")),
        (ns("quay.io/ns/*", "mirror/{path}"), ns("evil.example/other/*", "mirror/{path}")),
        (ns("quay.io/ns/*", "mirror/{name}"), ns("evil.example/x/*", "mirror/x/{name}")),
        (ns("quay.io/ns/*", "mirror/{name}"), one("quay.io/ns/app", "mirror/app", "[other]")),
        (ns("quay.io/ns/*", "mirror/{name}"), one("ghcr.io/team/app", "mirror/team/app")),
        (ns("quay.io/ns/*", "mirror/{name}"), ns("quay.io/ns/*", "mirror/{name}").replace("v*", "w*")),
    ],
)
def test_rules_that_cannot_meet_are_valid(first: str, second: str) -> None:
    assert problems_of(first, second) == problems_of(second, first) == ()


def test_namespace_on_demand_gives_way_to_named_repositories_but_not_to_other_namespaces() -> None:
    on_demand = 'on_demand: [{name: hub, upstream: docker.io/*, repository: "mirror/{path}", allow: ["*"]}]\n'
    assert problems_of(one("public.ecr.aws/a/b", "mirror/a/b"), on_demand=on_demand) == ()
    (problem,) = problems_of(ns("evil.example/x/*", "mirror/x/{name}"), on_demand=on_demand)
    assert (problem.line, "by the rule on line 4" in problem.message) == (3, True)


def test_thousands_of_rules_are_compared_with_each_namespace() -> None:
    mirrors = [one(f"ghcr.io/team/app{number}", f"other/app{number}") for number in range(2000)]
    assert problems_of(*mirrors, *(ns(f"quay.io/n{number}/*", f"m{number}/{{name}}") for number in range(20))) == ()


@pytest.mark.parametrize(
    ("one_template", "other_template", "overlap"),
    [
        ("a/{name}", "a/{name}/b", False),
        ("a/{path}", "a/{name}/b", True),
        ("a/{path}", "a/ns/{name}/b", True),
        ("{path}", "{registry}/{name}", False),
        ("{name}{name}", "xy", True),
        ("a/{name}", "a/", False),
    ],
)
def test_sets_of_names_overlap(one_template: str, other_template: str, overlap: bool) -> None:
    one_set = NameSet(one_template, Repository("quay.io", "ns/*"))
    other_set = NameSet(other_template, Repository("ghcr.io", "x/*"))
    assert one_set.overlaps(other_set) is other_set.overlaps(one_set) is overlap
