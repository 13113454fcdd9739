"""How the tags of rules stand, for people and for programs. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pullahead.cli.texts import count_text, size_text
from pullahead.mirrors.record import State
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules
from pullahead.standalone.compare import ComparisonResult, ListingFailure, TagStatus
from pullahead.standalone.forecast import CopyForecast

UNTOLD = frozenset({State.UNKNOWN, State.BLOCKED})
"""States in which it could not be told how a tag stands, or a human must act."""

_WIDTH = max(len(state) for state in State)


class Section(NamedTuple):
    """What one rule chose in one repository; a rule for a namespace has several."""

    rule: str
    upstream: str
    repository: str
    tags: tuple[TagStatus, ...]
    error: str | None = None
    daily_limit: int | None = None  # of a rule on demand, which has the tags that are pulled


class Totals(NamedTuple):
    """What refreshes would take together; a blob that several tags of a repository lack is counted once."""

    bytes_missing: int
    requests: int
    unsized: int  # refreshes of which it could not be told


def sections(looked: ComparisonResult, rules: Rules) -> tuple[Section, ...]:
    """Group tags by rule and repository, in the order of the rules; a rule without tags has a section as well."""
    errors = {(unlisted.rule, unlisted.upstream): unlisted.reason for unlisted in looked.unlisted}
    grouped: dict[str, dict[tuple[str, str], list[TagStatus]]] = {rule.name: {} for rule in rules.rules}
    for rule in rules.rules:
        if not rule.is_namespace or rule.on_demand is not None or (rule.name, str(rule.upstream)) in errors:
            grouped[rule.name][str(rule.upstream), rule.repository] = []
    limits = {rule.name: rule.on_demand.daily_limit for rule in rules.rules if rule.on_demand is not None}
    for compared in looked.tags:
        place = str(compared.mirror.upstream.repository), compared.mirror.repository
        grouped[compared.mirror.rule].setdefault(place, []).append(compared)
    return tuple(
        Section(name, upstream, repository, tuple(tags), errors.get((name, upstream)), limits.get(name))
        for name, places in grouped.items()
        for (upstream, repository), tags in places.items()
    )


def section_text(section: Section, foretold: Mapping[MirrorKey, CopyForecast]) -> str:
    """Describe a rule's tags in a line each."""
    name = "" if section.rule == section.upstream else f"{section.rule}: "
    counted = counts_text(section.tags) if section.daily_limit is None else _on_demand_text(section.daily_limit)
    head = f"{name}{section.upstream} to {section.repository}, {counted}"
    return "\n".join((head, *(_tag_line(tag, foretold.get(tag.mirror.key)) for tag in section.tags)))


def _on_demand_text(daily_limit: int) -> str:
    return f"what is pulled, up to {count_text(daily_limit, 'new tag')} a day"


def _tag_line(compared: TagStatus, foretold: CopyForecast | None) -> str:
    notes = [compared.reason] if compared.state is State.STALE else []
    if foretold is not None and not foretold.error:
        size = size_text(foretold.bytes_missing)
        notes.append(f"{size}, {count_text(foretold.requests, 'request')}")
    line = f"  {compared.state.lower():{_WIDTH}} {compared.mirror.tag}"
    return f"{line}  {'; '.join(notes)}" if notes else line


def standing_line(compared: TagStatus) -> str:
    """Say in one line how a tag stands that is not fresh."""
    line = f"{compared.state.lower():{_WIDTH}} {compared.mirror.key} ({compared.mirror.upstream})"
    return f"{line} {compared.reason}" if compared.state is State.STALE else line


def untold_line(compared: TagStatus) -> str:
    """Say in one line why it cannot be told how a tag stands."""
    return f"{compared.mirror.key} is {compared.state.lower()}: {compared.reason}"


def unlisted_line(unlisted: ListingFailure) -> str:
    """Say in one line what could not be listed."""
    return f"the rule {unlisted.rule} cannot choose from {unlisted.upstream}: {unlisted.reason}"


def counts_text(tags: Iterable[TagStatus]) -> str:
    """Count tags, by state."""
    counts = Counter(compared.state for compared in tags)
    shown = ", ".join(f"{counts[state]} {state.lower()}" for state in State if counts[state])
    total = count_text(sum(counts.values()), "tag")
    return f"{total}: {shown}" if shown else total


def totals_of(looked: ComparisonResult, foretold: Mapping[MirrorKey, CopyForecast]) -> Totals:
    """Add up what refreshes would take."""
    known = [(tag.mirror.repository, foretold[tag.mirror.key]) for tag in looked.tags if tag.mirror.key in foretold]
    blobs = {(repository, blob.digest): blob.size for repository, each in known for blob in each.blobs}
    manifests = sum(each.requests - len(each.blobs) for _, each in known)
    return Totals(sum(blobs.values()), manifests + len(blobs), sum(bool(each.error) for _, each in known))


def looked_document(
    looked: ComparisonResult, rules: Rules, of_tag: Callable[[TagStatus], Mapping[str, Any]], **totals: Any
) -> dict[str, Any]:
    """Describe all of it as a JSON document; `of_tag` adds what a command knows of a tag beside how it stands."""
    counts = Counter(compared.state for compared in looked.tags)
    return {
        "rules": [
            {
                "rule": section.rule,
                "upstream": section.upstream,
                "repository": section.repository,
                "error": section.error,
                **({} if section.daily_limit is None else {"daily_limit": section.daily_limit}),
                "tags": [{**_tag_document(compared), **of_tag(compared)} for compared in section.tags],
            }
            for section in sections(looked, rules)
        ],
        "totals": {"tags": len(looked.tags), **{state.lower(): counts[state] for state in State}, **totals},
    }


def _tag_document(compared: TagStatus) -> dict[str, Any]:
    is_plain = compared.state in (State.FRESH, State.MISSING)
    return {
        "tag": compared.mirror.tag,
        "state": compared.state.lower(),
        "reason": None if is_plain else compared.reason,
        "upstream_digest": compared.upstream_digest,
        "published_digest": compared.published_digest,
    }
