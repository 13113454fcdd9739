"""What `plan`, `check` and `sync` share: read the rules, compare every tag on both sides, and report the result."""

import argparse
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pullahead.cli.options import RegistryOptions, add_registry_options, add_rules_file, parsed_by
from pullahead.cli.output import say
from pullahead.cli.registries import RulesRegistries, is_ecr, several_at_once
from pullahead.cli.rules_file import only_rules, read_rules
from pullahead.errors import ConfigError
from pullahead.mirrors.record import WAITING, State
from pullahead.oci import short
from pullahead.oci.reference import parse_host
from pullahead.oci.registries import CopyTarget
from pullahead.registry.client import UpstreamRegistry
from pullahead.rules.model import Rules
from pullahead.standalone.compare import ComparisonResult, ListingFailure, RulesComparison, TagStatus
from pullahead.text import count_text

UNDETERMINED = frozenset({State.UNKNOWN, State.BLOCKED})
"""States of tags that could not be compared, or that need an operator."""

_EXPLAINED = frozenset({State.STALE, State.GONE, *WAITING})
"""States whose reason a line of a tag gives; of those that could not be compared stderr says why."""

_STATE_WIDTH = max(len(state) for state in State)
_PROGRESS_SECONDS = 5.0


class Comparison(NamedTuple):
    """The rules, both sides, and how they compare."""

    rules: Rules
    upstream: UpstreamRegistry
    target: CopyTarget
    result: ComparisonResult

    @property
    def undetermined(self) -> tuple[TagStatus, ...]:
        """The tags that could not be compared."""
        return tuple(tag for tag in self.result.tags if tag.state in UNDETERMINED)

    @property
    def is_complete(self) -> bool:
        """Whether every tag was listed and compared."""
        return not self.undetermined and not self.result.unlisted


class Section(NamedTuple):
    """The tags that one rule selects in one repository; a rule for a namespace has several sections."""

    rule: str
    upstream: str
    repository: str
    tags: tuple[TagStatus, ...]
    error: str | None = None
    daily_limit: int | None = None  # of an on-demand rule, whose tags are those that are pulled


def add_comparison_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that compares."""
    add_rules_file(parser)
    parser.add_argument(
        "--registry",
        metavar="HOST",
        type=parsed_by(parse_host),
        help="Use this registry as the target (default: Amazon ECR of the current AWS account and Region)",
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="Use only the rule with this name (repeatable)"
    )
    add_registry_options(parser)


def compare(arguments: argparse.Namespace, *, asks_presence: bool = False, asks_immutable: bool = False) -> Comparison:
    """Compare all tags and report on stderr what could not be compared. Raises RulesError for an invalid rules file."""
    rules = only_rules(read_rules(arguments.file), frozenset(arguments.only))
    require_scanning_target(rules, arguments.registry)
    registries = RulesRegistries(RegistryOptions.of(arguments), rules)
    upstream = registries.upstream()
    target = registries.destination(arguments.registry, asks_presence=asks_presence)
    published = target.published_digests if arguments.registry is None else several_at_once(target.published_digests)
    count = _ignore if arguments.quiet else ProgressReport(say).compared
    asked = RulesComparison(rules, upstream, published, datetime.now(UTC), count, asks_immutable=asks_immutable)
    result = asked()
    comparison = Comparison(rules, upstream, target, result)
    for unlisted in result.unlisted:
        say(unlisted_line(unlisted))
    for tag in comparison.undetermined:
        say(f"{tag.mirror.key} is {tag.state.lower()}: {tag.reason}")
    return comparison


def require_scanning_target(rules: Rules, registry: str | None) -> None:
    """Refuse rules that ask for scans of a target that makes none. Raises ConfigError."""
    if registry is None or is_ecr(registry):
        return
    asking = next((rule for rule in rules.rules if rule.admit is not None and rule.admit.scan is not None), None)
    if asking is not None:
        raise ConfigError(
            f"the rule {asking.name} has `admit: {{scan: ...}}`, but only Amazon ECR scans images, and the target is "
            f"{registry}. Write `scan: {{block: []}}` in the rules for this target."
        )


class ProgressReport:
    """Says every five seconds how many tags are compared. Thread-safe."""

    def __init__(self, say_line: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say_line, clock
        self._said_at = clock()
        self._lock = threading.Lock()

    def compared(self, done: int, count: int) -> None:
        """Say so if five seconds have passed."""
        with self._lock:
            if self._clock() - self._said_at >= _PROGRESS_SECONDS:
                self._said_at = self._clock()
                self._say(f"{done} of {count} tags compared")


def _ignore(_done: int, _count: int) -> None:
    pass


def sections(result: ComparisonResult, rules: Rules) -> tuple[Section, ...]:
    """Group tags by rule and repository, in the order of the rules. A rule without tags has a section, too."""
    errors = {(unlisted.rule, unlisted.upstream): unlisted.reason for unlisted in result.unlisted}
    grouped: dict[str, dict[tuple[str, str], list[TagStatus]]] = {rule.name: {} for rule in rules.rules}
    for rule in rules.rules:
        if not rule.is_namespace or rule.on_demand is not None or (rule.name, str(rule.upstream)) in errors:
            grouped[rule.name][str(rule.upstream), rule.repository] = []
    limits = {rule.name: rule.on_demand.daily_limit for rule in rules.rules if rule.on_demand is not None}
    for tag in result.tags:
        repositories = str(tag.mirror.upstream.repository), tag.mirror.repository
        grouped[tag.mirror.rule].setdefault(repositories, []).append(tag)
    return tuple(
        Section(name, upstream, repository, tuple(tags), errors.get((name, upstream)), limits.get(name))
        for name, groups in grouped.items()
        for (upstream, repository), tags in groups.items()
    )


def section_text(section: Section, notes: Callable[[TagStatus], list[str]]) -> str:
    """Describe a section in a line for each tag; `notes` adds what a command knows of a tag beside its state."""
    name = "" if section.rule == section.upstream else f"{section.rule}: "
    if section.daily_limit is None:
        counted = counts_text(section.tags)
    else:
        counted = f"on demand, up to {count_text(section.daily_limit, 'new tag')} a day"
    head = f"{name}{section.upstream} to {section.repository}, {counted}"
    return "\n".join((head, *(f"  {_tag_line(tag, notes(tag))}" for tag in section.tags)))


def _tag_line(tag: TagStatus, notes: list[str]) -> str:
    if tag.state in _EXPLAINED:
        notes = [tag.reason, *notes]
    mirror = tag.mirror
    source = "" if mirror.upstream.tag in (mirror.tag, None) else f" (from {mirror.upstream.tag})"
    source += f" (pinned to {short(mirror.pin)})" if mirror.pin is not None else ""
    line = f"{tag.state.lower():{_STATE_WIDTH}} {mirror.tag}{source}"
    return f"{line}  {'; '.join(notes)}" if notes else line


def stale_line(tag: TagStatus) -> str:
    """Describe a tag that is not fresh in one line."""
    line = f"{tag.state.lower():{_STATE_WIDTH}} {tag.mirror.key} ({tag.mirror.upstream})"
    return f"{line} {tag.reason}" if tag.state in _EXPLAINED else line


def unlisted_line(unlisted: ListingFailure) -> str:
    """Describe a listing that failed in one line."""
    return f"rule {unlisted.rule}: selecting tags of {unlisted.upstream} failed: {unlisted.reason}"


def nothing_to_copy(comparison: Comparison) -> str:
    """Say that there is nothing to copy, as far as that is known."""
    return "nothing to copy" if comparison.is_complete else "nothing to copy of what could be compared"


def counts_text(tags: Iterable[TagStatus]) -> str:
    """Count tags by state."""
    counts = Counter(tag.state for tag in tags)
    shown = ", ".join(f"{counts[state]} {state.lower()}" for state in State if counts[state])
    total = count_text(sum(counts.values()), "tag")
    return f"{total}: {shown}" if shown else total


def comparison_document(
    comparison: Comparison, of_tag: Callable[[TagStatus], Mapping[str, Any]], **totals: Any
) -> dict[str, Any]:
    """Describe a comparison as a JSON document; `of_tag` adds what a command knows of a tag beside its state."""
    result, rules = comparison.result, comparison.rules
    counts = Counter(tag.state for tag in result.tags)
    return {
        "rules": [
            {
                "rule": section.rule,
                "upstream": section.upstream,
                "repository": section.repository,
                "error": section.error,
                **({} if section.daily_limit is None else {"daily_limit": section.daily_limit}),
                "tags": [{**_tag_document(tag), **of_tag(tag)} for tag in section.tags],
            }
            for section in sections(result, rules)
        ],
        "totals": {"tags": len(result.tags), **{state.lower(): counts[state] for state in State}, **totals},
    }


def _tag_document(tag: TagStatus) -> dict[str, Any]:
    has_reason = tag.state not in (State.FRESH, State.MISSING)
    return {
        "tag": tag.mirror.tag,
        "upstream_tag": tag.mirror.upstream.tag,
        "pinned": tag.mirror.pin,
        "state": tag.state.lower(),
        "reason": tag.reason if has_reason else None,
        "upstream_digest": tag.upstream_digest,
        "published_digest": tag.published_digest,
    }
