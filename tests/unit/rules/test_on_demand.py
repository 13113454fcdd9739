"""Rules on demand: what may be pulled into which mirror, who wins, and every mistake in how they are written."""

from textwrap import dedent

import pytest

from pullahead.oci import Repository, parse_reference
from pullahead.rules.load import load_rules
from pullahead.rules.model import OnDemand, Rules
from pullahead.rules.problems import RulesError
from pullahead.rules.upstream_index import UpstreamIndex

HUB = """\
    version: 1
    defaults: {check_every: 1h, create: {scan_on_push: true}}
    mirrors:
      - {upstream: ghcr.io/team/own, tags: ["1.0"], repository: mirror/hub/library/own}
      - {upstream: quay.io/prometheus/*, tags: ["v*"], repository: "mirror/quay/{path}"}
    on_demand:
      - name: hub
        upstream: docker.io/*
        repository: "mirror/hub/{path}"
        allow: ["library/*", "grafana/*:1[0-9].*"]
        deny: ["library/docker", "*:*-rc*"]
        platforms: [linux/amd64]
      - {name: prometheus, upstream: quay.io/prometheus/*, repository: "mirror/quay/{path}", allow: ["*"]}
"""


def load(text: str = HUB) -> Rules:
    return load_rules(dedent(text), source="rules.yaml")


def found(repository: str, tag: str, rules: Rules | None = None) -> tuple[str, str] | None:
    mirror = (rules or load()).find(repository, tag)
    return (mirror.rule, str(mirror.upstream)) if mirror is not None else None


@pytest.mark.parametrize(
    ("repository", "tag", "expected"),
    [
        ("mirror/hub/library/alpine", "3.20", ("hub", "docker.io/library/alpine:3.20")),
        ("mirror/hub/alpine", "3.20", ("hub", "docker.io/library/alpine:3.20")),
        ("mirror/hub/grafana/grafana", "11.3", ("hub", "docker.io/grafana/grafana:11.3")),
        ("mirror/hub/grafana/grafana", "9.0", None),
        ("mirror/hub/library/docker", "28", None),
        ("mirror/hub/docker", "28", None),
        ("mirror/hub/library/alpine", "3.21-rc1", None),
        ("mirror/hub/evil/miner", "latest", None),
        ("mirror/hub", "latest", None),
        ("mirror/hub/library/own", "1.0", ("ghcr.io/team/own", "ghcr.io/team/own:1.0")),
        ("mirror/hub/library/own", "2.0", ("hub", "docker.io/library/own:2.0")),
        ("mirror/quay/prometheus/node", "v1", ("quay.io/prometheus/*", "quay.io/prometheus/node:v1")),
        ("mirror/quay/prometheus/node", "main", ("prometheus", "quay.io/prometheus/node:main")),
        ("mirror/hub/library/alpine", "*", None),
        ("mirror/hub/library/../x", "1", None),
    ],
)
def test_pull_is_answered_by_the_rule_that_allows_it(
    repository: str, tag: str, expected: tuple[str, str] | None
) -> None:
    assert found(repository, tag) == expected


def test_mirror_has_the_options_of_its_rule_and_the_defaults() -> None:
    rules = load()
    mirror = rules.find("mirror/hub/library/alpine", "3.20")
    assert mirror is not None
    assert (mirror.on_demand, mirror.platforms, mirror.check_every.total_seconds()) == (True, ("linux/amd64",), 3600)
    creation = rules.creation_of("mirror/hub/library/alpine", "3.20")
    assert creation is not None
    assert creation.scan_on_push
    named = rules.find("mirror/hub/library/own", "1.0")
    assert named is not None
    assert not named.on_demand


def test_pattern_without_a_tag_allows_every_tag() -> None:
    bounds = OnDemand(("team/*:v*", "one"), deny=("team/secret*",))
    assert bounds.allows("team/app/web", "v1")
    assert bounds.allows("one", "anything")
    assert not bounds.allows("team/app", "1")
    assert not bounds.allows("team/secret/app", "v1")
    assert not bounds.allows("one/two", "v1")


def test_optional_keys_have_defaults() -> None:
    bounds = load().rules[-1].on_demand
    assert bounds is not None
    assert (bounds.deny, bounds.daily_limit, bounds.expire_after.days) == ((), 50, 30)


def test_digest_changes_with_limits_and_name() -> None:
    digests = {
        load(text).digest
        for text in (
            HUB,
            HUB.replace("name: hub", "name: docker"),
            HUB.replace('"library/*"', '"library/a*"'),
            HUB.replace("platforms: [linux/amd64]", "daily_limit: 7"),
        )
    }
    assert len(digests) == 4


def test_section_with_commented_out_content_is_empty() -> None:
    assert load("version: 1\nmirrors: []\non_demand:\n").rules == ()


GOOD = {
    "name": "hub",
    "upstream": "docker.io/*",
    "repository": '"mirror/hub/{path}"',
    "allow": '["library/*"]',
}


def problem(**changed: str | None) -> str:
    """Write one rule with some keys changed, or left out, and say what is wrong with it."""
    keys = {name: text for name, text in (GOOD | changed).items() if text is not None}
    text = (
        "version: 1\nmirrors: []\non_demand:\n  - {"
        + ", ".join(f"{key}: {value}" for key, value in keys.items())
        + "}\n"
    )
    with pytest.raises(RulesError) as refused:
        load_rules(text, source="rules.yaml")
    (only,) = refused.value.problems
    assert only.line == 4
    return f"{only.path}: {only.message} {only.hint}"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": None}, "name is missing"),
        ({"upstream": None}, "upstream is missing"),
        ({"allow": None}, "allow is missing"),
        ({"allow": "[]"}, "it is empty"),
        ({"allow": "library/*"}, "expected a list"),
        ({"allow": '["docker.io/Library/*"]'}, "matches no upstream path"),
        ({"allow": '["library/*:v[1"]'}, "invalid glob"),
        ({"allow": '["library/*:"]'}, "invalid glob"),
        ({"deny": "[3.20]"}, "Quote it"),
        ({"upstream": "docker.io/library/alpine"}, "is one repository"),
        ({"upstream": "'*'"}, "is one repository"),
        ({"upstream": "docker.io/*/*"}, "invalid reference"),
        ({"repository": "mirror/hub"}, "would be published into one"),
        ({"repository": '"Mirror/{path}"'}, "not a valid ECR repository name"),
        ({"daily_limit": "0"}, "out of range"),
        ({"daily_limit": "10001"}, "out of range"),
        ({"daily_limit": "many"}, "not a number"),
        ({"expire_after": "1h"}, "1d to 365d"),
        ({"expire_after": "366d"}, "1d to 365d"),
        ({"tags": "[latest]"}, "unknown key 'tags'"),
        ({"min_tags": "3"}, "unknown key 'min_tags'"),
        ({"alert_after": "1m"}, "shorter than check_every"),
    ],
)
def test_mistake_is_reported_with_its_path(changed: dict[str, str], expected: str) -> None:
    text = problem(**changed)
    assert expected in text
    assert text.startswith("on_demand[0]")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            '{name: hub, upstream: quay.io/*, repository: "q/{path}", allow: ["*"]}',
            "already the name of the rule on line",
        ),
        ('{name: two, upstream: quay.io/*, repository: "mirror/hub/{path}", allow: ["*"]}', "may get the same tag"),
        ('{name: ghcr.io/team/own, upstream: quay.io/*, repository: "q/{path}", allow: ["*"]}', None),
    ],
)
def test_colliding_rules_are_reported(more: str, expected: str | None) -> None:
    text = f"{dedent(HUB)}  - {more}\n"
    if expected is None:
        assert next(rule.name for rule in load(text).rules) == "ghcr.io/team/own (2)"
        return
    with pytest.raises(RulesError, match=expected):
        load(text)


def test_pattern_and_pull_of_one_tag_from_two_upstreams_are_reported() -> None:
    text = HUB.replace("upstream: quay.io/prometheus/*, repository", "upstream: ghcr.io/prometheus/*, repository")
    with pytest.raises(RulesError, match="may get the same tag"):
        load(text)


def test_rule_on_demand_is_not_in_the_upstream_index() -> None:
    followers = UpstreamIndex(load())
    assert not followers.knows(Repository("docker.io", "library/alpine"))
    assert followers.of(parse_reference("docker.io/library/alpine:3.20")) == ()
    assert followers.knows(Repository("quay.io", "prometheus/node"))
