"""What AWS is asked for rules, what stays when it does not answer, and what is out of reach."""

from dataclasses import replace

import pytest

from pullahead.errors import StorageError
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules, Source
from pullahead.rules.sources import discover as find_sources
from pullahead.rules.sources.discover import Discovered, DiscoverSources, WritableRepositories
from pullahead.rules.sources.findings import CachedRepository, CacheRule, Findings
from tests.fakes.script import Script
from tests.fakes.sources import HUB, QUAY, FakeCachedRepositories, FakeTaggedRepositories

NOTHING = Findings()
NO_RULES = load_rules("version: 1\nmirrors: []\n", source="rules.yaml")
REACH = WritableRepositories(("mirror/*",), ("docker-hub/*", "quay/*"))


class Finding:
    """A registry with two cached repositories, one tagged one, and one that no source covers."""

    def __init__(self, *rules: CacheRule) -> None:
        self.script = Script()
        self.cached = FakeCachedRepositories(*(rules or (HUB, QUAY)), script=self.script)
        self.cached.repositories = {
            "quay/team/app": ("2", "1"),
            "app": ("latest",),
            "docker-hub/library/alpine": ("3.20",),
            "mirror/tagged": ("1",),
        }
        self.tagged = FakeTaggedRepositories(self.script)
        self.tag("mirror/tagged", **{"pullahead:upstream": "ghcr.io/a/b", "pullahead:tags": "1", "team": "blue"})

    def tag(self, name: str, **tags: str) -> None:
        self.tagged.repositories[name] = tags

    def find(
        self, rules: Rules = NO_RULES, before: Findings = NOTHING, reach: WritableRepositories = REACH
    ) -> Discovered:
        return DiscoverSources(self.cached, self.tagged, reach)(rules, before)


def names(found: Discovered) -> list[str]:
    return [repository.name for repository in found.findings.cached]


def test_cached_and_tagged_repositories_are_found_in_a_fixed_order() -> None:
    found = Finding().find()
    assert found.findings.cache_rules == (HUB, QUAY)
    assert found.findings.cached == (
        CachedRepository("docker-hub/library/alpine", ("3.20",)),
        CachedRepository("quay/team/app", ("1", "2")),
    )
    assert [repository.name for repository in found.findings.tagged] == ["mirror/tagged"]
    assert found.notices == ()


def test_tags_of_repositories_that_are_not_cached_are_not_listed() -> None:
    finding = Finding()
    finding.find()
    assert sorted(finding.script.calls) == [
        "cache_rules",
        "repositories_with",
        "repository_names",
        "tags_of",
        "tags_of",
    ]


def test_without_cache_rules_no_repository_is_listed() -> None:
    finding = Finding()
    finding.cached.rules = []
    assert finding.find().findings.cached == ()
    assert sorted(finding.script.calls) == ["cache_rules", "repositories_with"]


def test_other_resource_tags_are_dropped() -> None:
    (repository,) = Finding().find().findings.tagged
    assert set(repository.tags) == {"pullahead:upstream", "pullahead:tags"}


def test_repository_tagged_as_ignored_is_skipped() -> None:
    finding = Finding()
    finding.tag("quay/team/app", **{"pullahead:ignore": "true"})
    assert names(finding.find()) == ["docker-hub/library/alpine"]


def test_cached_repository_without_tags_is_skipped() -> None:
    finding = Finding()
    finding.cached.repositories["quay/team/app"] = ()
    assert names(finding.find()) == ["docker-hub/library/alpine"]


class TestOptingOut:
    def test_repository_that_the_file_opts_out_is_not_even_listed(self) -> None:
        finding = Finding()
        found = finding.find(replace(NO_RULES, opted_out=frozenset({"quay/*"})))
        assert names(found) == ["docker-hub/library/alpine"]
        assert finding.script.count("tags_of") == 1

    def test_source_that_is_off_is_not_read(self) -> None:
        finding = Finding()
        finding.tag("quay/team/app", **{"pullahead:ignore": "true"})
        found = finding.find(replace(NO_RULES, sources=frozenset({Source.RESOURCE_TAGS})))
        assert (found.findings.cache_rules, found.findings.cached) == ((), ())
        assert finding.script.calls == ["repositories_with"]

    def test_ignored_repositories_stay_ignored_where_resource_tags_are_off(self) -> None:
        finding = Finding()
        finding.tag("quay/team/app", **{"pullahead:ignore": "true"})
        found = finding.find(replace(NO_RULES, sources=frozenset({Source.PULL_THROUGH_CACHE})))
        assert names(found) == ["docker-hub/library/alpine"]
        assert [repository.name for repository in found.findings.tagged] == ["quay/team/app"]


class TestReach:
    def test_uncovered_cached_repositories_are_reported_once_per_rule(self) -> None:
        finding = Finding()
        finding.cached.repositories["quay/team/b"] = ("1",)
        found = finding.find(reach=WritableRepositories(("mirror/*",), ("docker-hub/*",)))
        assert names(found) == ["docker-hub/library/alpine"]
        (notices,) = found.notices
        assert notices.startswith("pull through cache rule quay: quay/team/app and 1 more are not followed")
        assert notices.endswith("Add quay/* to it.")

    def test_rule_for_everything_follows_only_what_the_parameter_names(self) -> None:
        finding = Finding(CacheRule("", "quay.io"))
        found = finding.find(reach=WritableRepositories((), ("quay/*",)))
        assert names(found) == ["quay/team/app"]
        assert any(
            "pull through cache rule ROOT: app and 2 more are not followed" in notice for notice in found.notices
        )

    def test_uncovered_tagged_repository_is_reported(self) -> None:
        finding = Finding()
        finding.tag("elsewhere/app", **{"upstream-image": "nginx", "upstream-tags": "1"})
        found = finding.find()
        assert [repository.name for repository in found.findings.tagged] == ["mirror/tagged"]
        assert "elsewhere/app" in found.notices[0]
        assert "TargetRepositories" in found.notices[0]


class TestFailedCalls:
    @pytest.mark.parametrize("operation", ["cache_rules", "repository_names", "tags_of"])
    def test_failed_listing_keeps_the_cached_repositories(self, operation: str) -> None:
        finding = Finding()
        before = finding.find().findings
        finding.cached.repositories["quay/new/app"] = ("1",)
        finding.script.fail(operation, StorageError("it is throttled"))
        found = finding.find(before=before)
        assert found.findings == before
        assert found.notices == (
            "pull through cache rules could not be read; the earlier findings stay in use: it is throttled",
        )

    def test_failed_listing_keeps_the_tagged_and_ignored_repositories(self) -> None:
        finding = Finding()
        finding.tag("quay/team/app", **{"pullahead:ignore": "true"})
        before = finding.find().findings
        finding.script.fail("repositories_with", StorageError("access denied"))
        found = finding.find(before=before)
        assert found.findings == before
        assert found.notices == ("resource tags could not be read; the earlier findings stay in use: access denied",)


def test_cached_repositories_beyond_the_limit_are_reported() -> None:
    finding = Finding()
    limit = find_sources.MAX_CACHED_REPOSITORIES
    finding.cached.repositories = {f"quay/team/app{n:05}": ("1",) for n in range(limit + 1)}
    found = finding.find()
    assert len(found.findings.cached) == limit
    assert f"quay/team/app{limit:05}" in found.notices[0]
