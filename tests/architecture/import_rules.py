"""Which module may import which: one direction, and a core without AWS, HTTP, environment, chance or clock."""

import sys
from collections.abc import Iterable, Iterator

from tests.architecture.source import Import, Source, attributes, imports

RANKS = {
    "errors": 0,
    "oci": 1,
    "rules": 2,
    "freshness": 2,
    "copying": 2,
    "messages": 3,
    "dashboard": 3,
    "waking": 4,
    "ports": 5,
    "usecases": 6,
    "registry": 7,
    "targets": 7,
    "aws": 7,
    "settings": 8,
    "waiting": 8,
    "wiring": 9,
    "metering": 10,
    "batches": 10,
    "poison": 10,
    "cli": 10,
}
"""A place imports places of lower rank, and itself. Places of one rank don't know each other."""

NEIGHBOURS = {
    ("freshness", "pullahead.rules.model"): "what is judged is judged by its rule",
    ("aws", "pullahead.registry.credentials"): "secrets hold what registries want to know of us",
    ("aws", "pullahead.registry.docker_logins"): "secrets hold what docker knows of us",
    ("aws", "pullahead.registry.hosts"): "ECR is an upstream, too, and known by its host",
    ("targets", "pullahead.registry"): "an OCI registry is authorized and fails alike from both sides (ADR 6)",
}
"""Imports within one rank that are allowed, and why."""

CORE = frozenset(
    {"errors", "oci", "rules", "freshness", "copying", "messages", "dashboard", "waking", "ports", "usecases"}
)
IMPURE = frozenset(
    {"boto3", "botocore", "requests", "urllib3", "urllib", "http", "socket", "ssl", "subprocess"}
    | {"aws_lambda_powertools", "aws_xray_sdk", "os", "time", "random", "secrets", "uuid"}
)
CLOCKS = frozenset({"now", "utcnow", "today"})
OUTSIDE = frozenset({"local", "tests", "functions", "bench"})

FUNCTIONS_MAY_IMPORT = (
    "pullahead.messages",
    "pullahead.wiring",
    "pullahead.errors",
    "pullahead.usecases",
    "pullahead.metering",
    "pullahead.batches",
    "pullahead.poison",
)
FUNCTIONS_MAY_USE = frozenset({"aws_lambda_powertools"}) | (sys.stdlib_module_names - IMPURE)


def place_of(module: str) -> str | None:
    """Name the part of the package that a module belongs to; None outside, empty for the package itself."""
    root, _, rest = module.partition(".")
    return rest.partition(".")[0] if root == "pullahead" else None


def direction_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find imports against the direction, and modules that have no place in it."""
    for file in files:
        place = place_of(file.module)
        if not place:
            continue
        if place not in RANKS:
            yield f"{file.path}: {place} has no place in the direction of imports; give it a rank"
            continue
        for imported in imports(file):
            if reason := _against_direction(place, imported.module):
                yield f"{file.path}:{imported.line}: {reason}"


def _against_direction(place: str, imported: str) -> str | None:
    if imported.startswith("."):
        return f"a relative import ({imported}); write it in full"
    if _root(imported) in OUTSIDE:
        return f"the package imports {imported}, which is not deployed with it"
    target = place_of(imported)
    if not target or target == place or RANKS.get(target, 0) < RANKS[place]:
        return None
    if any(place == who and _within(imported, what) for who, what in NEIGHBOURS):
        return None
    # `from pullahead.rules import model` names pullahead.rules on its way to what is allowed.
    if any(place == who and what.startswith(f"{imported}.") for who, what in NEIGHBOURS):
        return None
    return f"{place} must not import {imported}"


def purity_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find what the core must not know: AWS, HTTP, the environment, chance, the time."""
    for file in files:
        if place_of(file.module) not in CORE:
            continue
        for imported in imports(file):
            if _root(imported.module) in IMPURE:
                yield f"{file.path}:{imported.line}: the core imports {imported.module}"
        for line, name in attributes(file):
            owner, _, attribute = name.rpartition(".")
            if attribute in CLOCKS and owner.rpartition(".")[2] in {"datetime", "date"}:
                yield f"{file.path}:{line}: the core reads the clock by {name}; take the time as an argument"


def function_findings(files: Iterable[Source]) -> Iterator[str]:
    """Find handlers that reach past messages and wiring."""
    for file in files:
        if file.path.parts[0] == "functions":
            for imported in imports(file):
                if not _handler_may_import(imported):
                    yield f"{file.path}:{imported.line}: a handler must not import {imported.module}"


def _handler_may_import(imported: Import) -> bool:
    if _root(imported.module) == "pullahead":
        return any(_within(imported.module, allowed) for allowed in FUNCTIONS_MAY_IMPORT)
    return _root(imported.module) in FUNCTIONS_MAY_USE


def _root(module: str) -> str:
    return module.partition(".")[0]


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
