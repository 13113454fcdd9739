"""One set of rules from all sources: which source wins, what is reported, and what the digest covers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pullahead.oci import Repository, parse_reference
from pullahead.rules.load import load_rules
from pullahead.rules.model import CredentialSource, Mirror, Rule, Rules, Source, UpstreamSettings
from pullahead.rules.sources.combine import Gathered, gather_rules
from pullahead.rules.sources.findings import CachedRepository, CacheRule, Findings, TaggedRepository
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection

QUAY = CacheRule("quay", "quay.io", credential="cached-secret")
REPOSITORY = "quay/team/app"


def declared(upstream: str = "quay.io/team/app", *tags: str, repository: str = REPOSITORY) -> Rules:
    names = ", ".join(f'"{tag}"' for tag in tags)
    mirror = f"\n  - {{upstream: {upstream}, tags: [{names}], repository: {repository}}}" if tags else " []"
    return load_rules(f"version: 1\nmirrors:{mirror}\n", source="rules.yaml")


def cached(*tags: str, repository: str = REPOSITORY) -> Findings:
    return Findings((QUAY,), (CachedRepository(repository, tags),))


def tagged(upstream: str, tags: str, repository: str = REPOSITORY) -> tuple[TaggedRepository, ...]:
    return (TaggedRepository(repository, {"pullahead:upstream": upstream, "pullahead:tags": tags}),)


def keys(gathered: Gathered) -> list[tuple[str, str]]:
    return [(str(mirror.key), str(mirror.upstream)) for mirror in gathered.rules.mirrors]


def test_findings_are_added_to_the_rules_file() -> None:
    findings = Findings((QUAY,), (CachedRepository(REPOSITORY, ("1", "2")),), tagged("ghcr.io/a/b", "3", "mirror/b"))
    gathered = gather_rules(declared("docker.io/x/y", "9", repository="mirror/y"), findings)
    assert keys(gathered) == [
        ("mirror/y:9", "docker.io/x/y:9"),
        ("mirror/b:3", "ghcr.io/a/b:3"),
        (f"{REPOSITORY}:1", "quay.io/team/app:1"),
        (f"{REPOSITORY}:2", "quay.io/team/app:2"),
    ]
    assert gathered.notices == ()
    found = [rule.source for rule in gathered.rules.rules if rule.source is not Source.FILE]
    assert found == [Source.RESOURCE_TAGS, Source.PULL_THROUGH_CACHE]
    assert gathered.rules.find(REPOSITORY, "2") is not None


def test_mirror_that_two_sources_name_is_one_mirror() -> None:
    gathered = gather_rules(declared("quay.io/team/app", "1"), cached("1", "2"))
    assert [key for key, _ in keys(gathered)] == [f"{REPOSITORY}:1", f"{REPOSITORY}:2"]
    assert gathered.notices == ()


def test_file_wins_over_the_cache_and_the_conflict_is_reported_once_per_repository() -> None:
    gathered = gather_rules(declared("ghcr.io/other/app", "1", "2"), cached("1", "2", "3"))
    assert keys(gathered)[:2] == [
        (f"{REPOSITORY}:1", "ghcr.io/other/app:1"),
        (f"{REPOSITORY}:2", "ghcr.io/other/app:2"),
    ]
    (notices,) = gathered.notices
    assert notices == (
        f"{REPOSITORY} has two upstreams: ghcr.io/other/app by the rules file, quay.io/team/app by a pull through "
        "cache rule; the former wins for 1, 2. Name one upstream only."
    )


def test_resource_tags_win_over_the_cache() -> None:
    findings = Findings((QUAY,), (CachedRepository(REPOSITORY, ("1",)),), tagged("ghcr.io/other/app", "1"))
    gathered = gather_rules(declared(), findings)
    assert keys(gathered) == [(f"{REPOSITORY}:1", "ghcr.io/other/app:1")]
    (notices,) = gathered.notices
    assert "ghcr.io/other/app by its resource tags, quay.io/team/app by a pull through cache rule" in notices


def test_conflict_of_many_tags_is_one_short_line() -> None:
    tags = tuple(f"{n}" for n in range(1000))
    (notices,) = gather_rules(declared("ghcr.io/other/app", *tags), cached(*tags)).notices
    assert "0, 1, 2, 3, 4 and 995 more" in notices


def test_pattern_of_the_file_wins_over_a_cached_tag_that_it_chooses() -> None:
    chosen = Rule(
        "by hand",
        Repository("ghcr.io", "other/app"),
        REPOSITORY,
        TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.*"),)),
        timedelta(minutes=15),
        timedelta(hours=6),
    )
    gathered = gather_rules(Rules((), (), "d", (chosen,)), cached("1.0", "2.0"))
    assert keys(gathered) == [(f"{REPOSITORY}:2.0", "quay.io/team/app:2.0")]
    assert "wins for 1.0. Name one upstream only." in gathered.notices[0]


@pytest.mark.parametrize(("upstream", "notices"), [("quay.io/team/app", 0), ("ghcr.io/other/app", 1)])
def test_of_two_sources_with_patterns_for_one_repository_the_first_chooses(upstream: str, notices: int) -> None:
    file = gather_rules(declared(), Findings(tagged=tagged(upstream, "1.+"))).rules
    gathered = gather_rules(file, Findings(tagged=tagged("quay.io/team/app", "2.+")))
    assert [rule.tags.patterns[0].text for rule in gathered.rules.rules] == ["1.*"]
    assert len(gathered.notices) == notices


@pytest.mark.parametrize("glob", [REPOSITORY, "quay/*", "*"])
def test_repository_that_the_file_opts_out_is_followed_by_no_other_source(glob: str) -> None:
    rules = replace(declared("quay.io/team/app", "1"), opted_out=frozenset({glob}))
    findings = Findings((QUAY,), (CachedRepository(REPOSITORY, ("1", "2")),), tagged("quay.io/team/app", "3"))
    gathered = gather_rules(rules, findings)
    assert [key for key, _ in keys(gathered)] == [f"{REPOSITORY}:1"]
    assert gathered.notices == ()


def test_patterns_of_resource_tags_are_kept_for_the_listing() -> None:
    gathered = gather_rules(declared(), Findings(tagged=tagged("quay.io/team/app", "1.+")))
    (rule,) = gathered.rules.rules
    assert [pattern.text for pattern in rule.tags.patterns] == ["1.*"]
    assert gathered.rules.mirrors == ()


def test_credentials_of_the_file_come_before_those_of_the_cache_rule() -> None:
    own = UpstreamSettings("quay.io", plain_http=True, credentials=(CredentialSource("own"),))
    rules = Rules((), (own,), "d")
    (settings,) = gather_rules(rules, cached("1")).rules.upstreams
    assert settings == own._replace(credentials=(CredentialSource("own"), CredentialSource("cached-secret")))


def test_settings_of_a_host_that_the_file_does_not_name_are_added() -> None:
    rules = Rules((), (UpstreamSettings("ghcr.io"),), "d")
    hosts = [settings.host for settings in gather_rules(rules, cached("1")).rules.upstreams]
    assert hosts == ["ghcr.io", "quay.io"]


class TestDigest:
    def test_digest_without_findings_is_that_of_the_file(self) -> None:
        rules = declared("ghcr.io/a/b", "1")
        assert gather_rules(rules, Findings()).rules.digest == rules.digest

    def test_digest_changes_with_file_cache_rules_and_resource_tags(self) -> None:
        digests = {
            gather_rules(rules, findings).rules.digest
            for rules in (declared(), declared("ghcr.io/a/b", "1"))
            for findings in (Findings(), cached("1"), Findings(tagged=tagged("ghcr.io/a/b", "1")))
        }
        assert len(digests) == 6

    def test_digest_does_not_change_with_a_newly_cached_tag(self) -> None:
        before, after = (gather_rules(declared(), cached(*tags)).rules.digest for tags in (("1",), ("1", "2")))
        assert before == after


def test_ten_thousand_cached_tags_are_joined_with_ten_thousand_declared_ones() -> None:
    upstream = parse_reference("quay.io/team/app:1")
    every, after = timedelta(minutes=15), timedelta(hours=6)
    mirrors = tuple(Mirror(upstream, "mirror/app", f"{n}", every, after) for n in range(10_000))
    gathered = gather_rules(Rules(mirrors, (), "d"), cached(*(f"{n}" for n in range(10_000))))
    assert len(gathered.rules.mirrors) == 20_000


def test_cached_tag_that_may_be_demanded_as_well_is_followed_without_a_pull() -> None:
    rule = '{name: quay, upstream: quay.io/*, repository: "quay/{path}", allow: ["*"]}'
    on_demand = load_rules(f"version: 1\nmirrors: []\non_demand: [{rule}]\n", source="rules.yaml")
    gathered = gather_rules(on_demand, cached("1.0"))
    mirror = gathered.rules.find(REPOSITORY, "1.0")
    assert mirror is not None
    assert not mirror.on_demand
    assert [str(each.key) for each in gathered.rules.mirrors] == [f"{REPOSITORY}:1.0"]


class TestCredentialsForResourceTags:
    """Whoever may tag repositories does not own the credentials."""

    SECRET = UpstreamSettings("ghcr.io", credentials=(CredentialSource("secret", "team/*"),))
    PRIVATE = Repository("ghcr.io", "team/private")

    def gathered(self, upstream: str, settings: UpstreamSettings = SECRET) -> Gathered:
        tags = tagged(upstream, "1", "mirror/mine")
        return gather_rules(replace(declared(), upstreams=(settings,)), Findings(tagged=tags))

    def test_repository_that_only_tags_name_is_read_without_credentials(self) -> None:
        gathered = self.gathered("ghcr.io/team/private")
        assert keys(gathered) == [("mirror/mine:1", "ghcr.io/team/private:1")]
        assert not gathered.rules.may_use_credentials(self.PRIVATE)
        assert gathered.rules.may_use_credentials(Repository("ghcr.io", "team/other"))

    def test_host_that_the_rules_open_lends_its_credentials(self) -> None:
        gathered = self.gathered("ghcr.io/team/private", self.SECRET._replace(for_resource_tags=True))
        assert gathered.rules.may_use_credentials(self.PRIVATE)

    @pytest.mark.parametrize("settings", [SECRET, UpstreamSettings("ghcr.io")])
    @pytest.mark.parametrize("upstream", ["ghcr.io/team/private", "ghcr.io/team/*"])
    def test_tags_neither_use_nor_take_the_credentials_of_another_rule(
        self, settings: UpstreamSettings, upstream: str
    ) -> None:
        repository = "mirror/{path}" if upstream.endswith("*") else "mirror/private"
        base = replace(declared(upstream, "9", repository=f"'{repository}'"), upstreams=(settings,))
        gathered = gather_rules(base, Findings(tagged=tagged("ghcr.io/team/private", "1", "mirror/mine")))
        needs = bool(settings.credentials)
        assert ("mirror/mine:1" in [key for key, _ in keys(gathered)]) is not needs
        assert gathered.rules.may_use_credentials(self.PRIVATE) is needs
        notices = [notice for notice in gathered.notices if "credentials_for_resource_tags for ghcr.io" in notice]
        assert len(notices) == needs

    def test_credentials_of_a_cache_rule_are_not_for_tags(self) -> None:
        tags = tagged("quay.io/team/app", "1", "mirror/mine")
        findings = Findings((QUAY,), (CachedRepository(REPOSITORY, ("1",)),), tags)
        gathered = gather_rules(declared(), findings)
        assert keys(gathered) == [(f"{REPOSITORY}:1", "quay.io/team/app:1")]
        assert gathered.rules.may_use_credentials(Repository("quay.io", "team/app"))

    def test_own_identity_at_ecr_counts_as_a_credential(self) -> None:
        host = "210987654321.dkr.ecr.us-east-1.amazonaws.com"
        base = declared(f"{host}/team/app", "9")
        gathered = gather_rules(base, Findings(tagged=tagged(f"{host}/team/app", "1", "mirror/mine")))
        assert keys(gathered) == [(f"{REPOSITORY}:9", f"{host}/team/app:9")]
        alone = gather_rules(declared(), Findings(tagged=tagged(f"{host}/team/app", "1", "mirror/mine")))
        assert not alone.rules.may_use_credentials(Repository(host, "team/app"))
