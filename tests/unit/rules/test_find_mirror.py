"""The rule that a tag in ECR is published by: named exactly, chosen by patterns, or of a namespace."""

from textwrap import dedent

import pytest

from pullahead.errors import ConfigError
from pullahead.oci import Repository, parse_reference
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rule, Rules, is_chosen
from pullahead.rules.named_mirrors import NamedMirrors
from pullahead.rules.published_tags import NamedTag
from pullahead.rules.repository_names import Template
from pullahead.rules.tag_patterns import TagSelection
from tests.fakes.samples import rule

RULES = """\
    version: 1
    defaults: {repository: "mirror/{path}"}
    mirrors:
      - upstream: ghcr.io/a/app
        tags: [latest, "1.*"]
        exclude: ["1.0"]
        immutable_tags: ["1.?"]
        platforms: [linux/arm64]
      - {name: edge, upstream: ghcr.io/a/app, tags: ["edge-*"]}
      - {name: other, upstream: ghcr.io/b/app, tags: ["1.5"], repository: mirror/a/app}
      - {upstream: quay.io/team/*, tags: [stable, "v*"], repository: "quay/{path}", check_every: 1h}
      - {name: flat, upstream: quay.io/flat/*, tags: ["*"], repository: "flat/{name}"}
"""


def load(text: str = RULES) -> Rules:
    return load_rules(dedent(text), source="rules.yaml")


def names(*rules: Rule | None) -> list[str | None]:
    return [rule.name if rule is not None else None for rule in rules]


@pytest.mark.parametrize(
    ("repository", "tag", "expected"),
    [
        ("mirror/a/app", "latest", False),
        ("mirror/a/app", "1.2", True),
        ("mirror/a/app", "1.5", False),  # which another rule names
        ("quay/team/app", "v1", True),
        ("quay/team/app", "stable", True),  # which only a listing finds in a namespace
    ],
)
def test_tag_is_chosen_by_a_pattern_unless_its_rule_names_it(repository: str, tag: str, expected: bool) -> None:
    rules = load()
    mirror = rules.find(repository, tag)
    assert mirror is not None
    assert is_chosen(mirror, rules) is expected


class ComparedTag(str):
    """A tag that counts how often it is compared."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        ComparedTag.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("renamed", [False, True])
def test_named_tag_is_found_among_very_many_at_once(renamed: bool) -> None:
    tags = tuple(ComparedTag(f"1.{number}") for number in range(500))
    selection = TagSelection(renamed=tuple(NamedTag(tag, tag) for tag in tags)) if renamed else TagSelection(tags)
    named = NamedMirrors((declared := rule(tags=selection),))
    rules = Rules(named, (), "rules-1", (declared,))
    last = rules.find(declared.repository, "1.499")  # which makes the index
    assert last is not None
    ComparedTag.times = 0
    assert not is_chosen(last, rules)
    assert ComparedTag.times <= 5


def test_exact_name_wins_over_a_pattern_that_allows_it() -> None:
    mirror = load().find("mirror/a/app", "1.5")
    assert mirror is not None
    assert (mirror.rule, str(mirror.upstream)) == ("other", "ghcr.io/b/app:1.5")
    assert names(load().find_rule("mirror/a/app", "1.5")) == ["other"]


@pytest.mark.parametrize(
    ("tag", "name"),
    [("latest", "ghcr.io/a/app"), ("1.2", "ghcr.io/a/app"), ("1.0", None), ("edge-7", "edge"), ("2.0", None)],
)
def test_tag_is_found_by_the_patterns_that_may_choose_it(tag: str, name: str | None) -> None:
    rules = load()
    mirror = rules.find("mirror/a/app", tag)
    assert names(rules.find_rule("mirror/a/app", tag)) == [name]
    assert (mirror.rule if mirror is not None else None) == name


def test_mirror_of_a_chosen_tag_has_the_options_of_its_rule() -> None:
    rules = load()
    rule, mirror = rules.rules[0], rules.find("mirror/a/app", "1.2")
    assert mirror == rule.mirror("1.2")
    assert (mirror.platforms, mirror.immutable, mirror.upstream) == (
        ("linux/arm64",),
        True,
        parse_reference("ghcr.io/a/app:1.2"),
    )
    assert not rule.mirror("1.22").immutable


def test_namespaces_have_no_mirrors_until_they_are_expanded() -> None:
    assert [str(mirror.key) for mirror in load().mirrors] == ["mirror/a/app:latest", "mirror/a/app:1.5"]


def test_rule_for_a_namespace_is_expanded_for_one_repository() -> None:
    rules = load()
    namespace = rules.rules[3]
    assert namespace.is_namespace
    expanded = namespace.expand("team/x/y")
    assert (expanded.name, str(expanded.upstream), expanded.repository) == (
        "quay.io/team/*",
        "quay.io/team/x/y",
        "quay/team/x/y",
    )
    assert expanded._replace(upstream=namespace.upstream, repository=namespace.repository) == namespace
    assert not expanded.is_namespace


def test_namespace_expands_to_valid_repository_names_only() -> None:
    path = f"team/{'a' * 250}"
    with pytest.raises(
        ConfigError, match=rf"quay.io/{path} into quay/{path}, which is not a valid ECR repository name"
    ):
        load().rules[3].expand(path)


@pytest.mark.parametrize(
    ("repository", "tag", "upstream"),
    [
        ("quay/team/x", "stable", "quay.io/team/x:stable"),
        ("quay/team/x/y", "v1", "quay.io/team/x/y:v1"),
        ("quay/team/x", "latest", None),
        ("quay/other/x", "v1", None),
        ("quay/team", "v1", None),
        ("flat/x", "1", "quay.io/flat/x:1"),
        ("flat/x/y", "1", None),
    ],
)
def test_tag_of_a_namespace_is_found_by_the_template(repository: str, tag: str, upstream: str | None) -> None:
    rules = load()
    mirror, rule = rules.find(repository, tag), rules.find_rule(repository, tag)
    assert (str(mirror.upstream) if mirror is not None else None) == upstream
    assert (rule is not None) is (upstream is not None)
    if rule is not None:
        assert rule.mirror(tag) == mirror
        assert rule.repository == repository


def test_rules_of_a_repository_are_listed() -> None:
    rules = load()
    assert names(*rules.rules_of("mirror/a/app")) == ["ghcr.io/a/app", "edge", "other"]
    assert names(*rules.rules_of("quay/team/x")) == ["quay.io/team/*"]
    assert rules.rules_of("nowhere") == ()


@pytest.mark.parametrize(
    ("template", "repository", "path"),
    [
        ("{registry}/{path}", "localhost-5500/ns/a/b", "ns/a/b"),
        ("{registry}/{path}", "localhost.5500/ns/a", None),
        ("a.b/{path}", "axb/ns/a", None),
        ("x/{path}-{name}", "x/ns/a/b-b", "ns/a/b"),
        ("x/{path}-{name}-{name}", "x/ns/a/b-b-c", None),
        ("{name}/{path}", "a/ns/a", "ns/a"),
        ("m/{name}", "m/a", "ns/a"),
        ("m/{name}", "m/a/b", None),
        ("m/{name}", "m/", None),
    ],
)
def test_template_is_read_backwards(template: str, repository: str, path: str | None) -> None:
    assert Template(template, Repository("localhost:5500", "ns/*")).path_of(repository) == path


def test_dot_of_a_host_matches_a_dot_only() -> None:
    template = Template("{registry}/{path}", Repository("quay.io", "ns/*"))
    assert (template.path_of("quay.io/ns/a"), template.path_of("quayxio/ns/a")) == ("ns/a", None)


def test_mirror_is_found_among_two_thousand() -> None:
    lines = "".join(f'  - {{upstream: ghcr.io/a/r{n}, tags: ["1", "2"]}}\n' for n in range(1000))
    rules = load_rules(f"version: 1\nmirrors:\n{lines}", source="rules.yaml")
    assert len(rules.mirrors) == 2_000
    found = [rules.find(mirror.repository, mirror.tag) for mirror in rules.mirrors]
    assert found == list(rules.mirrors)
    assert [rules.find(mirror.repository, "3") for mirror in rules.mirrors] == [None] * 2_000
