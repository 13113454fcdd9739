"""Versions as tags write them, and ranges of them as npm writes those. Pure.

Sources: Semantic Versioning 2.0.0, item 11 (precedence); node-semver, "Ranges". Tags differ from both: they have no
`+build` (OCI distribution specification 1.1, "Pulling manifests"), a `v` or none, one to three parts, and parts such as
the 04 of 24.04.
"""

import operator
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

from pullahead.rules.tags import InvalidPatternError

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
