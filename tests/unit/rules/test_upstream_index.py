"""From an upstream tag back to what follows it."""

import pytest

from pullahead.oci import Repository, parse_reference
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import Rule
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from pullahead.rules.upstream_index import FollowedTag, UpstreamIndex
from tests.fakes.samples import REPOSITORY, rule
from tests.fakes.webhook_receiver import followed, namespace

APP = Repository("ghcr.io", "team/app")
ANY = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.*"),), exclude=(TagPattern(PatternKind.GLOB, "*-rc"),))


def follows(reference: str, *declared: Rule) -> tuple[FollowedTag, ...]:
    return UpstreamIndex(followed(*declared)).of(parse_reference(reference))


def test_named_tag_is_followed_by_its_mirror() -> None:
    (found,) = follows("ghcr.io/team/app:1.0", rule("1.0", "2.0"))
    assert found == FollowedTag("app", REPOSITORY, "1.0")
    assert found.key == MirrorKey("mirror/app", "1.0")


def test_matching_tag_is_followed_before_it_is_listed() -> None:
    (found,) = follows("ghcr.io/team/app:1.7", rule(tags=ANY))
    assert (found.tag, found.by_listing, found.found) == ("1.7", False, None)


def test_tag_of_a_rule_with_newest_needs_the_listing() -> None:
    (found,) = follows("ghcr.io/team/app:1.7", rule(tags=ANY._replace(newest=3)))
    assert found.by_listing
    assert found.key == RuleKey("mirror/app", "app")


def test_named_tag_of_a_rule_with_newest_needs_no_listing() -> None:
    (found,) = follows("ghcr.io/team/app:1.7", rule(tags=ANY._replace(newest=3, names=("1.7",))))
    assert not found.by_listing


def test_tags_of_a_rule_with_newest_share_one_key() -> None:
    declared = rule(tags=ANY._replace(newest=3))
    assert {follows(f"ghcr.io/team/app:1.{minor}", declared)[0].key for minor in range(5)} == {
        RuleKey("mirror/app", "app")
    }


@pytest.mark.parametrize(
    "reference", ["ghcr.io/team/app:2.0", "ghcr.io/team/app:1.0-rc", "ghcr.io/team/other:1.0", "quay.io/team/app:1.0"]
)
def test_tag_that_no_rule_allows_is_not_followed(reference: str) -> None:
    assert follows(reference, rule(tags=ANY)) == ()


def test_every_mirror_of_a_tag_is_found() -> None:
    second = rule("1.0", name="second", repository="mirror/second")
    assert [each.repository for each in follows("ghcr.io/team/app:1.0", rule("1.0"), second)] == [
        REPOSITORY,
        "mirror/second",
    ]


def test_named_tag_that_matches_is_found_once() -> None:
    assert len(follows("ghcr.io/team/app:1.0", rule(tags=ANY._replace(names=("1.0",))))) == 1


class TestNamespace:
    RULE = namespace("prom", "1.0", name="prom")

    def test_repository_below_is_named_by_the_template(self) -> None:
        (found,) = follows("quay.io/prom/alert:1.0", self.RULE)
        assert found == FollowedTag("prom", "quay/alert", "1.0", Repository("quay.io", "prom/alert"))

    @pytest.mark.parametrize(
        "reference", ["quay.io/prometheus/alert:1.0", "quay.io/prom:1.0", "ghcr.io/prom/alert:1.0"]
    )
    def test_repository_elsewhere_is_not_followed(self, reference: str) -> None:
        assert follows(reference, self.RULE) == ()

    def test_repository_without_a_valid_target_name_is_skipped(self) -> None:
        assert follows("quay.io/prom/a:1.0", namespace("prom", "1.0", repository="{name}")) == ()


class TestKnows:
    def test_repository_of_which_another_tag_is_followed_is_known(self) -> None:
        assert UpstreamIndex(followed(rule("1.0"))).knows(APP)
        assert UpstreamIndex(followed(rule(tags=ANY))).knows(APP)
        assert UpstreamIndex(followed(namespace("prom", "1.0"))).knows(Repository("quay.io", "prom/alert"))

    def test_repository_that_no_rule_names_is_unknown(self) -> None:
        assert not UpstreamIndex(followed(rule("1.0"))).knows(Repository("ghcr.io", "team/other"))
