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

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_GO_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_CHECK_EVERY = (timedelta(minutes=1), timedelta(hours=24))
_EVERYTHING = frozenset({".*", "^.*$", ".+", "^.+$"})


def mapping_of(value: Any) -> Mapping[Any, Any]:
    """Return a mapping as it is, anything else as an empty one."""
    return value if isinstance(value, Mapping) else {}


def items_of(value: Any) -> list[Any]:
    """Return a list as it is, nothing as an empty one, a single value as a list of one."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def texts_of(value: Any) -> list[str]:
    """Return the strings of a list."""
    return [item for item in items_of(value) if isinstance(item, str)]


def read_reference(text: str, where: str, imported: ImportResult) -> Reference | None:
    """Read a reference; one without a tag stays without."""
    try:
        return parse_reference(text, default_tag=None)
    except InvalidReferenceError as error:
        imported.leave_out(where, str(error))
        return None


def read_repository(path: str, where: str, imported: ImportResult) -> str | None:
    """Read the name of an ECR repository."""
    if is_repository_name(path):
        return path
    imported.leave_out(where, f"{path!r} is not a valid ECR repository name; choose another one")
    return None


def read_names(texts: Iterable[str], where: str, imported: ImportResult) -> Iterator[TagEntry]:
    """Read tags that are named, and digests."""
    for text in texts:
        if is_tag(text) or is_sha256(text):
            yield TagEntry(text)
        else:
            imported.leave_out(where, f"{text!r} is neither a tag nor a digest of sha256")


def is_sha256(text: str) -> bool:
    """Tell whether a text is a digest that rules can name without a tag."""
    return _SHA256.fullmatch(text) is not None


def read_regexes(texts: Iterable[str], where: str, imported: ImportResult) -> Iterator[TagEntry]:
    """Read regular expressions of whole tags. One that is a tag itself becomes its name."""
    for text in texts:
        pattern = text.removeprefix("^").removesuffix("$")
        if is_tag(pattern):
            yield TagEntry(pattern)
        elif text in _EVERYTHING:
            yield TagEntry(ALL_TAGS, PatternKind.GLOB)
        elif is_supported(TagEntry(pattern, PatternKind.REGEX), where, imported):
            yield TagEntry(pattern, PatternKind.REGEX)


def read_ranges(texts: Iterable[str], where: str, imported: ImportResult) -> Iterator[TagEntry]:
    """Read ranges of versions: Go's libraries separate by commas what npm separates by spaces."""
    for text in texts:
        joined = re.sub(r"([<>=~^]) +", r"\1", text.replace(",", " "))
        entry = TagEntry(" ".join(joined.split()), PatternKind.SEMVER)
        if is_supported(entry, where, imported):
            yield entry


def is_supported(entry: TagEntry, where: str, imported: ImportResult) -> bool:
    """Tell whether our rules support a pattern; report it where they do not."""
    try:
        check_pattern(TagPattern(entry.kind or PatternKind.GLOB, entry.text))
    except InvalidPatternError as error:
        imported.leave_out(where, f"invalid {entry.kind} {entry.text[:80]!r}: {error.cause}. {error.advice}")
        return False
    return True


def read_number(text: str, where: str, imported: ImportResult) -> float | None:
    """Read a number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        imported.leave_out(where, f"{text!r} is not a number above zero")
        return None
    return int(number) if number.is_integer() else number


def read_interval(text: str, where: str, imported: ImportResult) -> str | None:
    """Read a duration as Go writes it."""
    match = _GO_DURATION.fullmatch(text) if text else None
    if match is None:
        imported.leave_out(where, f"the interval {text!r} is not a duration; upstream is checked every 15 minutes")
        return None
    hours, minutes, seconds = (float(number or 0) for number in match.groups())
    wanted = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    allowed = min(max(wanted, _CHECK_EVERY[0]), _CHECK_EVERY[1])
    if allowed != wanted:
        imported.leave_out(where, f"the interval {text} is out of range and became {format_duration(allowed)}")
    return format_duration(allowed)
