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
from pullahead.rules.tag_patterns import PatternKind, TagPattern, matches
from pullahead.rules.yaml_document import Problem

ALL_TAGS = "*"
_MIRROR_PATH = re.compile(r"mirrors\[([0-9]+)\]")
_SETTING_PATH = re.compile(r"upstreams\['([^']+)'\](?:\.([a-z_]+))?")


class TagEntry(NamedTuple):
    """A tag's name, or a pattern of tags."""

    text: str
    kind: PatternKind | None = None


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


@dataclass
class ImportResult:
    """Collects mirrors, settings of upstream hosts, and what is left out."""

    tool: str
    target: str | None = None  # the registry whose repositories are imported; None where the file names none
    mirrors: list[ImportedMirror] = field(default_factory=list)
    upstreams: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[NotImported] = field(default_factory=list)
    _places: list[str] = field(default_factory=list)  # of the mirrors in the file
    _upstream_of: dict[tuple[str, TagEntry], str] = field(default_factory=dict)

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
            other = self._upstream_of.get((mirror.repository, tag))
            if other is None:
                self._upstream_of[mirror.repository, tag] = mirror.upstream
                kept.append(tag)
            elif other != mirror.upstream:
                self.leave_out(where, f"{mirror.repository}:{tag.text} already follows {other}; choose one of them")
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
    yield f"    tags: {_tags(mirror.tags)}"
    if mirror.exclude:
        yield f"    exclude: {_tags(mirror.exclude)}"
    yield f"    repository: {_value(mirror.repository)}"
    if mirror.platforms:
        yield f"    platforms: {_value(list(mirror.platforms))}"
    if mirror.check_every is not None:
        yield f"    check_every: {mirror.check_every}"
        interval = parse_duration(mirror.check_every) or timedelta()
        if interval > DEFAULT_ALERT_AFTER:
            yield f"    alert_after: {format_duration(2 * interval)}"  # when a second check in a row has failed


def _tags(tags: Iterable[TagEntry]) -> str:
    return _value([_tag(tag) for tag in tags])


def _tag(tag: TagEntry) -> str | dict[str, str]:
    return tag.text if tag.kind in {None, PatternKind.GLOB} else {str(tag.kind): tag.text}


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
