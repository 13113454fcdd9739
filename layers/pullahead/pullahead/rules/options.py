"""What `defaults` and a rule may both say. Decides which times, platforms and templates are allowed."""

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from pullahead.oci import Repository
from pullahead.oci.platforms import is_platform
from pullahead.oci.registries import RepositorySettings
from pullahead.rules.creation import read_creation
from pullahead.rules.fields import (
    Place,
    Problems,
    read_count,
    read_field,
    read_fitting,
    read_flag,
    read_list,
    read_text,
    read_word,
)
from pullahead.rules.file_format import format_duration, parse_duration
from pullahead.rules.keys import MAX_COUNT
from pullahead.rules.model import WhenDeleted
from pullahead.rules.repository_names import (
    PLACEHOLDERS,
    REPOSITORY_ADVICE,
    TELLING_APART,
    fill,
    is_repository_name,
    placeholders,
)
from pullahead.rules.tag_patterns import InvalidPatternError, glob_matcher
from pullahead.rules.yaml_document import Mapping as MappingNode
from pullahead.rules.yaml_document import quoted, suggestion

DEFAULT_CHECK_EVERY = timedelta(minutes=15)
DEFAULT_ALERT_AFTER = timedelta(hours=6)
_SHORTEST = timedelta(minutes=1)
_LONGEST_CHECK_EVERY = timedelta(hours=24)
_LONGEST_ALERT_AFTER = timedelta(days=30)
_SAMPLE = Repository("ghcr.io", "team/app")


class Options(NamedTuple):
    """What a rule follows where it does not say otherwise."""

    repository: str = "{registry}/{path}"  # empty where what is written means nothing
    check_every: timedelta = DEFAULT_CHECK_EVERY
    alert_after: timedelta = DEFAULT_ALERT_AFTER
    platforms: tuple[str, ...] = ()
    immutable_tags: tuple[str, ...] = ()
    prereleases: bool = False
    min_tags: int = 0
    settings: RepositorySettings | None = None
    when_deleted: WhenDeleted = WhenDeleted.RESTORE


def read_defaults(fields: Mapping[str, Place], problems: Problems) -> Options:
    """Read what holds for every rule; its template must tell their repositories apart."""
    options = read_options(fields, Options(), problems)
    if options.repository and _tells_apart(fields.get("repository"), options.repository, problems):
        return options
    return options._replace(repository=Options().repository)


def _tells_apart(place: Place | None, template: str, problems: Problems) -> bool:
    if place is None:
        return True
    if not any(name in TELLING_APART for name in placeholders(template)):
        problems.add(place, "every rule would publish into one repository", "Write {path} or {name} into it.")
        return False
    if not is_repository_name(fill(template, _SAMPLE)):
        problems.add(place, f"{quoted(template)} gives no name that ECR allows", REPOSITORY_ADVICE)
        return False
    return True


def read_options(fields: Mapping[str, Place], base: Options, problems: Problems) -> Options:
    """Read what a rule says, on top of the defaults."""
    check_every, alert_after = _times(fields, base, problems)
    return Options(
        read_template(fields["repository"], problems) or "" if "repository" in fields else base.repository,
        check_every,
        alert_after,
        read_field(fields, "platforms", _platforms, problems, absent=base.platforms),
        read_field(fields, "immutable_tags", _globs, problems, absent=base.immutable_tags),
        read_field(fields, "prereleases", read_flag, problems, absent=base.prereleases),
        read_field(fields, "min_tags", _min_tags, problems, absent=base.min_tags),
        read_creation(fields["create"], base.settings, problems) if "create" in fields else base.settings,
        read_field(fields, "when_deleted", _when_deleted, problems, absent=base.when_deleted),
    )


def read_template(place: Place, problems: Problems) -> str | None:
    """Read the name of a repository, or a template of such names."""
    if isinstance(place.node, MappingNode):
        problems.add(place, "YAML reads braces at the beginning as a mapping", 'Quote it: "{registry}/{path}".')
        return None
    text = read_text(place, problems)
    if text is None:
        return None
    names = placeholders(text)
    unknown = [name for name in names if name not in PLACEHOLDERS]
    for name in unknown:
        problems.add(place, f"{quoted('{' + name + '}')} is no placeholder", suggestion(name, PLACEHOLDERS))
    if unknown:
        return None
    if not names and not is_repository_name(text):
        problems.add(place, f"{quoted(text)} is no name that ECR allows", REPOSITORY_ADVICE)
        return None
    return text


def _platforms(place: Place, problems: Problems) -> tuple[str, ...]:
    return read_list(place, _platform, problems)


def _platform(place: Place, problems: Problems) -> str | None:
    hint = "Write it like linux/amd64 or linux/arm/v7."
    return read_fitting(place, is_platform, problems, wrong="is no platform", hint=hint)


def _globs(place: Place, problems: Problems) -> tuple[str, ...]:
    return read_list(place, _glob, problems)


def _glob(place: Place, problems: Problems) -> str | None:
    text = read_text(place, problems)
    return text if text is None or is_tag_glob(place, text, problems) else None


def is_tag_glob(place: Place, text: str, problems: Problems) -> bool:
    """Tell whether a text is a glob of tags, and what is wrong with one that is not."""
    try:
        glob_matcher(text)
    except InvalidPatternError as error:
        problems.add(place, f"{quoted(text)} is no glob: {error.cause}", error.advice)
        return False
    return True


def _when_deleted(place: Place, problems: Problems) -> WhenDeleted | None:
    choices = {choice.value: choice for choice in WhenDeleted}
    word = read_text(place, problems)
    if word is not None and word not in choices:
        problems.add(place, f"{quoted(word)} is not known", suggestion(word, choices))
    return choices.get(word) if word is not None else None


def _min_tags(place: Place, problems: Problems) -> int | None:
    return read_count(place, problems, most=MAX_COUNT)


def _times(fields: Mapping[str, Place], base: Options, problems: Problems) -> tuple[timedelta, timedelta]:
    before = len(problems.found)
    check_every = read_time(fields, "check_every", base.check_every, problems, longest=_LONGEST_CHECK_EVERY)
    alert_after = read_time(fields, "alert_after", base.alert_after, problems, longest=_LONGEST_ALERT_AFTER)
    place = fields.get("alert_after") or fields.get("check_every")
    if place is not None and alert_after < check_every and len(problems.found) == before:
        shortest = format_duration(check_every)
        problems.add(
            place,
            f"alert_after ({format_duration(alert_after)}) is shorter than check_every ({shortest})",
            f"Write alert_after: {shortest} or longer.",
        )
    return check_every, alert_after


def read_time(
    fields: Mapping[str, Place],
    key: str,
    default: timedelta,
    problems: Problems,
    *,
    shortest: timedelta = _SHORTEST,
    longest: timedelta,
) -> timedelta:
    """Read a duration within limits."""
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
    if not shortest <= duration <= longest:
        problems.add(
            place, f"{text} is out of range", f"From {format_duration(shortest)} to {format_duration(longest)}."
        )
        return default
    return duration
