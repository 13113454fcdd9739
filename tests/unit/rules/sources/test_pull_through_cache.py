"""Pull through cache rules → rules: the upstream of a cached repository, and its credentials."""

import pytest

from pullahead.rules.model import CredentialSource, Source
from pullahead.rules.sources.findings import CachedRepository, CacheRule, DescribedSource
from pullahead.rules.sources.pull_through_cache import describe_cached, rule_for

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ecr-pullthroughcache/hub"
HUB = CacheRule("docker-hub", "registry-1.docker.io", credential=SECRET)


def described(rule: CacheRule, *names: str) -> DescribedSource:
    return describe_cached([rule], [CachedRepository(name, ("1.0",)) for name in names])


@pytest.mark.parametrize(
    ("rule", "repository", "upstream"),
    [
        (HUB, "docker-hub/library/alpine", "docker.io/library/alpine"),
        (HUB, "docker-hub/grafana/grafana", "docker.io/grafana/grafana"),
        (HUB, "docker-hub/alpine", "docker.io/library/alpine"),
        (CacheRule("quay", "quay.io"), "quay/prometheus/node-exporter", "quay.io/prometheus/node-exporter"),
        (CacheRule("a/b", "ghcr.io"), "a/b/team/app", "ghcr.io/team/app"),
        (CacheRule("my-app", "quay.io", "upstream-app"), "my-app/image1", "quay.io/upstream-app/image1"),
        (CacheRule("hub", "registry-1.docker.io", "library"), "hub/alpine", "docker.io/library/alpine"),
        (CacheRule("", "quay.io"), "prometheus/node-exporter", "quay.io/prometheus/node-exporter"),
    ],
)
def test_cached_repository_follows_what_it_was_cached_from(rule: CacheRule, repository: str, upstream: str) -> None:
    (made,) = described(rule, repository).rules
    assert (str(made.upstream), made.repository) == (upstream, repository)
    assert made.source is Source.PULL_THROUGH_CACHE


def test_every_cached_tag_is_followed_by_its_exact_name() -> None:
    tags = ("1.0", "latest", "v2")
    (made,) = describe_cached([HUB], [CachedRepository("docker-hub/library/alpine", tags)]).rules
    assert (made.tags.names, made.tags.patterns) == (tags, ())


def test_cached_signatures_are_no_mirrors_for_they_come_with_their_images() -> None:
    signature = f"sha256-{'a' * 64}.sig"
    cached = [
        CachedRepository("docker-hub/a/app", ("1.0", signature)),
        CachedRepository("docker-hub/x", (signature,)),
    ]
    assert [rule.tags.names for rule in describe_cached([HUB], cached).rules] == [("1.0",)]


def test_longest_prefix_caches_a_repository_and_root_what_is_left() -> None:
    rules = [CacheRule("", "quay.io"), CacheRule("a", "ghcr.io"), CacheRule("a/b", "cgr.dev")]
    assert [rule_for(name, rules) for name in ("a/b/x", "a/x", "ab/x", "x")] == [rules[2], rules[1], rules[0], rules[0]]


def test_prefix_ends_at_a_slash() -> None:
    assert rule_for("quay-mirror/app", [CacheRule("quay", "quay.io")]) is None


def test_repository_with_an_invalid_upstream_is_reported_and_stops_no_other() -> None:
    broken = CacheRule("bad", "not a host")
    found = describe_cached(
        [broken, HUB], [CachedRepository("bad/x", ("1",)), CachedRepository("docker-hub/a/b", ("1",))]
    )
    assert [rule.repository for rule in found.rules] == ["docker-hub/a/b"]
    (problem,) = found.problems
    assert problem.startswith("bad/x, cached by the pull through cache rule bad")


def test_credentials_are_those_of_the_cache_rule() -> None:
    (settings,) = described(HUB, "docker-hub/library/alpine").upstreams
    assert (settings.host, settings.credentials) == ("docker.io", (CredentialSource(SECRET, "*"),))


def test_credentials_are_for_the_upstream_prefix_alone_and_the_narrowest_comes_first() -> None:
    narrow = CacheRule("team", "registry-1.docker.io", "team", credential="narrow")
    (settings,) = describe_cached([HUB, narrow], []).upstreams
    assert settings.credentials == (CredentialSource("narrow", "team/*"), CredentialSource(SECRET, "*"))


def test_role_of_another_account_needs_no_secret() -> None:
    rule = CacheRule("ecr", "111122223333.dkr.ecr.eu-west-1.amazonaws.com", role="arn:aws:iam::111122223333:role/pull")
    (settings,) = describe_cached([rule], []).upstreams
    assert settings.credentials == (CredentialSource("", "*", "arn:aws:iam::111122223333:role/pull"),)


def test_credentials_of_two_rules_for_one_upstream_are_for_their_own_repositories() -> None:
    other = CacheRule("second", "registry-1.docker.io", credential="second")
    cached = [CachedRepository("docker-hub/team/app", ("1",)), CachedRepository("second/other/app", ("1",))]
    (settings,) = describe_cached([HUB, other], cached).upstreams
    assert {(each.secret, each.path) for each in settings.credentials} == {
        (SECRET, "team/app"),
        ("second", "other/app"),
    }


def test_rule_without_credentials_adds_none() -> None:
    assert described(CacheRule("quay", "quay.io"), "quay/a/b").upstreams == ()
