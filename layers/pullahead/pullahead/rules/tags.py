"""Which tags a rule follows, as data: names, patterns, and what is wrong with a pattern. Knows no listing."""

from enum import StrEnum
from typing import NamedTuple

from pullahead.errors import ConfigError

MAX_PATTERN_CHARACTERS = 200


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


class InvalidPatternError(ConfigError):
    """A pattern that means nothing: what is wrong with it, and how to write it."""

    def __init__(self, text: str, cause: str, advice: str = "") -> None:
        self.cause, self.advice = cause, advice
        hint = f" {advice}" if advice else ""
        super().__init__(f"{text[:80]!r} is no pattern of tags: {cause}.{hint}")
