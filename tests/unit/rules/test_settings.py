"""What right rules mean, key by key: defaults and what overrides them, tags, creation, hosts, sources."""

import json
from datetime import timedelta
from textwrap import dedent
from typing import Any

import pytest

from pullahead.oci.registries import RepositorySettings
from pullahead.rules.load import load_rules
from pullahead.rules.model import CredentialSource, RateLimit, Rule, Rules, SizeLimits, Source, UpstreamSettings
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection

PEM = "-----BEGIN CERTIFICATE-----\nMAcwADAAAwEA\n-----END CERTIFICATE-----\n"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hub-AbCdEf"
ROLE = "arn:aws:iam::123456789012:role/pull"


def load(text: str) -> Rules:
    return load_rules(f"version: 1\n{dedent(text)}", source="rules.yaml")


def only_rule(mirror: str, defaults: str = "{}") -> Rule:
    (rule,) = load(f"defaults: {defaults}\nmirrors: [{{upstream: ghcr.io/a/b, {mirror}}}]\n").rules
    return rule


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("500MB", 500_000_000),
        ("20GiB", 20 * 1024**3),
        ("1TB", 10**12),
        ("1 MiB", 1024**2),
        ("52000MiB", 52_000 * 1024**2),
    ],
)
def test_sizes_are_read(written: str, size: int) -> None:
    key = "layer" if written != "1TB" else "image"
    assert getattr(only_rule(f"tags: [a], max_{key}_size: {written}").sizes, key) == size


def test_sizes_default_to_ecrs_limit_and_are_overridden_one_by_one() -> None:
    assert only_rule("tags: [a]").sizes == SizeLimits(52_000 * 1024**2, 500 * 1024**3)
    defaults = "{max_layer_size: 1GiB, max_image_size: 4GiB}"
    rule = only_rule("tags: [a], max_image_size: 8GiB", defaults)
    assert rule.sizes == rule.mirror("a").sizes == SizeLimits(1024**3, 8 * 1024**3)


def created(create: str, defaults: str = "{}") -> RepositorySettings:
    settings = only_rule(f"tags: [a], create: {create}", defaults).settings
    assert settings is not None
    return settings


def host(settings: str) -> UpstreamSettings:
    (upstream,) = load(f"mirrors: []\nupstreams: {{quay.io: {settings}}}\n").upstreams
    return upstream


def test_rule_without_options_has_the_documented_defaults() -> None:
    rule = only_rule("tags: [a]")
    assert rule == Rule(
        "ghcr.io/a/b", rule.upstream, "ghcr.io/a/b", TagSelection(("a",)), timedelta(minutes=15), timedelta(hours=6)
    )


DEFAULTS = """{repository: "mirror/{path}", check_every: 30m, alert_after: 1d, platforms: [linux/amd64],
    immutable_tags: ["v*"], prereleases: true, min_tags: 7, create: {scan_on_push: true, kms_key: alias/a}}"""


def test_defaults_apply_to_a_rule_without_options() -> None:
    rule = only_rule("tags: [{semver: 1.x}]", DEFAULTS)
    assert (rule.repository, rule.check_every, rule.alert_after) == (
        "mirror/a/b",
        timedelta(minutes=30),
        timedelta(days=1),
    )
    assert (rule.platforms, rule.immutable_tags) == (("linux/amd64",), ("v*",))
    assert (rule.tags.prereleases, rule.tags.min_tags) == (True, 7)
    assert rule.settings == RepositorySettings(scan_on_push=True, kms_key="alias/a")


def test_rule_overrides_defaults_also_with_empty_values() -> None:
    rule = only_rule(
        """tags: [{semver: 1.x}], repository: x/b, check_every: 1m, alert_after: 1m, platforms: [], immutable_tags: [],
        prereleases: false, min_tags: 0, create: {scan_on_push: false, tags: {a: b}}""",
        DEFAULTS,
    )
    assert (rule.repository, rule.check_every, rule.alert_after) == ("x/b", timedelta(minutes=1), timedelta(minutes=1))
    assert (rule.platforms, rule.immutable_tags, rule.tags.prereleases, rule.tags.min_tags) == ((), (), False, 0)
    assert rule.settings == RepositorySettings(scan_on_push=False, kms_key="alias/a", tags=(("a", "b"),))


def test_default_min_tags_does_not_apply_to_rules_without_patterns() -> None:
    assert only_rule("tags: [a]", DEFAULTS).tags.min_tags == 0


@pytest.mark.parametrize("section", ["defaults", "sources", "ignore", "upstreams", "mirrors"])
def test_section_with_commented_out_content_is_empty(section: str) -> None:
    rest = "" if section == "mirrors" else "mirrors: []\n"
    assert load(f"{section}:\n{rest}") == load("mirrors: []\n")


def test_tags_are_names_globs_and_written_patterns() -> None:
    rule = only_rule("""tags: [latest, "3.?", "[ab]", {glob: 1*}, {regex: 'v\\d+'}, {semver: 1.x}, "2"],
        exclude: [edge, "*-rc", {regex: x+}, {semver: <1}], newest: 4, min_tags: 2, prereleases: true""")
    glob, regex, semver = PatternKind.GLOB, PatternKind.REGEX, PatternKind.SEMVER
    assert rule.tags == TagSelection(
        ("latest", "2"),
        tuple(
            TagPattern(*pair)
            for pair in ((glob, "3.?"), (glob, "[ab]"), (glob, "1*"), (regex, r"v\d+"), (semver, "1.x"))
        ),
        tuple(TagPattern(*pair) for pair in ((glob, "edge"), (glob, "*-rc"), (regex, "x+"), (semver, "<1"))),
        prereleases=True,
        newest=4,
        min_tags=2,
    )


@pytest.mark.parametrize(
    ("upstream", "template", "repository"),
    [
        ("alpine", "{registry}/{path}", "docker.io/library/alpine"),
        ("localhost:5500/a/b", "x/{registry}/{name}", "x/localhost-5500/b"),
        ("'[::1]:5000/a/b'", "x/{registry}/{name}", "x/1-5000/b"),
        ("a.io/b/c", "{name}-{name}/{path}", "c-c/b/c"),
    ],
)
def test_target_is_named_by_template(upstream: str, template: str, repository: str) -> None:
    (rule,) = load(f'mirrors:\n  - upstream: {upstream}\n    tags: [a]\n    repository: "{template}"\n').rules
    assert rule.repository == repository


@pytest.mark.parametrize(
    ("upstream", "path"),
    [("quay.io/a/*", "a/*"), ("a/*", "a/*"), ("library/*", "library/*"), ("localhost:5500/a/b/*", "a/b/*")],
)
def test_namespace_keeps_its_star_and_its_template(upstream: str, path: str) -> None:
    (rule,) = load(f'mirrors: [{{upstream: "{upstream}", tags: [a]}}]\n').rules
    assert (rule.upstream.path, rule.repository, rule.is_namespace) == (path, "{registry}/{path}", True)


def test_rules_without_names_get_unused_ones() -> None:
    rules = load("""
        mirrors:
          - {upstream: a.io/b, tags: [x]}
          - {upstream: a.io/b, tags: ["y*"]}
          - {name: a.io/b, upstream: a.io/c, tags: [z]}
          - {upstream: a.io/b, tags: [z]}
    """)
    assert [rule.name for rule in rules.rules] == ["a.io/b (2)", "a.io/b (3)", "a.io/b", "a.io/b (4)"]
    assert [mirror.rule for mirror in rules.mirrors] == ["a.io/b (2)", "a.io/b", "a.io/b (4)"]


def test_rules_may_share_a_repository_where_they_cannot_collide() -> None:
    rules = load("""
        mirrors:
          - {upstream: a.io/b, tags: [x], repository: m/b}
          - {upstream: a.io/c, tags: ["y*"], repository: m/b}
          - {upstream: a.io/c, tags: ["z*"], repository: m/b}
          - {upstream: a.io/d/*, tags: ["z*"], repository: "m/{path}"}
          - {upstream: a.io/e/*, tags: ["z*"], repository: "m/{path}"}
    """)
    assert len(rules.rules) == 5


@pytest.mark.parametrize(
    ("create", "settings"),
    [
        ("{}", RepositorySettings()),
        (
            '{tags: {team: "a b", "cost:center": "4711"}}',
            RepositorySettings((("team", "a b"), ("cost:center", "4711"))),
        ),
        ("{kms_key: alias/x}", RepositorySettings(kms_key="alias/x")),
        ("{kms_key: alias/aws/ecr}", RepositorySettings(kms_key="")),
        ("{kms_key: aws/ecr}", RepositorySettings(kms_key="")),
        ("{expire_untagged_days: 90}", RepositorySettings(expire_untagged_days=90)),
        ("{expire_untagged_days: 0}", RepositorySettings(expire_untagged_days=0)),
        ("{tag_mutability: MUTABLE}", RepositorySettings()),
        ("{tag_mutability: IMMUTABLE}", RepositorySettings(immutable_tags=True)),
        (
            '{tag_mutability: {IMMUTABLE_WITH_EXCLUSION: [latest, "v*"]}}',
            RepositorySettings(immutable_tags=True, mutable_tag_filters=("latest", "v*")),
        ),
        ('{tag_mutability: {MUTABLE_WITH_EXCLUSION: ["v*"]}}', RepositorySettings(mutable_tag_filters=("v*",))),
    ],
)
def test_creation_is_read(create: str, settings: RepositorySettings) -> None:
    assert created(create) == settings


def test_mutability_of_a_rule_takes_the_exclusions_of_the_defaults_with_it() -> None:
    defaults = "{create: {tag_mutability: {IMMUTABLE_WITH_EXCLUSION: [latest]}}}"
    assert created("{tag_mutability: MUTABLE}", defaults) == RepositorySettings()
    assert created("{}", defaults) == RepositorySettings(immutable_tags=True, mutable_tag_filters=("latest",))


POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Principal": {"AWS": "012345678901"}, "Effect": "Allow", "Action": ["ecr:*"], "Condition": None}],
}


def test_policies_may_be_yaml_or_json() -> None:
    written = """{Version: 2012-10-17,
        Statement: [{Principal: {AWS: 012345678901}, Effect: Allow, Action: ["ecr:*"], Condition: ~}]}"""
    as_yaml = created(f"{{repository_policy: {written}}}").repository_policy
    as_json = created(f"{{repository_policy: '{json.dumps(POLICY)}'}}").repository_policy
    assert as_yaml == as_json
    assert json.loads(as_yaml or "") == POLICY


def test_numbers_and_flags_of_a_policy_stay_what_they_are() -> None:
    policy = created(
        "{lifecycle_policy: {rules: [{rulePriority: 1, on: true, no: -2, x: 1.5, y: 0123, z: 0x1F}]}}"
    ).lifecycle_policy
    assert json.loads(policy or "") == {
        "rules": [{"rulePriority": 1, "on": True, "no": -2, "x": "1.5", "y": "0123", "z": "0x1F"}]
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("{plain_http: true}", {"plain_http": True}),
        ("{private_addresses: true}", {"private_addresses": True}),
        ("{credentials: ecr-pullthroughcache/hub}", {"credentials": (CredentialSource("ecr-pullthroughcache/hub"),)}),
        (f'{{credentials: "{ARN}"}}', {"credentials": (CredentialSource(ARN),)}),
        (
            f'{{credentials: [{{path: team/*, secret: one}}, {{role: "{ROLE}"}}, {{secret: two, role: "{ROLE}"}}]}}',
            {
                "credentials": (
                    CredentialSource("one", "team/*"),
                    CredentialSource("", "*", ROLE),
                    CredentialSource("two", "*", ROLE),
                )
            },
        ),
        (f"{{ca: {json.dumps(PEM + PEM)}}}", {"ca": PEM + PEM}),
        ("{token_hosts: [Auth.example.com, 'sso:8443']}", {"token_hosts": ("auth.example.com", "sso:8443")}),
        ("{rate_limit: {}}", {"rate_limit": RateLimit()}),
        ("{rate_limit: {requests_per_second: 5, reserve: 25%}}", {"rate_limit": RateLimit(5.0, 0.25)}),
        ("{rate_limit: {requests_per_second: 0.5, reserve: 0%}}", {"rate_limit": RateLimit(0.5, 0.0)}),
    ],
)
def test_settings_of_a_host_are_read(settings: str, expected: dict[str, Any]) -> None:
    assert host(settings) == UpstreamSettings("quay.io")._replace(**expected)


@pytest.mark.parametrize(
    ("sources", "off"),
    [
        ("{}", set()),
        ("{pull_through_cache: false}", {Source.PULL_THROUGH_CACHE}),
        ("{resource_tags: false}", {Source.RESOURCE_TAGS}),
        ("{resource_tags: true, pull_through_cache: true}", set()),
    ],
)
def test_sources_are_on_unless_turned_off(sources: str, off: set[Source]) -> None:
    assert frozenset(Source) - load(f"mirrors: []\nsources: {sources}\n").sources == off


def test_ignored_repositories_are_opted_out() -> None:
    assert load("mirrors: []\nignore: [hub/*, a/b]\n").opted_out == {"hub/*", "a/b"}


@pytest.mark.parametrize(
    "change",
    [
        "newest: 3",
        'exclude: ["1*"]',
        "min_tags: 1",
        "prereleases: true",
        "platforms: [linux/amd64]",
        'immutable_tags: ["v*"]',
        "create: {scan_on_push: true}",
    ],
)
def test_digest_changes_with_every_key(change: str) -> None:
    text = "mirrors: [{{upstream: a.io/b, tags: [{{semver: 1.x}}, x] {}}}]\n"
    plain, changed = load(text.format("")), load(text.format(f", {change}"))
    assert plain.digest != changed.digest


@pytest.mark.parametrize(
    "more", ["ignore: [a/b]", "sources: {resource_tags: false}", "upstreams: {a.io: {token_hosts: [b.io]}}"]
)
def test_digest_changes_with_other_sections(more: str) -> None:
    assert load(f"mirrors: []\n{more}\n").digest != load("mirrors: []\n").digest


def test_digest_stays_when_only_names_and_order_change() -> None:
    one = "{upstream: a.io/b, tags: [x, 'a*', 'b*'], exclude: [c, d]}"
    other = "{name: first, upstream: a.io/b, tags: ['b*', 'a*', x], exclude: [d, c]}"
    rest = "{upstream: a.io/c, tags: [y]}"
    assert load(f"mirrors: [{one}, {rest}]\n").digest == load(f"mirrors: [{rest}, {other}]\n").digest
