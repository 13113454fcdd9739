"""Which module may import which: one direction, and a core without AWS, HTTP, environment, chance or clock."""

import sys
from collections.abc import Iterable, Iterator

from tests.architecture.source import Import, Source, attributes, imports

ORDER = (
    ("errors", "clock", "text", "caching"),
    ("oci",),
    ("messages", "rules"),
    ("mirrors",),
    ("refresh", "alerts", "registry"),
    ("checks", "ecr"),
    ("on_demand", "webhooks", "dashboard", "standalone"),
    ("dead_letters",),
    ("aws",),
    ("settings",),
    ("app",),
    ("cli", "lambdas"),
)
"""A package imports packages of earlier lines, and itself. Packages of one line do not know each other."""

RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}

CORE = frozenset(
    {"errors", "text", "caching", "oci", "messages", "rules", "mirrors", "refresh", "alerts", "checks"}
    | {"on_demand", "webhooks", "dashboard", "standalone", "dead_letters"}
)
IMPURE = frozenset(
    {"boto3", "botocore", "requests", "urllib3", "urllib", "http", "socket", "ssl", "subprocess"}
    | {"aws_lambda_powertools", "aws_xray_sdk", "os", "time", "random", "secrets", "uuid"}
)
CLOCKS = frozenset({"now", "utcnow", "today"})
OUTSIDE = frozenset({"local", "tests", "functions", "bench"})

FUNCTIONS_MAY_IMPORT = (
    "pullahead.messages",
    "pullahead.app",
    "pullahead.errors",
    "pullahead.lambdas",
    "pullahead.alerts",
    "pullahead.checks",
    "pullahead.dashboard",
    "pullahead.dead_letters",
    "pullahead.on_demand",
    "pullahead.refresh",
    "pullahead.webhooks",
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
            yield f"{file.path}: {place} has no place in ORDER; give it one"
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
    """Find handlers that reach past messages, use cases and app."""
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
