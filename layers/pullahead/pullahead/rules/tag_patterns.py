"""Which of the tags that upstream lists a rule follows. Pure; what a rule names exactly is never looked up.

Versions as tags write them, and ranges of them as npm writes those. Pure.

Sources: Semantic Versioning 2.0.0, item 11 (precedence); node-semver, "Ranges". Tags differ from both: they have no
`+build` (OCI distribution specification 1.1, "Pulling manifests"), a `v` or none, one to three parts, and parts such as
the 04 of 24.04.

Which tags a rule follows, as data: names, patterns, and what is wrong with a pattern. Knows no listing.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple, NoReturn

from pullahead.errors import ListingShrunkError
from pullahead.rules.regex import MAX_PATTERN_CHARACTERS, InvalidPatternError, TagRegex


class PatternKind(StrEnum):
    """How a pattern of tags is written."""

    GLOB = "glob"
    REGEX = "regex"
    SEMVER = "semver"


class TagPattern(NamedTuple):
    """One pattern that tags are compared with."""

    kind: PatternKind
    text: str


class TagSelection(NamedTuple):
    """Which tags of a repository a rule follows. Names are never listed; patterns choose from upstream's listing."""

    names: tuple[str, ...] = ()
    patterns: tuple[TagPattern, ...] = ()
    exclude: tuple[TagPattern, ...] = ()
    prereleases: bool = False
    newest: int | None = None
    min_tags: int = 0  # fewer tags that fit than this are upstream's fault, not a wish


_Identifier = tuple[int, int, str]  # a number comes before any word, and numbers compare as such
_Parts = tuple[int, ...]

_VERSION = re.compile(r"[vV]?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?")
_SIGNS = frozenset({"", "=", "==", "<", "<=", ">", ">=", "~", "~>", "^"})
_PARTIAL = re.compile(r"[vV]?(?:[0-9]+\.){0,2}[xX*](?:\.[xX*]){0,2}")
_SPACE_BEHIND_OPERATOR = re.compile(r"([<>=~^])\s+")
_SEPARATOR = re.compile(r"[\s,]+")
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")
_LOWEST: tuple[_Identifier, ...] = ((0, 0, ""),)  # `-0`, before every other prerelease
_ADVICE = 'Write it like ">=3.18 <4", "~1.2", "^1.2", "1.x", "1.2 - 1.4" or "1.x || 3.x".'


class Version(NamedTuple):
    """A version; compares by precedence. A release comes after its prereleases."""

    major: int
    minor: int
    patch: int
    is_release: bool
    prerelease: tuple[_Identifier, ...]


class _Bound(NamedTuple):
    compare: Callable[[Version, Version], bool]
    limit: Version


class _Alternative(NamedTuple):
    bounds: tuple[_Bound, ...]
    named_prereleases: frozenset[_Parts]  # whose prereleases the range names itself, and so means

    def has(self, version: Version, prereleases: bool) -> bool:
        if not (version.is_release or prereleases or version[:3] in self.named_prereleases):
            return False
        return all(bound.compare(version, bound.limit) for bound in self.bounds)


class VersionRange(NamedTuple):
    """Alternatives, one of which must hold a version."""

    alternatives: tuple[_Alternative, ...]

    def has(self, version: Version, *, prereleases: bool = False) -> bool:
        """Tell whether a version lies within; a prerelease only on demand, or where the range names one of its own."""
        return any(alternative.has(version, prereleases) for alternative in self.alternatives)


def parse_version(tag: str) -> Version | None:
    """Read a tag as a version: `3.20` is 3.20.0, and `3.13-slim` a prerelease of 3.13.0; None where it is none."""
    match = _VERSION.fullmatch(tag)
    if match is None:
        return None
    parts = tuple(int(part or 0) for part in match.groups()[:3])
    return _version(parts, _identifiers(match[4]) if match[4] else ())


def parse_range(text: str) -> VersionRange:
    """Read a range. Raises InvalidPatternError."""
    alternatives = text.split("||")
    if not all(map(str.strip, alternatives)):
        raise InvalidPatternError(text, "there is no version in a part of it", _ADVICE)
    return VersionRange(tuple(_alternative(text, alternative) for alternative in alternatives))


def _alternative(text: str, written: str) -> _Alternative:
    if hyphen := _HYPHEN.fullmatch(written):
        terms = [(">=", hyphen[1]), ("<=", hyphen[2])]
    else:
        words = _SEPARATOR.split(_SPACE_BEHIND_OPERATOR.sub(r"\1", written).strip(" ,"))
        terms = [_term(text, word) for word in words]
    bounds: list[_Bound] = []
    named: set[_Parts] = set()
    for sign, word in terms:
        parts, prerelease = _written_version(text, word)
        if prerelease:
            named.add(parts)
        bounds += _bounds(text, sign, parts, prerelease)
    return _Alternative(tuple(bounds), frozenset(named))


def _term(text: str, word: str) -> tuple[str, str]:
    version = word.lstrip("<>=~^")
    sign = word[: len(word) - len(version)]
    if sign not in _SIGNS:
        raise InvalidPatternError(text, f"{sign[:80]!r} is no operator", _ADVICE)
    if not version:
        raise InvalidPatternError(text, "an operator stands without a version", _ADVICE)
    return sign, version


def _written_version(text: str, word: str) -> tuple[_Parts, tuple[_Identifier, ...]]:
    """The parts that are named, three of them where a prerelease is named too, and the prerelease."""
    if _PARTIAL.fullmatch(word):
        return tuple(int(part) for part in re.findall("[0-9]+", word)), ()
    version, match = parse_version(word), _VERSION.fullmatch(word)
    if version is None or match is None:
        raise InvalidPatternError(text, f"{word[:80]!r} is no version", _ADVICE)
    named = 3 if version.prerelease else sum(part is not None for part in match.groups()[:3])
    return (version.major, version.minor, version.patch)[:named], version.prerelease


def _bounds(text: str, sign: str, parts: _Parts, prerelease: tuple[_Identifier, ...]) -> Iterator[_Bound]:
    if not parts:  # a star
        if sign in ("<", ">"):
            _refuse_star(text, sign)
        return
    whole = len(parts) == 3
    low = _version(parts, prerelease if whole else _LOWEST)
    match sign:
        case "<":
            yield _Bound(operator.lt, low)
        case "<=":
            yield _Bound(operator.le, low) if whole else _Bound(operator.lt, _after(parts))
        case ">":
            yield _Bound(operator.gt, low) if whole else _Bound(operator.ge, _after(parts))
        case ">=":
            yield _Bound(operator.ge, low)
        case "^":
            yield from (_Bound(operator.ge, low), _Bound(operator.lt, _after(_up_to_first_counting(parts))))
        case "~" | "~>":
            yield from (_Bound(operator.ge, low), _Bound(operator.lt, _after(parts[:2])))
        case _:
            yield _Bound(operator.ge, low)
            yield _Bound(operator.le, low) if whole else _Bound(operator.lt, _after(parts))


def _refuse_star(text: str, sign: str) -> NoReturn:
    raise InvalidPatternError(text, f"nothing is {sign} any version", _ADVICE)


def _after(parts: _Parts) -> Version:
    """The lowest version above all that begin with these parts."""
    return _version((*parts[:-1], parts[-1] + 1), _LOWEST)


def _up_to_first_counting(parts: _Parts) -> _Parts:
    """`^` lets everything move behind the first part that is not zero."""
    first = next((place for place, part in enumerate(parts) if part), len(parts) - 1)
    return parts[: first + 1]


def _version(parts: _Parts, prerelease: tuple[_Identifier, ...]) -> Version:
    major, minor, patch = (*parts, 0, 0)[:3]
    return Version(major, minor, patch, not prerelease, prerelease)


def _identifiers(text: str) -> tuple[_Identifier, ...]:
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split("."))


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
