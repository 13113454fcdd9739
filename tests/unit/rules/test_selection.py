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
    assert select(selection, ALPINE) == ("3.21-rc1", "3.18.1")  # 3.20 is one of the three newest, and followed anyway
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
