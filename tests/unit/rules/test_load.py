"""What a right rules file means."""

from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.oci import parse_reference
from pullahead.rules.file_format import format_duration, parse_duration
from pullahead.rules.load import load_rules
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules, UpstreamSettings

SHIPPED = Path(__file__).parents[3] / "layers/rules/rules.yaml"

ALPINE, APP = "docker.io/library/alpine", "localhost:5500/team/app"
FULL = """\
version: 1
upstreams:
  localhost:5500: {plain_http: true}
mirrors:
  - upstream: alpine
    tags: ["3.20", latest]
    repository: mirror/alpine
    check_every: 5m
    alert_after: 1h30m
  - upstream: localhost:5500/team/app
    tags: [edge]
    repository: mirror/app
"""


def load(text: str) -> Rules:
    return load_rules(dedent(text), source="rules.yaml")


def test_every_tag_becomes_a_mirror_with_defaults_applied() -> None:
    rules = load(FULL)
    alpine = (timedelta(minutes=5), timedelta(minutes=90))
    app = (timedelta(minutes=15), timedelta(hours=6))
    assert rules.mirrors == (
        Mirror(parse_reference("docker.io/library/alpine:3.20"), "mirror/alpine", "3.20", *alpine, rule=ALPINE),
        Mirror(parse_reference("docker.io/library/alpine:latest"), "mirror/alpine", "latest", *alpine, rule=ALPINE),
        Mirror(parse_reference("localhost:5500/team/app:edge"), "mirror/app", "edge", *app, rule=APP),
    )
    assert rules.upstreams == (UpstreamSettings("localhost:5500", plain_http=True),)


def test_mirror_is_found_by_what_it_publishes() -> None:
    rules = load(FULL)
    assert rules.find("mirror/alpine", "3.20") == rules.mirrors[0]
    assert rules.find("mirror/alpine", "3.21") is None
    assert rules.mirrors[0].key == MirrorKey("mirror/alpine", "3.20")


@pytest.mark.parametrize(
    "text", ["version: 1\nmirrors: []", "version: 1\nmirrors:\n", "version: 1\nupstreams:\nmirrors: []"]
)
def test_file_without_mirrors_is_valid(text: str) -> None:
    rules = load(text)
    assert (rules.mirrors, rules.upstreams) == ((), ())


def test_one_upstream_may_fill_two_repositories() -> None:
    rules = load("""\
        version: 1
        mirrors:
          - {upstream: ghcr.io/a/b, tags: &tags [one, two], repository: mirror/b}
          - {upstream: ghcr.io/a/b, tags: *tags, repository: other/b}
    """)
    assert [str(mirror.key) for mirror in rules.mirrors] == [
        "mirror/b:one",
        "mirror/b:two",
        "other/b:one",
        "other/b:two",
    ]


def test_settings_are_found_by_the_host_that_references_have() -> None:
    rules = load("version: 1\nmirrors: []\nupstreams: {index.docker.io: {plain_http: false}, GHCR.io: {}}")
    assert [upstream.host for upstream in rules.upstreams] == ["docker.io", "ghcr.io"]


@pytest.mark.parametrize("host", ["10.0.0.1:5000", "[::1]:5000", "localhost"])
def test_settings_accept_every_host_of_a_reference(host: str) -> None:
    assert load(f'version: 1\nmirrors: []\nupstreams: {{"{host}": {{plain_http: true}}}}').upstreams[0].host == host


def test_shortest_and_longest_durations_are_valid() -> None:
    rules = load("""\
        version: 1
        mirrors:
          - {upstream: a.io/b, tags: [x], repository: mirror/b, check_every: 1m, alert_after: 1m}
          - {upstream: a.io/b, tags: [y], repository: mirror/b, check_every: 24h, alert_after: 30d}
    """)
    assert [mirror.check_every for mirror in rules.mirrors] == [timedelta(minutes=1), timedelta(days=1)]
    assert [mirror.alert_after for mirror in rules.mirrors] == [timedelta(minutes=1), timedelta(days=30)]


@pytest.mark.parametrize("name", ["ab", "a" * 256, "a.b/c-d/e_f", "a__b/c--d"], ids=len)
def test_shortest_and_longest_repository_names_are_valid(name: str) -> None:
    rules = load(f"version: 1\nmirrors: [{{upstream: a.io/b, tags: [x], repository: {name}}}]\n")
    assert rules.mirrors[0].repository == name


@pytest.mark.parametrize(
    "same",
    [
        FULL + "# a comment\n",
        FULL.replace("upstream: alpine", "upstream: docker.io/library/alpine"),
        FULL.replace("check_every: 5m", "check_every: 300s"),
        FULL.replace('["3.20", latest]', "[latest, '3.20']"),
        FULL + "    check_every: 15m\n    alert_after: 6h\n",
    ],
)
def test_digest_is_the_same_for_the_same_rules(same: str) -> None:
    assert load(same).digest == load(FULL).digest


@pytest.mark.parametrize(
    "other",
    [
        FULL.replace("upstream: alpine", "upstream: busybox"),
        FULL.replace("latest", "edge"),
        FULL.replace("mirror/alpine", "mirror/alpina"),
        FULL.replace("5m", "6m"),
        FULL.replace("1h30m", "2h"),
        FULL.replace("true", "false"),
        "version: 1\nmirrors: []",
    ],
)
def test_digest_changes_with_the_rules(other: str) -> None:
    assert load(other).digest != load(FULL).digest
    assert load(other).digest.startswith("sha256:")


def test_shipped_rules_load_and_need_no_credentials() -> None:
    rules = load_rules(SHIPPED.read_text(), source=str(SHIPPED))
    hosts = {mirror.upstream.repository.registry for mirror in rules.mirrors}
    # Not Docker Hub: a first deployment must work, and anonymous requests from Lambda's shared addresses often do not.
    assert hosts == {"public.ecr.aws", "quay.io"}
    assert not any(upstream.plain_http or upstream.credentials for upstream in rules.upstreams)


def test_rule_that_the_shipped_rules_show_in_a_comment_loads() -> None:
    text = SHIPPED.read_text()
    shown = text[text.index("#  - upstream: docker.io") :].replace("\n#", "\n").replace("#", "", 1)
    (rule,) = load_rules(f"version: 1\nmirrors:\n{shown}", source="comment").rules
    assert (rule.name, rule.tags.newest) == ("docker.io/grafana/grafana", 3)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86_400), ("1d2h3m4s", 93_784), ("0s", 0)],
)
def test_duration_is_parsed(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5M", "-5m", "1.5h", "5m ", "5m5m", "1m1h", "1234567s", "\u0665m"])
def test_invalid_duration_gives_none(text: str) -> None:
    assert parse_duration(text) is None


@given(st.integers(0, 999_999))
def test_written_duration_is_parsed_back(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)
