"""The list of mirrors in a rules file. Decides which upstreams, targets and times are allowed."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple

from pullahead.oci import InvalidReferenceError, Reference, Repository, parse_reference
from pullahead.oci.reference import TAG_ADVICE, is_tag
from pullahead.rules.fields import Place, Problems, is_empty, read_field, read_fields, read_items, read_text, read_word
from pullahead.rules.model import Mirror, mirror_key
from pullahead.rules.problems import quoted
from pullahead.rules.values import format_duration, is_repository_name, parse_duration

DEFAULT_CHECK_EVERY = timedelta(minutes=15)
DEFAULT_ALERT_AFTER = timedelta(hours=6)
_SHORTEST = timedelta(minutes=1)
_LONGEST_CHECK_EVERY = timedelta(hours=24)
_LONGEST_ALERT_AFTER = timedelta(days=30)
_REQUIRED = ("upstream", "tags", "repository")
_KNOWN = (*_REQUIRED, "check_every", "alert_after")


class _Tag(NamedTuple):
    place: Place
    text: str


def read_mirrors(place: Place, problems: Problems) -> tuple[Mirror, ...]:
    """Read the list of mirrors: one mirror for each tag."""
    if is_empty(place.node):
        return ()
    first_lines: dict[str, int] = {}
    items = read_items(place, problems)
    return tuple(mirror for item in items for mirror in _mirrors(item, first_lines, problems))


def _mirrors(place: Place, first_lines: dict[str, int], problems: Problems) -> Iterator[Mirror]:
    fields = read_fields(place, _KNOWN, _REQUIRED, problems)
    upstream = read_field(fields, "upstream", _upstream, problems, absent=None)
    tags = read_field(fields, "tags", _tags, problems, absent=())
    repository = read_field(fields, "repository", _repository, problems, absent=None)
    check_every, alert_after = _times(fields, problems)
    if repository is None:
        return
    for tag in tags:
        _claim(tag, mirror_key(repository, tag.text), first_lines, problems)
        if upstream is not None:
            yield Mirror(Reference(upstream, tag.text), repository, tag.text, check_every, alert_after)


def _upstream(place: Place, problems: Problems) -> Repository | None:
    text = read_text(place, problems)
    if text is None:
        return None
    try:
        reference = parse_reference(text, default_tag=None)
    except InvalidReferenceError as error:
        problems.add(place, f"it is no reference: {error.cause}", error.advice)
        return None
    if reference.digest is not None:
        problems.add(
            place, "a digest never moves, so there is nothing to keep fresh", "Name the repository alone, and tags."
        )
    elif reference.tag is not None:
        problems.add(place, "the tag does not belong here", f'Move it to tags: ["{reference.tag}"].')
    return reference.repository


def _tags(place: Place, problems: Problems) -> tuple[_Tag, ...]:
    before = len(problems.found)
    items = read_items(place, problems)
    if not items and len(problems.found) == before:
        problems.add(place, "there is no tag in it", 'Write tags: ["latest"], say.')
    tags = []
    for item in items:
        text = read_text(item, problems)
        if text is None:
            continue
        if is_tag(text):
            tags.append(_Tag(item, text))
        else:
            problems.add(item, f"{quoted(text)} is no tag", TAG_ADVICE)
    return tuple(tags)


def _repository(place: Place, problems: Problems) -> str | None:
    text = read_text(place, problems)
    if text is None or is_repository_name(text):
        return text
    problems.add(
        place,
        f"{quoted(text)} is no name that ECR allows",
        "Write 2 to 256 lower-case letters and digits, joined by single dots, dashes, underscores or slashes.",
    )
    return None


def _claim(tag: _Tag, key: str, first_lines: dict[str, int], problems: Problems) -> None:
    if key in first_lines:
        problems.add(
            tag.place, f"{key} is named on line {first_lines[key]} already", "A tag can follow one upstream only."
        )
    else:
        first_lines[key] = tag.place.node.line


def _times(fields: Mapping[str, Place], problems: Problems) -> tuple[timedelta, timedelta]:
    before = len(problems.found)
    check_every = _time(fields, "check_every", DEFAULT_CHECK_EVERY, _LONGEST_CHECK_EVERY, problems)
    alert_after = _time(fields, "alert_after", DEFAULT_ALERT_AFTER, _LONGEST_ALERT_AFTER, problems)
    if alert_after < check_every and len(problems.found) == before:
        place = fields.get("alert_after") or fields["check_every"]
        shortest = format_duration(check_every)
        problems.add(
            place,
            f"alert_after ({format_duration(alert_after)}) is shorter than check_every ({shortest})",
            f"Write alert_after: {shortest} or longer.",
        )
    return check_every, alert_after


def _time(
    fields: Mapping[str, Place], key: str, default: timedelta, longest: timedelta, problems: Problems
) -> timedelta:
    if key not in fields:
        return default
    place = fields[key]
    text = read_word(place, problems)
    if text is None:
        return default
    duration = parse_duration(text)
    if duration is None:
        problems.add(place, f"{quoted(text)} is no duration", "Write it with units, like 90s, 5m, 1h30m or 1d.")
        return default
    if not _SHORTEST <= duration <= longest:
        problems.add(
            place, f"{text} is out of range", f"From {format_duration(_SHORTEST)} to {format_duration(longest)}."
        )
        return default
    return duration
