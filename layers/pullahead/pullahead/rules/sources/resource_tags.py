"""Resource tags of ECR repositories → rules. Decides which tags are read, and the format of their values. Pure.

`pullahead:upstream` names the upstream repository, `pullahead:tags` its tags, separated by spaces, commas or slashes.
AWS allows letters, digits, spaces and `+ - = . _ : / @` in the value of a tag (Resource Groups Tagging API reference,
Tag), so a plus, which no OCI tag holds, stands for the star of a glob, and `semver:` begins a range of versions.
`upstream-image`, `upstream-tags` and `ignore-tags`, of ecr-mirror and ecr-mirror-sync, are read in the same way.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pullahead.oci import InvalidReferenceError, Repository, parse_reference
from pullahead.oci.reference import is_tag
from pullahead.rules.model import DEFAULT_ALERT_AFTER, DEFAULT_CHECK_EVERY, Rule, Source
from pullahead.rules.sources.findings import DescribedSource, TaggedRepository
from pullahead.rules.tag_patterns import InvalidPatternError, PatternKind, TagPattern, TagSelection, check_pattern

IGNORE = "pullahead:ignore"
UPSTREAM = ("pullahead:upstream", "upstream-image")
TAGS = ("pullahead:tags", "upstream-tags")
EXCLUDE = ("pullahead:ignore-tags", "ignore-tags")
MARKS = (*UPSTREAM, IGNORE)
"""A repository with one of these is relevant."""
READ = (*MARKS, *TAGS, *EXCLUDE)
"""Every tag that is read."""

_SEPARATOR = re.compile(r"[\s,/]+")
_SEMVER = "semver:"
_MAX_WORDS = 100


def is_ignored(repository: TaggedRepository) -> bool:
    """Tell whether a repository is tagged to be ignored."""
    return repository.tags.get(IGNORE, "").strip().lower() == "true"


def names_upstream(repository: TaggedRepository) -> bool:
    """Tell whether a repository's tags name an upstream to follow."""
    return not is_ignored(repository) and any(key in repository.tags for key in UPSTREAM)


def describe_tagged(repositories: Iterable[TaggedRepository]) -> DescribedSource:
    """Make a rule of every repository whose tags name an upstream; an invalid one is reported and skipped."""
    made: list[Rule] = []
    problems: list[str] = []
    for repository in filter(names_upstream, repositories):
        before = len(problems)
        upstream = _upstream(repository, problems)
        selection = _selection(repository, problems)
        if upstream is not None and len(problems) == before:
            made.append(_rule(repository.name, upstream, selection))
    return DescribedSource(tuple(made), (), tuple(problems))


def _upstream(repository: TaggedRepository, problems: list[str]) -> Repository | None:
    key, text = _first(repository.tags, UPSTREAM)
    try:
        reference = parse_reference(text.strip(), default_tag=None)
    except InvalidReferenceError as error:
        problems.append(f"{repository.name}: its resource tag {key}: {error}")
        return None
    if reference.tag is not None or reference.digest is not None:
        problems.append(f"{repository.name}: its resource tag {key} has a tag or a digest; write tags in {TAGS[0]}")
    return reference.repository


def _selection(repository: TaggedRepository, problems: list[str]) -> TagSelection:
    key, text = _first(repository.tags, TAGS)
    if not _words(text):
        problems.append(f"{repository.name}: its resource tags name an upstream and no tags; add {TAGS[0]}")
    chosen = list(_read(repository.name, key, text, problems))
    excluded = _read(repository.name, *_first(repository.tags, EXCLUDE), problems)
    return TagSelection(
        names=tuple(dict.fromkeys(each for each in chosen if isinstance(each, str))),
        patterns=tuple(each for each in chosen if isinstance(each, TagPattern)),
        exclude=tuple(TagPattern(PatternKind.GLOB, each) if isinstance(each, str) else each for each in excluded),
    )


def _read(repository: str, key: str, text: str, problems: list[str]) -> Iterator[str | TagPattern]:
    """Read the names and patterns in the value of a tag."""
    for word in _words(text):
        pattern = _pattern(word)
        if pattern is None and is_tag(word):
            yield word
        elif pattern is None:
            problems.append(f"{repository}: its resource tag {key}: {word[:80]!r} is not a valid tag")
        else:
            try:
                check_pattern(pattern)
            except InvalidPatternError as error:
                problems.append(f"{repository}: its resource tag {key}: {word[:80]!r}: {error.cause}. {error.advice}")
            else:
                yield pattern


def _pattern(word: str) -> TagPattern | None:
    if word.startswith(_SEMVER):
        return TagPattern(PatternKind.SEMVER, word.removeprefix(_SEMVER))
    if any(character in "*?[+" for character in word):
        return TagPattern(PatternKind.GLOB, word.replace("+", "*"))
    return None


def _words(text: str) -> Sequence[str]:
    return [word for word in _SEPARATOR.split(text)[:_MAX_WORDS] if word]  # a value has 256 characters


def _first(tags: Mapping[str, str], keys: Iterable[str]) -> tuple[str, str]:
    return next(((key, tags[key]) for key in keys if key in tags), ("", ""))


def _rule(repository: str, upstream: Repository, selection: TagSelection) -> Rule:
    return Rule(
        name=f"resource tags of {repository}",
        upstream=upstream,
        repository=repository,
        tags=selection,
        check_every=DEFAULT_CHECK_EVERY,
        alert_after=DEFAULT_ALERT_AFTER,
        source=Source.RESOURCE_TAGS,
    )
