"""Habits that ruff and import-linter cannot check: file names, handlers' imports, patched attributes, index names."""

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.architecture.source import ROOT, Import, Source, attributes, imports

VAGUE_STEMS = frozenset({"utils", "util", "helpers", "helper", "misc", "common"})
_PATCHING = ("setattr", "patch")
_PATCHES = re.compile(r"^monkeypatch\.setattr$|(?:^|\.)mocker\.patch(?:\.|$)")
# Put together here, so that this file does not name one itself.
_INDEX = re.compile("|".join(("py" + r"pi\.(?:org|python)", "python" + r"hosted\.org", r"(?<!no-emit-)index" + "-url")))
_UNFINISHED = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|XX" + r"X)\b")

_HIDDEN_BUT_OURS = frozenset({".ci", ".github"})
_NOT_OURS = frozenset({"__pycache__", "node_modules"})
_TEXT_SUFFIXES = frozenset({".py", ".yaml", ".yml", ".toml", ".md", ".txt", ".in", ".sh", ".json", ".cfg", ".ini", ""})

_ADAPTERS = frozenset({"aws", "cli", "ecr", "registry", "rules", "settings", "standalone"})
_IMPURE = frozenset({"boto3", "botocore", "os", "random", "requests", "socket", "ssl", "subprocess", "time", "urllib"})
_HANDLERS_MAY_USE = frozenset({"aws_lambda_powertools"}) | (sys.stdlib_module_names - _IMPURE)


def patch_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find tests that replace an attribute instead of passing a fake. (ruff bans `unittest.mock.patch`.)"""
    for file in files:
        for line, name in attributes(file, _PATCHING):
            if _PATCHES.search(name):
                yield f"{file.path}:{line}: {name}; pass a fake through a port instead"


def name_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find names that say nothing."""
    for file in files:
        if file.path.stem in VAGUE_STEMS:
            yield f"{file.path}: name the module for what it decides"
        for node in ast.walk(file.tree) if "Manager" in file.text else ():
            if isinstance(node, ast.ClassDef) and node.name.endswith("Manager"):
                yield f"{file.path}:{node.lineno}: name {node.name} for what it does"


def handler_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find handlers that use an adapter, AWS, the environment or the network themselves instead of calling `app`."""
    for file in files:
        if file.path.parts[0] == "functions":
            for imported in imports(file):
                if not _handler_may_import(imported):
                    yield f"{file.path}:{imported.line}: a handler must not import {imported.module}"


def _handler_may_import(imported: Import) -> bool:
    root, _, rest = imported.module.partition(".")
    if root == "pullahead":
        return rest.partition(".")[0] not in _ADAPTERS | {"oci"}
    return root in _HANDLERS_MAY_USE


def text_findings(texts: Iterable[tuple[Path, str]]) -> Iterator[str]:
    """Find files that name a package index, which is the machine's own business, or that are marked as unfinished."""
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
