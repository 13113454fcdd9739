"""Resource tags → rules: both spellings, the replacement of glob characters, and invalid tags."""

import pytest

from pullahead.rules.model import Source
from pullahead.rules.sources.findings import DescribedSource, TaggedRepository
from pullahead.rules.sources.resource_tags import describe_tagged
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection


def described(**tags: str) -> DescribedSource:
    """Describe one repository; the underscores of keys stand for `pullahead:` and dashes."""
    spelled = {key.replace("pullahead_", "pullahead:").replace("_", "-"): value for key, value in tags.items()}
    return describe_tagged([TaggedRepository("mirror/app", spelled)])


def selection(**tags: str) -> TagSelection:
    found = described(**{"pullahead_upstream": "quay.io/team/app", **tags})
    assert found.problems == ()
    (rule,) = found.rules
    return rule.tags


@pytest.mark.parametrize(
    "tags",
    [
        {"pullahead_upstream": "docker.io/library/nginx", "pullahead_tags": "1.27 latest"},
        {"upstream_image": "nginx", "upstream_tags": "1.27/latest"},
        {"pullahead_upstream": "nginx", "upstream_tags": "1.27,latest", "upstream_image": "ignored/for/this"},
    ],
)
def test_both_spellings_name_upstream_and_tags(tags: dict[str, str]) -> None:
    (rule,) = described(**tags).rules
    assert (str(rule.upstream), rule.repository) == ("docker.io/library/nginx", "mirror/app")
    assert (rule.tags, rule.source) == (TagSelection(names=("1.27", "latest")), Source.RESOURCE_TAGS)


def test_plus_stands_for_the_star_of_a_glob() -> None:
    assert selection(upstream_tags="1.16+/1.17+").patterns == (
        TagPattern(PatternKind.GLOB, "1.16*"),
        TagPattern(PatternKind.GLOB, "1.17*"),
    )


def test_semver_begins_a_range() -> None:
    chosen = selection(pullahead_tags="semver:3.x latest")
    assert chosen == TagSelection(names=("latest",), patterns=(TagPattern(PatternKind.SEMVER, "3.x"),))


def test_ignored_tags_are_left_out() -> None:
    chosen = selection(pullahead_tags="1.+", ignore_tags="+-rc 1.5")
    assert chosen.exclude == (TagPattern(PatternKind.GLOB, "*-rc"), TagPattern(PatternKind.GLOB, "1.5"))


def test_tag_that_is_named_twice_is_followed_once() -> None:
    assert selection(pullahead_tags="1.0, 1.0").names == ("1.0",)


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({"pullahead_upstream": "https://quay.io/a", "pullahead_tags": "1"}, "a reference is not a URL"),
        ({"pullahead_upstream": "quay.io/team/app:1.0", "pullahead_tags": "1"}, "has a tag or a digest"),
        ({"pullahead_upstream": "quay.io/team/app"}, "name an upstream and no tags; add pullahead:tags"),
        ({"pullahead_upstream": "quay.io/team/app", "pullahead_tags": ""}, "no tags; add pullahead:tags"),
        ({"upstream_image": "quay.io/team/app", "upstream_tags": "a:b"}, "'a:b' is not a valid tag"),
        (
            {"upstream_image": "quay.io/team/app", "upstream_tags": "semver:latest"},
            "'semver:latest': 'latest' is not a version",
        ),
        (
            {"upstream_image": "a/b", "upstream_tags": "1", "ignore_tags": "a:b"},
            "ignore-tags: 'a:b' is not a valid tag",
        ),
        ({"upstream_image": "", "upstream_tags": "1"}, "its resource tag upstream-image"),
    ],
)
def test_invalid_resource_tags_are_reported_and_add_no_rule(tags: dict[str, str], problem: str) -> None:
    found = described(**tags)
    assert found.rules == ()
    (notices,) = found.problems
    assert notices.startswith("mirror/app: ")
    assert problem in notices


@pytest.mark.parametrize("value", ["true", "True", " true "])
def test_ignored_repository_is_not_followed(value: str) -> None:
    assert described(pullahead_upstream="a/b", pullahead_tags="1", pullahead_ignore=value) == DescribedSource()


def test_repository_with_another_ignore_value_is_followed() -> None:
    assert len(described(pullahead_upstream="a/b", pullahead_tags="1", pullahead_ignore="false").rules) == 1


def test_invalid_repository_stops_no_other() -> None:
    broken = TaggedRepository("mirror/broken", {"pullahead:upstream": "A B"})
    good = TaggedRepository("mirror/good", {"pullahead:upstream": "quay.io/a/b", "pullahead:tags": "1"})
    found = describe_tagged([broken, good])
    assert [rule.repository for rule in found.rules] == ["mirror/good"]
