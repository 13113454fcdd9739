"""What is chosen from a listing: too much costs money, too little is missed, another order moves other tags."""

import pytest

from pullahead.errors import ListingShrunkError
from pullahead.rules.tag_patterns import (
    InvalidPatternError,
    PatternKind,
    TagPattern,
    TagSelection,
    allows,
    check_pattern,
    select,
)

ALPINE = ("3.17", "3.18", "3.18.1", "3.20", "3.9", "20240923", "edge", "latest", "3.21-rc1")


def patterns(*texts: str, kind: PatternKind = PatternKind.GLOB) -> tuple[TagPattern, ...]:
    return tuple(TagPattern(kind, text) for text in texts)


def globs(*texts: str, **more: object) -> TagSelection:
    return TagSelection(patterns=patterns(*texts))._replace(**more)  # type: ignore[arg-type]


def semver(text: str, **more: object) -> TagSelection:
    return TagSelection(patterns=patterns(text, kind=PatternKind.SEMVER))._replace(**more)  # type: ignore[arg-type]


def test_tag_that_matches_any_pattern_is_chosen_once() -> None:
    assert select(globs("3.18*", "3.1[78]", "edge"), (*ALPINE, "3.18")) == ("3.18.1", "3.18", "3.17", "edge")


@pytest.mark.parametrize(
    ("glob", "chosen"),
    [("3.?", "3.9"), ("[!3]*[!3t]", "edge"), ("*-rc1", "3.21-rc1"), ("latest", "latest"), ("3.[0-9]", "3.9")],
)
def test_glob_matches_the_whole_tag(glob: str, chosen: str) -> None:
    assert select(globs(glob), ALPINE) == (chosen,)


def test_globs_are_case_sensitive() -> None:
    assert select(globs("RC*"), ("rc1", "RC1")) == ("RC1",)


def test_excluded_tags_are_not_chosen_whatever_the_kind() -> None:
    exclude = (*patterns("edge", "3.17*"), *patterns("[0-9]{8}", kind=PatternKind.REGEX))
    exclude = (*exclude, *patterns(">=3.20 <3.22", kind=PatternKind.SEMVER))  # prereleases, too
    assert select(globs("*", exclude=exclude), ALPINE) == ("3.18.1", "3.18", "3.9", "latest")


def test_semver_excludes_other_tags_and_prereleases() -> None:
    assert select(semver(">=3.18 <4"), ALPINE) == ("3.20", "3.18.1", "3.18")
    assert select(semver(">=3.18 <4", prereleases=True), ALPINE)[0] == "3.21-rc1"


def test_newest_counts_after_filtering() -> None:
    assert select(globs("3.*", newest=2, exclude=patterns("3.2*")), ALPINE) == ("3.18.1", "3.18")
    assert select(globs("3.17", newest=9), ALPINE) == ("3.17",)


def test_tag_with_build_metadata_is_chosen_as_a_release() -> None:
    charts = ("108.0.0_up1.0.0", "109.0.1_up1.0.2", "109.0.1_up1.0.10", "109.0.2-rc.1_up1.0.3", "latest")
    assert select(semver(">=1", newest=2), charts) == ("109.0.1_up1.0.10", "109.0.1_up1.0.2")


PROMETHEUS = ("v2.9.0", "v3.0.0", "v3.1.0-rc.1", "v3.1.0-rc.2", "main", "v3.0.0-distroless", "v3.1-dev")


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (globs("v*", newest=3), ("v3.0.0", "v3.0.0-distroless", "v2.9.0")),
        (globs("*", newest=2), ("v3.0.0", "v3.0.0-distroless")),
        (globs("v*", newest=2, prereleases=True), ("v3.1.0-rc.2", "v3.1.0-rc.1")),
        (globs("v*-rc*", newest=1), ("v3.1.0-rc.2",)),
        (globs("v*", "*-dev", newest=2), ("v3.1-dev", "v3.0.0")),
        (globs("v3.1*"), ("v3.1.0-rc.2", "v3.1.0-rc.1", "v3.1-dev")),
        (semver(">=2", newest=2), ("v3.0.0", "v2.9.0")),
    ],
)
def test_newest_leaves_out_prereleases_unless_they_are_asked_for(
    selection: TagSelection, chosen: tuple[str, ...]
) -> None:
    assert select(selection, PROMETHEUS) == chosen


@pytest.mark.parametrize(
    ("regex", "chosen"),
    [("v.*", "v3.0.0"), ("v[0-9.rc-]+", "v3.0.0"), (r"v\d[\d.]*(-rc\.\d+)?", "v3.1.0-rc.2"), (".*rc.*", "v3.1.0-rc.2")],
)
def test_newest_by_regular_expression_leaves_out_prereleases_unless_it_has_a_dash(regex: str, chosen: str) -> None:
    selection = TagSelection(patterns=patterns(regex, kind=PatternKind.REGEX), newest=1)
    assert select(selection, PROMETHEUS) == (chosen,)


def test_prerelease_that_newest_leaves_out_is_not_allowed() -> None:
    assert not allows(globs("v*", newest=1), "v3.1.0-rc.1")
    assert allows(globs("v*"), "v3.1.0-rc.1")
    assert allows(globs("v*", names=("v3.1.0-rc.1",), newest=1), "v3.1.0-rc.1")


def test_min_tags_counts_no_prereleases_that_newest_leaves_out() -> None:
    with pytest.raises(ListingShrunkError, match="3 match"):
        select(globs("v*", newest=1, min_tags=4), PROMETHEUS)


def test_newest_goes_by_version_then_by_name_with_numbers_as_numbers() -> None:
    tags = ("build-9", "build-10", "1.9", "1.10", "1.10.0-rc1", "jammy-20240102", "jammy-20231231", "build-10a")
    newest_first = ("1.10", "1.10.0-rc1", "1.9", "jammy-20240102", "jammy-20231231", "build-10a", "build-10", "build-9")
    assert select(globs("*"), tags) == newest_first


def test_order_of_the_listing_does_not_matter() -> None:
    tags = [*ALPINE, "v3.20", "3.20.0", "03.20", "a1b2", "a01b2", "a1b", "-", "1-1"]
    expected = select(globs("*"), tags)
    for turn in range(len(tags)):
        turned = [*tags[turn:], *tags[:turn]]
        assert select(globs("*"), turned) == select(globs("*"), reversed(turned)) == expected


def test_names_are_neither_looked_up_nor_chosen_twice() -> None:
    selection = globs("3.*", names=("3.20", "nowhere"), newest=3)
    assert select(selection, ALPINE) == ("3.18.1", "3.18")  # 3.20 is one of the three newest, and followed anyway
    assert select(TagSelection(names=("3.20",), min_tags=5), ALPINE) == ()


def test_listing_with_too_few_tags_is_refused() -> None:
    assert len(select(globs("3.1*", min_tags=3), ALPINE)) == 3
    with pytest.raises(ListingShrunkError, match=r"lists 9 tags, of which 3 match the rule; min_tags is 4") as shrunk:
        select(globs("3.1*", min_tags=4, newest=1), ALPINE)
    assert not shrunk.value.retryable


def test_min_tags_counts_before_newest() -> None:
    assert select(globs("3.1*", min_tags=3, newest=1), ALPINE) == ("3.18.1",)


def test_tag_is_allowed_by_name_or_by_pattern_unless_excluded() -> None:
    selection = globs("3.*", names=("edge",), exclude=patterns("*-rc1"), newest=1)
    assert [tag for tag in ALPINE if allows(selection, tag)] == ["3.17", "3.18", "3.18.1", "3.20", "3.9", "edge"]
    assert not allows(TagSelection(names=("edge",)), "latest")


@pytest.mark.parametrize(
    ("kind", "text", "cause"),
    [
        (PatternKind.GLOB, "", "no tag has"),
        (PatternKind.GLOB, "v[1", "unclosed"),
        (PatternKind.GLOB, "v{1,2}*", "no tag has"),
        (PatternKind.GLOB, "a b*", "no tag has"),
        (PatternKind.GLOB, "*" * 201, "more than 200 characters"),
        (PatternKind.SEMVER, "9" * 201, "more than 200 characters"),
        (PatternKind.SEMVER, "latest", "not a version"),
        (PatternKind.REGEX, "(", r"missing \)"),
    ],
)
def test_invalid_pattern_is_refused_by_check_and_select(kind: PatternKind, text: str, cause: str) -> None:
    pattern = TagPattern(kind, text)
    with pytest.raises(InvalidPatternError, match=cause):
        check_pattern(pattern)
    with pytest.raises(InvalidPatternError, match=cause):
        select(TagSelection(patterns=(pattern,)), ALPINE)


@pytest.mark.timeout(20)
def test_hostile_glob_takes_linear_time() -> None:
    assert select(globs("*a" * 90 + "b"), ["a" * 128] * 2) == ()


@pytest.mark.timeout(20)
def test_ten_thousand_tags_are_chosen_from_quickly() -> None:
    tags = [f"{major}.{minor}.{patch}" for major in range(10) for minor in range(10) for patch in range(100)]
    by_expression = TagSelection(patterns=patterns(r"9\.(\d+\.)*\d+", kind=PatternKind.REGEX), newest=10)
    assert select(by_expression, tags) == select(semver("9.x", newest=10), tags)
