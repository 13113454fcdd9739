"""Which of the tags that upstream lists a rule follows. Pure; what a rule names exactly is never looked up."""

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from functools import lru_cache

from pullahead.errors import ListingShrunkError
from pullahead.rules.regex import TagRegex
from pullahead.rules.tags import (
    MAX_PATTERN_CHARACTERS,
    InvalidPatternError,
    PatternKind,
    TagPattern,
    TagSelection,
)
from pullahead.rules.versions import Version, parse_range, parse_version

WILDCARDS = "*?["
"""Characters of a glob that no tag has."""

_GLOB = re.compile(r"(?:[A-Za-z0-9_.*?-]|\[!?[A-Za-z0-9_.-]+\])+")
_NUMBER = re.compile(r"([0-9]+)")
_NO_VERSION = Version(-1, 0, 0, False, ())

_Matcher = Callable[[str], bool]


def select(selection: TagSelection, listed: Iterable[str]) -> tuple[str, ...]:
    """Choose from a listing by patterns, the newest first; what the selection names exactly is not chosen again.

    Raises ListingShrunkError where suspiciously few tags fit, counted before `newest` takes some away;
    InvalidPatternError.
    """
    if not selection.patterns:
        return ()
    tags = tuple(dict.fromkeys(listed))
    fits = _chooser(selection.patterns, selection.exclude, selection.prereleases)
    fitting = [tag for tag in tags if fits(tag)]
    if len(fitting) < selection.min_tags:
        raise ListingShrunkError(
            f"upstream lists {len(tags)} tags, {len(fitting)} of which fit the rule; min_tags: {selection.min_tags} "
            "says that so few are upstream's mistake. What was followed before stays followed."
        )
    fitting.sort(key=age, reverse=True)
    named = frozenset(selection.names)
    return tuple(tag for tag in fitting[: selection.newest] if tag not in named)


def allows(selection: TagSelection, tag: str) -> bool:
    """Tell whether a tag is named, or fits the patterns; whether it is among the newest, only a listing can tell."""
    if tag in selection.names:
        return True
    return _chooser(selection.patterns, selection.exclude, selection.prereleases)(tag)


def check_pattern(pattern: TagPattern) -> None:
    """Prove that a pattern means something. Raises InvalidPatternError."""
    _matcher(pattern, prereleases=False)


def matches(pattern: TagPattern, tag: str, *, prereleases: bool = False) -> bool:
    """Tell whether a tag fits one pattern. Raises InvalidPatternError."""
    return _matcher(pattern, prereleases)(tag)


def age(tag: str) -> tuple[Version, tuple[int | str, ...], str]:
    """Order tags from old to new: versions after all others and by precedence, the rest by name, numbers as such.

    No two tags are equal, so that the order of a listing, which registries are free in, changes nothing.
    """
    words = _NUMBER.split(tag)  # words and numbers take turns, so that like is compared with like
    natural = tuple(int(word) if place % 2 else word for place, word in enumerate(words))
    return parse_version(tag) or _NO_VERSION, natural, tag


@lru_cache(maxsize=1024)
def _chooser(patterns: tuple[TagPattern, ...], exclude: tuple[TagPattern, ...], prereleases: bool) -> _Matcher:
    wanted = [_matcher(pattern, prereleases) for pattern in patterns]
    unwanted = [_matcher(pattern, prereleases=True) for pattern in exclude]
    return lambda tag: any(fits(tag) for fits in wanted) and not any(fits(tag) for fits in unwanted)


@lru_cache(maxsize=4096)
def _matcher(pattern: TagPattern, prereleases: bool) -> _Matcher:
    text = pattern.text
    if len(text) > MAX_PATTERN_CHARACTERS:
        raise InvalidPatternError(text, f"it has more than {MAX_PATTERN_CHARACTERS} characters")
    if pattern.kind is PatternKind.GLOB:
        return glob_matcher(text)
    if pattern.kind is PatternKind.REGEX:
        return TagRegex(text).matches
    versions = parse_range(text)

    def is_within(tag: str) -> bool:
        version = parse_version(tag)
        return version is not None and versions.has(version, prereleases=prereleases)

    return is_within


def glob_matcher(text: str) -> _Matcher:
    """Compile a glob of tags: `*`, `?`, `[a-z]` and `[!a-z]`. Raises InvalidPatternError."""
    if _GLOB.fullmatch(text) is None:
        raise InvalidPatternError(
            text,
            "it holds what no tag has, or a [ that is not closed",
            "A glob has letters, digits, dots, dashes, underscores, *, ? and [a-z].",
        )
    try:
        compiled = re.compile(translate(text))  # matched without going back before a star that was passed
    except re.error as error:
        raise InvalidPatternError(text, f"it is no glob: {error.msg}") from error
    return lambda tag: compiled.match(tag) is not None
