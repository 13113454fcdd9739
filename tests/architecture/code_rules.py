"""Habits that the linter cannot see: names, no patching, no sleeping, nothing swallowed."""

import ast
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.architecture.source import ROOT, Source, attributes, imports

POLLING = Path("tests/polling.py")
"""The one module of the tests that may wait."""
SAMPLE_FUNCTIONS = "functions"
"""A folder within tests/ whose handlers run as processes of their own; one that hangs has to hang."""

VAGUE_STEMS = frozenset({"utils", "util", "helpers", "helper", "misc", "common"})
_PATCHES = re.compile(r"(?:^|\.)(?:mock|mocker)\.patch(?:\.|$)|^monkeypatch\.setattr$")
# Put together here, so that this file does not name one itself.
_INDEX = re.compile("|".join(("py" + r"pi\.(?:org|python)", "python" + r"hosted\.org", r"(?<!no-emit-)index" + "-url")))
_UNFINISHED = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|XX" + r"X)\b")

_HIDDEN_BUT_OURS = frozenset({".ci", ".github"})
_NOT_OURS = frozenset({"__pycache__", "node_modules"})
_TEXT_SUFFIXES = frozenset({".py", ".yaml", ".yml", ".toml", ".md", ".txt", ".in", ".sh", ".json", ".cfg", ".ini", ""})


def patch_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find tests that replace the inside of something instead of handing in a fake."""
    for file in files:
        for line, name in attributes(file):
            if _PATCHES.search(name):
                yield f"{file.path}:{line}: {name}; pass a fake through a port instead"
        for imported in imports(file):
            if imported.module == "unittest.mock.patch":
                yield f"{file.path}:{imported.line}: imports patch; pass a fake through a port instead"


def name_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find names that say nothing."""
    for file in files:
        if file.path.stem in VAGUE_STEMS:
            yield f"{file.path}: name the module for what it decides"
        for node in ast.walk(file.tree):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Manager"):
                yield f"{file.path}:{node.lineno}: name {node.name} for what it does"


def sleep_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find tests that wait by the clock."""
    for file in files:
        if file.path.parts[0] != "tests" or file.path == POLLING or SAMPLE_FUNCTIONS in file.path.parts:
            continue
        imported_modules = {imported.module for imported in imports(file)}
        for line, name in attributes(file):
            # Without the import, `time` is some clock of the test's own.
            if name == "time.sleep" and "time" in imported_modules:
                yield f"{file.path}:{line}: waits by the clock; use {POLLING}, or hand in a clock"
        for imported in imports(file):
            if imported.module == "time.sleep":
                yield f"{file.path}:{imported.line}: waits by the clock; use {POLLING}, or hand in a clock"


def swallow_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find exceptions that are caught and dropped."""
    for file in files:
        for node in ast.walk(file.tree):
            if isinstance(node, ast.ExceptHandler) and all(map(_does_nothing, node.body)):
                yield f"{file.path}:{node.lineno}: an exception is swallowed"


def _does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def text_findings(texts: Iterable[tuple[Path, str]]) -> Iterator[str]:
    """Find files that name a package index, which is the machine's own business, or that admit to be unfinished."""
    for path, text in texts:
        for number, line in enumerate(text.splitlines(), 1):
            if _INDEX.search(line):
                yield f"{path}:{number}: names a package index"
            if _UNFINISHED.search(line):
                yield f"{path}:{number}: is marked as unfinished"


def project_texts() -> Iterator[tuple[Path, str]]:
    """Read every text file of the project that is no build product."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if _is_ours(name))
        for path in (Path(folder, name) for name in sorted(names)):
            if path.suffix in _TEXT_SUFFIXES and path.is_file():
                yield path.relative_to(ROOT), path.read_text(encoding="utf-8", errors="replace")


def _is_ours(folder: str) -> bool:
    return folder in _HIDDEN_BUT_OURS or not (folder.startswith(".") or folder in _NOT_OURS)
