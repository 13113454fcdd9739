"""An import → the text of a rules file that people go on editing. Decides how it is laid out."""

import json
from collections.abc import Iterable, Iterator

from pullahead.rules.imports.imported import Imported, ImportedMirror, TagEntry
from pullahead.rules.model import PatternKind


def write_rules(imported: Imported, *, source: str) -> str:
    """Write a rules file. Every value is written as JSON, which YAML reads alike and never takes for a number."""
    lines = [
        f"# Imported from a file of {imported.tool} by `pullahead import {' '.join(source.split())}`.",
        "version: 1",
    ]
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


def _tags(tags: Iterable[TagEntry]) -> str:
    return _value([_tag(tag) for tag in tags])


def _tag(tag: TagEntry) -> str | dict[str, str]:
    return tag.text if tag.kind in {None, PatternKind.GLOB} else {str(tag.kind): tag.text}


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
