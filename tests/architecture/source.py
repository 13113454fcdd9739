"""The project's Python files. Knows where code lives, not what it may do."""

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE_ROOT = Path("layers/pullahead")
CODE_FOLDERS = (PACKAGE_ROOT / "pullahead", Path("functions"), Path("local"), Path("bench"), Path("tests"))


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the project's root, and its text."""

    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """What it says, parsed when it is first wanted: all files together take seconds."""
        return ast.parse(self.text)

    @property
    def module(self) -> str:
        """The dotted name that imports use."""
        path = self.path.relative_to(PACKAGE_ROOT) if self.path.is_relative_to(PACKAGE_ROOT) else self.path
        parts = path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class Import(NamedTuple):
    """A module that is imported, and the line that does it."""

    line: int
    module: str


def source(path: str, text: str) -> Source:
    """Make one of a file's text, made up or read."""
    return Source(Path(path), text)


@cache
def sources() -> tuple[Source, ...]:
    """Read every Python file of the project."""
    paths = sorted(path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return tuple(source(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths)


def imports(file: Source) -> Iterator[Import]:
    """List what a file imports, wherever it does; `from a import b` is both a and a.b, since b may be a module."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield Import(node.lineno, origin)
            yield from (Import(node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def attributes(file: Source, last: Collection[str]) -> Iterator[tuple[int, str]]:
    """List dotted names that end with one of these, with their lines: `a.b.c`, also of `a.b.c.d`, where c is one."""
    for node in ast.walk(file.tree) if any(name in file.text for name in last) else ():
        if isinstance(node, ast.Attribute) and node.attr in last:
            yield node.lineno, ast.unparse(node)
