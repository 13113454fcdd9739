"""Tag selection: names, globs, regular expressions and semver ranges, and which tags of a listing they choose. Pure.

Sources: Semantic Versioning 2.0.0, items 10 (build metadata) and 11 (precedence); node-semver, "Ranges"; Helm
documentation, "Use OCI-based registries". Tags differ from both: they have no plus sign (OCI distribution
specification 1.1, "Pulling manifests"), so that Helm and others write `1.2.3+build` as `1.2.3_build`; they may begin
with a `v`, have one to three parts, and have parts such as the 04 of 24.04.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple, NoReturn

from pullahead.errors import ConfigError, ListingShrunkError
from pullahead.rules.published_tags import SAME_NAME, NamedTag, is_previous_tag, publish_as, published_from

MAX_PATTERN_CHARACTERS = 200


class InvalidPatternError(ConfigError):
    """A pattern that is refused: the cause, and how to write it."""

    def __init__(self, text: str, cause: str, advice: str = "") -> None:
        self.cause, self.advice = cause, advice
        hint = f" {advice}" if advice else ""
        super().__init__(f"invalid tag pattern {text[:80]!r}: {cause}.{hint}")


class PatternKind(StrEnum):
    """The syntax of a pattern."""

    GLOB = "glob"
    REGEX = "regex"
    SEMVER = "semver"


class TagPattern(NamedTuple):
    """A pattern that tags are matched with."""

    kind: PatternKind
    text: str

    def __str__(self) -> str:
        return f'"{self.text}"' if self.kind is PatternKind.GLOB else f'{self.kind.value}: "{self.text}"'


class TagSelection(NamedTuple):
    """Which tags of a repository a rule follows, and under which names in ECR.

    Names are never listed; patterns choose from upstream's listing. Both are published by `template`; `renamed` are
    named with a name in ECR of their own, or are pinned to a digest.
    """

    names: tuple[str, ...] = ()
    patterns: tuple[TagPattern, ...] = ()
    exclude: tuple[TagPattern, ...] = ()
    prereleases: bool = False
    newest: int | None = None
    min_tags: int = 0  # a listing with fewer matching tags is an upstream fault
    template: str = SAME_NAME
    renamed: tuple[NamedTag, ...] = ()

    @property
    def named(self) -> tuple[NamedTag, ...]:
        """Every tag that is named, with its name in ECR."""
        return (*(NamedTag(name, publish_as(self.template, name)) for name in self.names), *self.renamed)

    def is_named(self, target: str) -> bool:
        """Tell whether a tag in ECR is published because it is named, not chosen by a pattern."""
        by_template = published_from(self.template, target)
        return by_template in self.names or any(each.target == target for each in self.renamed)

    def published_as(self, target: str) -> NamedTag | None:
        """Find what is published under a tag in ECR, as far as names and patterns tell; None for nothing."""
        renamed = next((each for each in self.renamed if each.target == target), None)
        if renamed is not None:
            return renamed
        tag = published_from(self.template, target)
        return NamedTag(tag, target) if tag is not None and allows(self, tag) else None

    def targets_of(self, tag: str) -> tuple[str, ...]:
        """List the names in ECR under which an upstream tag is published, as far as names and patterns tell."""
        renamed = {each.target: each.name for each in self.renamed}
        by_template = publish_as(self.template, tag)
        follows = by_template not in renamed and allows(self, tag)
        return (*([by_template] if follows else []), *(target for target, name in renamed.items() if name == tag))


_Matcher = Callable[[str], bool]


def select(selection: TagSelection, listed: Iterable[str]) -> tuple[str, ...]:
    """Choose tags from a listing by patterns, newest first, without those whose name in ECR a named tag has.

    Raises ListingShrunkError where fewer than `min_tags` match, counted before `newest`; InvalidPatternError.
    """
    if not selection.patterns:
        return ()
    tags = tuple(dict.fromkeys(listed))
    is_chosen = _chooser_of(selection)
    matching = [tag for tag in tags if is_chosen(tag)]
    if len(matching) < selection.min_tags:
        raise ListingShrunkError(
            f"upstream lists {len(tags)} tags, of which {len(matching)} match the rule; min_tags is "
            f"{selection.min_tags}. The tags followed so far stay followed."
        )
    matching.sort(key=sort_key, reverse=True)
    named = frozenset(each.target for each in selection.named)
    newest = matching[: selection.newest]
    return tuple(tag for tag in newest if publish_as(selection.template, tag) not in named)


def allows(selection: TagSelection, tag: str) -> bool:
    """Tell whether an upstream tag is named or matches the patterns, to be published by the template.

    Whether it is among the newest takes a listing.
    """
    if tag in selection.names:
        return True
    return _chooser_of(selection)(tag)


def why_unmatched(selection: TagSelection, tag: str) -> str:
    """Say why a selection does not allow a tag; "" if it does."""
    if allows(selection, tag):
        return ""
    excluding = next((each for each in selection.exclude if matches(each, tag, prereleases=True)), None)
    if excluding is not None:
        return f"excluded by {excluding}"
    if not selection.prereleases and any(matches(each, tag, prereleases=True) for each in selection.patterns):
        return "left out as a prerelease, since the rule has no `prereleases: true`"
    if is_previous_tag(tag):
        return "no mirror of its own: it keeps what another tag served before it moved"
    return f"matched by nothing in the rule, which selects {selection_text(selection)}"


_MAX_SHOWN = 8


def selection_text(selection: TagSelection) -> str:
    """Write what a selection selects, as in a rules file."""
    parts = [*selection.names, *map(_named_text, selection.renamed), *map(str, selection.patterns)]
    more = [f"{len(parts) - _MAX_SHOWN} more"] if len(parts) > _MAX_SHOWN else []
    shown = ", ".join([*parts[:_MAX_SHOWN], *more])
    options = [f"without {', '.join(map(str, selection.exclude))}"] if selection.exclude else []
    options += [f"newest: {selection.newest}"] if selection.newest is not None else []
    options += [f"as {selection.template}"] if selection.template != SAME_NAME else []
    return "; ".join([shown, *options])


def _named_text(named: NamedTag) -> str:
    if named.name is None:
        return str(named.digest)
    pinned = named.name if named.digest is None else f"{named.name}@{named.digest}"
    return pinned if named.name == named.target else f"{pinned} as {named.target}"


def check_pattern(pattern: TagPattern) -> None:
    """Validate a pattern. Raises InvalidPatternError."""
    _matcher(pattern, prereleases=False)


def matches(pattern: TagPattern, tag: str, *, prereleases: bool = False) -> bool:
    """Tell whether a tag matches a pattern. Raises InvalidPatternError."""
    return _matcher(pattern, prereleases)(tag)


_NUMBER = re.compile(r"([0-9]+)")


def sort_key(tag: str) -> tuple["Version", tuple[int | str, ...], str]:
    """Order tags from old to new: versions after all others and by precedence, the rest by name, numbers as numbers.

    No two tags are equal, so the order of the listing does not matter.
    """
    words = _NUMBER.split(tag)  # words and numbers alternate, so each is compared with its like
    natural = tuple(int(word) if place % 2 else word for place, word in enumerate(words))
    return parse_version(tag) or _NO_VERSION, natural, tag


def _chooser_of(selection: TagSelection) -> _Matcher:
    leaves_out = selection.newest is not None and not selection.prereleases
    return _chooser(selection.patterns, selection.exclude, selection.prereleases, leaves_out)


@lru_cache(maxsize=1024)
def _chooser(
    patterns: tuple[TagPattern, ...], exclude: tuple[TagPattern, ...], prereleases: bool, leaves_out: bool
) -> _Matcher:
    """Compile a selection. `leaves_out` prereleases also from what globs and regular expressions match."""
    wanted = [_matcher(pattern, prereleases) for pattern in patterns]
    if leaves_out:
        wanted = [_released(pattern, match) for pattern, match in zip(patterns, wanted, strict=True)]
    unwanted = [_matcher(pattern, prereleases=True) for pattern in exclude]
    return lambda tag: (
        any(match(tag) for match in wanted) and not any(match(tag) for match in unwanted) and not is_previous_tag(tag)
    )


@lru_cache(maxsize=4096)
def _matcher(pattern: TagPattern, prereleases: bool) -> _Matcher:
    text = pattern.text
    if len(text) > MAX_PATTERN_CHARACTERS:
        raise InvalidPatternError(text, f"it has more than {MAX_PATTERN_CHARACTERS} characters")
    match pattern.kind:
        case PatternKind.GLOB:
            return glob_matcher(text)
        case PatternKind.REGEX:
            return _regex_matcher(text)
    versions = parse_range(text)

    def is_within(tag: str) -> bool:
        version = parse_version(tag)
        return version is not None and versions.contains(version, prereleases=prereleases)

    return is_within


def _released(pattern: TagPattern, match: _Matcher) -> _Matcher:
    """Leave out the prereleases that a pattern matches, unless it asks for them itself.

    A glob does where it does not match the release, as `v*-rc*` does not match v3.0.0; a regular expression where it
    has a dash.
    """
    is_explicit = pattern.kind is PatternKind.REGEX and "-" in _CLASS.sub("", pattern.text)
    if pattern.kind is PatternKind.SEMVER or is_explicit:
        return match

    def is_chosen(tag: str) -> bool:
        release = release_of(tag)
        return match(tag) and (release is None or not match(release))

    return is_chosen


# --- Globs ------------------------------------------------------------------------------------------------------------

WILDCARDS = "*?["
"""Characters that make a text a glob: no tag has them."""

_GLOB = re.compile(r"(?:[A-Za-z0-9_.*?-]|\[!?[A-Za-z0-9_.-]+\])+")


def glob_matcher(text: str) -> _Matcher:
    """Compile a glob of tags: `*`, `?`, `[a-z]` and `[!a-z]`. Raises InvalidPatternError."""
    if _GLOB.fullmatch(text) is None:
        raise InvalidPatternError(
            text,
            "it has a character that no tag has, or an unclosed [",
            "Use letters, digits, dots, dashes, underscores, *, ? and [a-z].",
        )
    try:
        compiled = re.compile(translate(text))  # never backtracks past a star: linear in the tag
    except re.error as error:
        raise InvalidPatternError(text, error.msg, "Write ranges from low to high, like [a-z].") from error
    return lambda tag: compiled.match(tag) is not None


# --- Regular expressions ----------------------------------------------------------------------------------------------

_MAX_REGEX_BYTES = 1024 * 1024
"""Of memory for one expression, compiled program and caches together; RE2's default is 8 MiB."""
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_CLASS_OR_GROUP_OPENING = re.compile(rf"{_CLASS.pattern}|\(\?(?:[A-Za-z-]*:|P<)")
_NEVER_IN_TAGS = re.compile(r"[^A-Za-z0-9_.()\[\]{}|*+?^$\\,<>=!-]")
"""Neither in tags nor in the syntax of expressions outside of classes and `(?:`."""
_LITERAL_BRACE = re.compile(r"\\\{|\{(?![0-9]+(?:,[0-9]*)?\})")
_REGEX_ADVICE = "Write it with characters, [classes], (groups), |, and * + ? {m,n}; it must match the whole tag."


def _regex_matcher(text: str) -> _Matcher:
    """Compile an expression that must match a whole tag, in time linear in the tag. Raises InvalidPatternError."""
    _check_regex(text)
    import re2  # noqa: PLC0415 - takes 10 to 40 ms, and few rules have regular expressions

    options = re2.Options()
    options.never_capture, options.log_errors, options.max_mem = True, False, _MAX_REGEX_BYTES
    try:
        compiled = re2.compile(text, options)
    except re2.error as error:
        raise InvalidPatternError(text, _regex_cause(error), _REGEX_ADVICE) from error
    return lambda tag: compiled.fullmatch(tag) is not None


def _check_regex(text: str) -> None:
    """Refuse what RE2 takes although it matches no tag."""
    if not text:
        raise InvalidPatternError(text, "it is empty", _REGEX_ADVICE)
    rest = _CLASS_OR_GROUP_OPENING.sub("", text)
    if found := _NEVER_IN_TAGS.search(rest):
        raise InvalidPatternError(text, f"no tag has the character {found[0]!r}", _REGEX_ADVICE)
    if _LITERAL_BRACE.search(rest):  # RE2 reads it as a character; Python reads {,n} as {0,n}
        raise InvalidPatternError(text, "a { must begin {m}, {m,} or {m,n}", _REGEX_ADVICE)


def _regex_cause(error: Exception) -> str:
    detail = error.args[0]
    cause = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
    name, _, part = cause.partition(": ")
    if name == "invalid perl operator":
        return f"look-around and other groups that begin with {part} are not supported"
    if name == "invalid escape sequence" and part[1:].isdigit():
        return f"the back reference {part} is not supported"
    return cause


# --- Versions ---------------------------------------------------------------------------------------------------------

_Identifier = tuple[int, int, str]  # a number comes before any word, and numbers compare as such
_Parts = tuple[int, ...]

_SUFFIX = r"-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)"
_BUILD = r"_[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)*"
_VERSION = re.compile(rf"[vV]?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:{_SUFFIX})?")
_BUILT = re.compile(rf"([vV]?[0-9]+\.[0-9]+\.[0-9]+)({_SUFFIX})?{_BUILD}({_SUFFIX})?")
"""A whole version with build metadata, which do not count in comparisons. A suffix behind them makes a prerelease, too:
`21.0.5_11-jdk` is a variant like `21.0.5-jdk`, and `1.0.0_up2.0.0-rc1` is no release."""
_PRERELEASE_WORD = re.compile(
    r"(?:alpha|beta|canary|cr|dev|ea|edge|experimental|milestone|next|nightly|pr|pre|preview|rc|snapshot|test|unstable)"
    r"[0-9]*|[abm][0-9]+",
    re.IGNORECASE,
)
_SIGNS = frozenset({"", "=", "==", "<", "<=", ">", ">=", "~", "~>", "^"})
_PARTIAL = re.compile(r"[vV]?(?:[0-9]+\.){0,2}[xX*](?:\.[xX*]){0,2}")
_SPACE_BEHIND_OPERATOR = re.compile(r"([<>=~^])\s+")
_SEPARATOR = re.compile(r"[\s,]+")
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")
_LOWEST: tuple[_Identifier, ...] = ((0, 0, ""),)  # `-0`, before every other prerelease
_RANGE_ADVICE = 'Write it like ">=3.18 <4", "~1.2", "^1.2", "1.x", "1.2 - 1.4" or "1.x || 3.x".'


class Version(NamedTuple):
    """A version, ordered by precedence: a release comes after its prereleases."""

    major: int
    minor: int
    patch: int
    is_release: bool
    prerelease: tuple[_Identifier, ...]


_NO_VERSION = Version(-1, 0, 0, False, ())


class _Bound(NamedTuple):
    compare: Callable[[Version, Version], bool]
    limit: Version


class _Alternative(NamedTuple):
    bounds: tuple[_Bound, ...]
    named_prereleases: frozenset[_Parts]  # versions of which the range names a prerelease itself

    def contains(self, version: Version, prereleases: bool) -> bool:
        if not (version.is_release or prereleases or version[:3] in self.named_prereleases):
            return False
        return all(bound.compare(version, bound.limit) for bound in self.bounds)


class VersionRange(NamedTuple):
    """A range of versions: alternatives, one of which must contain a version."""

    alternatives: tuple[_Alternative, ...]

    def contains(self, version: Version, *, prereleases: bool = False) -> bool:
        """Tell whether a version is in the range; a prerelease only if asked for, or if the range names one like it."""
        return any(alternative.contains(version, prereleases) for alternative in self.alternatives)


def parse_version(tag: str) -> Version | None:
    """Parse a tag as a version: `3.20` is 3.20.0, `3.13-slim` a prerelease of 3.13.0; None for any other tag.

    `1.2.3_up1.0` is 1.2.3 with build metadata, as Helm writes the chart version 1.2.3+up1.0.
    """
    match = _VERSION.fullmatch(_without_build(tag))
    if match is None:
        return None
    parts = tuple(int(part or 0) for part in match.groups()[:3])
    return _version(parts, _identifiers(match[4]) if match[4] else ())


def release_of(tag: str) -> str | None:
    """Name the release that a tag such as `v3.0.0-rc.1` comes before: `v3.0.0`; None for any other tag.

    Only words that mean so make a prerelease here: in tags, a suffix such as `-slim` or `-1` is no less than a release.
    """
    version, dash, suffix = tag.partition("-")
    suffix, underscore, build = suffix.partition("_")
    if not dash or parse_version(tag) is None:
        return None
    is_prerelease = any(_PRERELEASE_WORD.fullmatch(word) for word in re.split("[.-]", suffix))
    return f"{version}{underscore}{build}" if is_prerelease else None


def _without_build(tag: str) -> str:
    built = _BUILT.fullmatch(tag)
    if built is None:
        return tag
    version, before, _, behind, _ = built.groups()
    return f"{version}{before or behind or ''}"


def parse_range(text: str) -> VersionRange:
    """Parse a range. Raises InvalidPatternError."""
    alternatives = text.split("||")
    if not all(map(str.strip, alternatives)):
        raise InvalidPatternError(text, "a part of the range is empty", _RANGE_ADVICE)
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
        raise InvalidPatternError(text, f"{sign[:80]!r} is not an operator", _RANGE_ADVICE)
    if not version:
        raise InvalidPatternError(text, "an operator has no version", _RANGE_ADVICE)
    return sign, version


def _written_version(text: str, word: str) -> tuple[_Parts, tuple[_Identifier, ...]]:
    """Return the parts that are written (three where a prerelease follows), and the prerelease."""
    if _PARTIAL.fullmatch(word):
        return tuple(int(part) for part in re.findall("[0-9]+", word)), ()
    word = _without_build(word.replace("+", "_"))
    version, match = parse_version(word), _VERSION.fullmatch(word)
    if version is None or match is None:
        raise InvalidPatternError(text, f"{word[:80]!r} is not a version", _RANGE_ADVICE)
    named = 3 if version.prerelease else sum(part is not None for part in match.groups()[:3])
    return (version.major, version.minor, version.patch)[:named], version.prerelease


def _bounds(text: str, sign: str, parts: _Parts, prerelease: tuple[_Identifier, ...]) -> Iterator[_Bound]:
    if not parts:  # a star
        if sign in ("<", ">"):
            _refuse_any(text, sign)
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
            yield from (_Bound(operator.ge, low), _Bound(operator.lt, _after(_fixed_by_caret(parts))))
        case "~" | "~>":
            yield from (_Bound(operator.ge, low), _Bound(operator.lt, _after(parts[:2])))
        case _:
            yield _Bound(operator.ge, low)
            yield _Bound(operator.le, low) if whole else _Bound(operator.lt, _after(parts))


def _refuse_any(text: str, sign: str) -> NoReturn:
    raise InvalidPatternError(text, f"no version is {sign} *", _RANGE_ADVICE)


def _after(parts: _Parts) -> Version:
    """Return the lowest version above all that begin with these parts."""
    return _version((*parts[:-1], parts[-1] + 1), _LOWEST)


def _fixed_by_caret(parts: _Parts) -> _Parts:
    """Keep the parts that `^` fixes: up to the first that is not zero."""
    first = next((place for place, part in enumerate(parts) if part), len(parts) - 1)
    return parts[: first + 1]


def _version(parts: _Parts, prerelease: tuple[_Identifier, ...]) -> Version:
    major, minor, patch = (*parts, 0, 0)[:3]
    return Version(major, minor, patch, not prerelease, prerelease)


def _identifiers(text: str) -> tuple[_Identifier, ...]:
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split("."))
