"""The tags of a rule as people write them: names, globs, mappings of one pattern. Decides what may stand together."""

from collections.abc import Mapping
from typing import NamedTuple

from pullahead.oci.reference import TAG_ADVICE, is_tag
from pullahead.rules.fields import (
    Place,
    Problems,
    read_count,
    read_entries,
    read_items,
    read_list,
    read_optional,
    read_text,
)
from pullahead.rules.keys import MAX_COUNT
from pullahead.rules.options import Options
from pullahead.rules.tag_patterns import (
    WILDCARDS,
    InvalidPatternError,
    PatternKind,
    TagPattern,
    TagSelection,
    check_pattern,
    matches,
)
from pullahead.rules.yaml_document import Mapping as MappingNode
from pullahead.rules.yaml_document import quoted, suggestion

_KINDS = tuple(kind.value for kind in PatternKind)
_FOR_PATTERNS = ("exclude", "newest", "min_tags")
_ADVICE = f"{TAG_ADVICE} Globs are known too, {{regex: …}} and {{semver: …}}."


class Chosen(NamedTuple):
    """What is selected, and where each of the exact names stands."""

    selection: TagSelection
    names: tuple[Place, ...]


def read_chosen(fields: Mapping[str, Place], options: Options, problems: Problems) -> Chosen:
    """Read which tags a rule follows."""
    before = len(problems.found)
    items = _items(fields["tags"], problems) if "tags" in fields else ()
    read = [(item, _name_or_pattern(item, problems)) for item in items]
    names = [(item, name) for item, name in read if isinstance(name, str)]
    patterns = tuple(pattern for _, pattern in read if isinstance(pattern, TagPattern))
    exclude = read_list(fields["exclude"], _pattern, problems) if "exclude" in fields else ()
    newest = read_optional(fields, "newest", _newest, problems)
    if "tags" in fields and len(problems.found) == before:
        _check_effect(fields, patterns, exclude, problems)
        _check_names(names, exclude, problems)
    prereleases, min_tags = options.prereleases, options.min_tags if patterns else 0
    selection = TagSelection(tuple(name for _, name in names), patterns, exclude, prereleases, newest, min_tags)
    return Chosen(selection, tuple(item for item, _ in names))


def _items(place: Place, problems: Problems) -> tuple[Place, ...]:
    before = len(problems.found)
    items = read_items(place, problems)
    if not items and len(problems.found) == before:
        problems.add(place, "there is no tag in it", 'Write tags: ["latest"], say.')
    return items


def _newest(place: Place, problems: Problems) -> int | None:
    return read_count(place, problems, least=1, most=MAX_COUNT)


def _name_or_pattern(place: Place, problems: Problems) -> str | TagPattern | None:
    if isinstance(place.node, MappingNode):
        return _written_out(place, problems)
    text = read_text(place, problems)
    if text is None or is_tag(text):
        return text
    if any(wildcard in text for wildcard in WILDCARDS):
        return _checked(place, TagPattern(PatternKind.GLOB, text), problems)
    problems.add(place, f"{quoted(text)} is no tag", _ADVICE)
    return None


def _pattern(place: Place, problems: Problems) -> TagPattern | None:
    read = _name_or_pattern(place, problems)
    return TagPattern(PatternKind.GLOB, read) if isinstance(read, str) else read


def _written_out(place: Place, problems: Problems) -> TagPattern | None:
    entries = read_entries(place, problems) or {}
    unknown = [key for key in entries if key not in _KINDS]
    for key in unknown:
        problems.add(entries[key].key, f"{quoted(key)} is not known", suggestion(key, _KINDS))
    if unknown:
        return None
    if len(entries) != 1:
        problems.add(place, "it is not one pattern", f"Write one of {', '.join(_KINDS)} in each item of the list.")
        return None
    ((kind, entry),) = entries.items()
    at = Place(entry.value, f"{place.path}.{kind}")
    text = read_text(at, problems)
    return _checked(at, TagPattern(PatternKind(kind), text), problems) if text is not None else None


def _checked(place: Place, pattern: TagPattern, problems: Problems) -> TagPattern | None:
    try:
        check_pattern(pattern)
    except InvalidPatternError as error:
        problems.add(place, f"{quoted(pattern.text)} is no {pattern.kind}: {error.cause}", error.advice)
        return None
    return pattern


def _check_effect(
    fields: Mapping[str, Place],
    patterns: tuple[TagPattern, ...],
    exclude: tuple[TagPattern, ...],
    problems: Problems,
) -> None:
    if not patterns:
        for key in _FOR_PATTERNS:
            if key in fields:
                problems.add(
                    fields[key],
                    "it has no effect, since every tag is named",
                    "Add a pattern to `tags`, or leave it out.",
                )
    if "prereleases" in fields and not any(pattern.kind is PatternKind.SEMVER for pattern in (*patterns, *exclude)):
        problems.add(fields["prereleases"], "it has no effect, since no pattern is a semver range", "Leave it out.")


def _check_names(names: list[tuple[Place, str]], exclude: tuple[TagPattern, ...], problems: Problems) -> None:
    for place, name in names:
        if any(matches(pattern, name, prereleases=True) for pattern in exclude):
            problems.add(place, f"{quoted(name)} is named here and excluded as well", "Leave out one of the two.")
