"""The result of an import, and the rules file written of it, laid out for people to edit. Knows no tool's format."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from pullahead.oci.ecr_registry import parse_ecr_host
from pullahead.rules.file_format import format_duration, parse_duration
from pullahead.rules.model import DEFAULT_ALERT_AFTER
from pullahead.rules.problems import Problem
from pullahead.rules.tag_patterns import PatternKind, TagPattern, matches

ALL_TAGS = "*"
_MIRROR_PATH = re.compile(r"mirrors\[([0-9]+)\]")
_SETTING_PATH = re.compile(r"upstreams\['([^']+)'\](?:\.([a-z_]+))?")


class TagEntry(NamedTuple):
    """A tag's name, with or without the digest that it is pinned to; a digest; or a pattern of tags.

    `published_as` is the tag in ECR where that is another one.
    """

    text: str
    kind: PatternKind | None = None
    published_as: str = ""

    @property
    def is_digest(self) -> bool:
        """Tell whether it is a digest without a tag."""
        return self.kind is None and ":" in self.text.partition("@")[0]

    @property
    def target(self) -> "TagEntry":
        """What it is in ECR."""
        return TagEntry(self.published_as or self.text.partition("@")[0], self.kind)


class NotImported(NamedTuple):
    """Something that was not imported: where it is, and why."""

    where: str
    message: str


class ImportedMirror(NamedTuple):
    """An item of the rules file's mirrors."""

    upstream: str
    repository: str
    tags: tuple[TagEntry, ...]
    exclude: tuple[TagEntry, ...] = ()
    platforms: tuple[str, ...] = ()
    check_every: str | None = None
    referrers: bool | tuple[str, ...] | None = None  # whether to copy them, or their types; None: as the defaults
    keep_previous: bool = False


@dataclass
class ImportResult:
    """Collects mirrors, settings of upstream hosts, and what is left out."""

    tool: str
    target: str | None = None  # the registry whose repositories are imported; None where the file names none
    mirrors: list[ImportedMirror] = field(default_factory=list)
    upstreams: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[NotImported] = field(default_factory=list)
    _places: list[str] = field(default_factory=list)  # of the mirrors in the file
    _source_of: dict[tuple[str, TagEntry], str] = field(default_factory=dict)

    def leave_out(self, where: str, message: str) -> None:
        """Record what is not imported, once."""
        left = NotImported(where, message)
        if left not in self.left_out:
            self.left_out.append(left)

    def set_upstream(self, host: str, **settings: Any) -> None:
        """Add settings of an upstream host."""
        self.upstreams.setdefault(host, {}).update(settings)

    def add(self, where: str, mirror: ImportedMirror) -> None:
        """Add a mirror, without tags that another one publishes: a tag can follow one upstream only.

        Names that are excluded are dropped here, since rules exclude only from what patterns choose.
        """
        kept = []
        for tag in dict.fromkeys(mirror.tags):
            if tag.kind is None and any(_excludes(pattern, tag.text) for pattern in mirror.exclude):
                continue
            here, source = (mirror.repository, tag.target), _source_of(mirror.upstream, tag)
            other = self._source_of.get(here)
            if other is None:
                self._source_of[here] = source
                kept.append(tag)
            elif other != source:
                name = f"{mirror.repository}:{tag.target.text}"
                self.leave_out(where, f"{name} already follows {other}; choose one of them")
        if kept:
            exclude = mirror.exclude if any(tag.kind is not None for tag in kept) else ()
            self.mirrors.append(mirror._replace(tags=tuple(kept), exclude=exclude))
            self._places.append(where)

    def leave_out_invalid(self, problems: Iterable[Problem]) -> bool:
        """Leave out what rules that were written of this are refused for; tell whether there was such a thing."""
        invalid: set[int] = set()
        settings: set[tuple[str, str]] = set()
        for problem in problems:
            reason = f"{problem.message}. {problem.hint}".rstrip()
            if found := _MIRROR_PATH.match(problem.path):
                invalid.add(int(found[1]))
                self.leave_out(self._places[int(found[1])], reason)
            elif found := _SETTING_PATH.match(problem.path):
                settings.add((found[1], found[2] or ""))
                self.leave_out(problem.path, reason)
        for number in sorted(invalid, reverse=True):
            del self.mirrors[number], self._places[number]
        for host, key in settings:
            self.upstreams.get(host, {}).pop(key, None)
            if not key or not self.upstreams.get(host):
                self.upstreams.pop(host, None)
        return bool(invalid or settings)


def _source_of(upstream: str, tag: TagEntry) -> str:
    """Name what a tag in ECR follows."""
    if tag.is_digest or "@" in tag.text:
        return f"{upstream}{'@' if tag.is_digest else ':'}{tag.text}"
    return f"{upstream}:{tag.text}" if tag.published_as else upstream


def _excludes(entry: TagEntry, tag: str) -> bool:
    return matches(TagPattern(entry.kind or PatternKind.GLOB, entry.text), tag, prereleases=True)


def write_rules(imported: ImportResult, *, source: str) -> str:
    """Write a rules file. Strings are written as in JSON, so that YAML never reads one as a number."""
    lines = [
        f"# Imported from a file of {imported.tool} by `pullahead import {' '.join(source.split())}`.",
        "version: 1",
    ]
    if imported.target is not None and parse_ecr_host(imported.target) is not None:
        lines.insert(1, f"# Its targets are in {imported.target}: deploy the stack in that account and Region.")
    if imported.upstreams:
        lines += ["upstreams:", *(f"  {_value(host)}: {_value(of)}" for host, of in sorted(imported.upstreams.items()))]
    lines.append("mirrors:" if imported.mirrors else "mirrors: []")
    for mirror in imported.mirrors:
        lines += _mirror(mirror)
    return "\n".join(lines) + "\n"


def _mirror(mirror: ImportedMirror) -> Iterator[str]:
    yield f"  - upstream: {mirror.upstream}"
    tags = [tag for tag in mirror.tags if not tag.is_digest]
    digests = [tag for tag in mirror.tags if tag.is_digest]
    if tags:
        yield f"    tags: {_tags(tags)}"
    if digests:
        yield f"    digests: {_value([_digest(each) for each in digests])}"
    if mirror.exclude:
        yield f"    exclude: {_tags(mirror.exclude)}"
    yield f"    repository: {_value(mirror.repository)}"
    if mirror.platforms:
        yield f"    platforms: {_value(list(mirror.platforms))}"
    if mirror.referrers is not None:
        copied = mirror.referrers if isinstance(mirror.referrers, bool) else list(mirror.referrers)
        yield f"    referrers: {_value({'copy': copied})}"
    if mirror.keep_previous:
        yield f"    keep_previous: {_value({'count': 1, 'for': '3650d'})}"
    if mirror.check_every is not None:
        yield f"    check_every: {mirror.check_every}"
        interval = parse_duration(mirror.check_every) or timedelta()
        if interval > DEFAULT_ALERT_AFTER:
            yield f"    alert_after: {format_duration(2 * interval)}"  # when a second check in a row has failed


def _digest(entry: TagEntry) -> str | dict[str, str]:
    return {"digest": entry.text, "as": entry.published_as} if entry.published_as else entry.text


def _tags(tags: Iterable[TagEntry]) -> str:
    return _value([_tag(tag) for tag in tags])


def _tag(tag: TagEntry) -> str | dict[str, str]:
    if tag.published_as:
        return {"name": tag.text, "as": tag.published_as}
    return tag.text if tag.kind in {None, PatternKind.GLOB} else {str(tag.kind): tag.text}


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
