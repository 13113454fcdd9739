"""Values that other tools' files share: references, regular expressions, hosts. Says what cannot be carried over."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from pullahead.oci import InvalidReferenceError, Reference, parse_reference
from pullahead.oci.reference import is_tag
from pullahead.rules.file_format import format_duration
from pullahead.rules.importers.result import ALL_TAGS, ImportResult, TagEntry
from pullahead.rules.repository_names import is_repository_name
from pullahead.rules.tag_patterns import InvalidPatternError, PatternKind, TagPattern, check_pattern

_GO_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_CHECK_EVERY = (timedelta(minutes=1), timedelta(hours=24))
_EVERYTHING = frozenset({".*", "^.*$", ".+", "^.+$"})


def mapping_of(value: Any) -> Mapping[Any, Any]:
    """Take a value for a mapping, or for an empty one where it is something else."""
    return value if isinstance(value, Mapping) else {}


def items_of(value: Any) -> list[Any]:
    """Take a value for a list: nothing is an empty one, a single value a list of one."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def texts_of(value: Any) -> list[str]:
    """Take a value for a list of texts."""
    return [item for item in items_of(value) if isinstance(item, str)]


def read_reference(text: str, where: str, imported: ImportResult) -> Reference | None:
    """Read a reference without a tag by default."""
    try:
        return parse_reference(text, default_tag=None)
    except InvalidReferenceError as error:
        imported.leave_out(where, str(error))
        return None


def read_repository(path: str, where: str, imported: ImportResult) -> str | None:
    """Check that ECR allows the name of a repository."""
    if is_repository_name(path):
        return path
    imported.leave_out(where, f"{path!r} is no name that ECR allows for a repository; choose another one")
    return None


def read_names(texts: Iterable[str], where: str, imported: ImportResult) -> Iterator[TagEntry]:
    """Read tags that are named."""
    for text in texts:
        if is_tag(text):
            yield TagEntry(text)
        else:
            imported.leave_out(where, f"{text!r} is no tag; a digest never moves, so there is nothing to keep fresh")


def read_regexes(texts: Iterable[str], where: str, imported: ImportResult) -> Iterator[TagEntry]:
    """Read regular expressions that must fit the whole tag. One that is a tag itself is taken for its name."""
    for text in texts:
        pattern = text.removeprefix("^").removesuffix("$")
        if is_tag(pattern):
            yield TagEntry(pattern)
        elif text in _EVERYTHING:
            yield TagEntry(ALL_TAGS, PatternKind.GLOB)
        elif is_understood(TagEntry(pattern, PatternKind.REGEX), where, imported):
            yield TagEntry(pattern, PatternKind.REGEX)


def read_ranges(texts: Iterable[str], where: str, imported: ImportResult) -> Iterator[TagEntry]:
    """Read ranges of versions: Go's libraries part by commas what npm parts by spaces."""
    for text in texts:
        joined = re.sub(r"([<>=~^]) +", r"\1", text.replace(",", " "))
        entry = TagEntry(" ".join(joined.split()), PatternKind.SEMVER)
        if is_understood(entry, where, imported):
            yield entry


def is_understood(entry: TagEntry, where: str, imported: ImportResult) -> bool:
    """Tell whether the rules' own reader takes a pattern."""
    try:
        check_pattern(TagPattern(entry.kind or PatternKind.GLOB, entry.text))
    except InvalidPatternError as error:
        imported.leave_out(where, f"the {entry.kind} {entry.text[:80]!r} cannot be used: {error.cause}. {error.advice}")
        return False
    return True


def read_number(text: str, where: str, imported: ImportResult) -> float | None:
    """Read a number above zero, whole where it is whole."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        imported.leave_out(where, f"{text!r} is no number above zero")
        return None
    return int(number) if number.is_integer() else number


def read_interval(text: str, where: str, imported: ImportResult) -> str | None:
    """Read a duration as Go writes it."""
    match = _GO_DURATION.fullmatch(text) if text else None
    if match is None:
        imported.leave_out(where, f"the interval {text!r} is no duration; checks are made every 15 minutes")
        return None
    hours, minutes, seconds = (float(number or 0) for number in match.groups())
    wanted = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    allowed = min(max(wanted, _CHECK_EVERY[0]), _CHECK_EVERY[1])
    if allowed != wanted:
        imported.leave_out(where, f"the interval {text} became {format_duration(allowed)}, the nearest that is allowed")
    return format_duration(allowed)
