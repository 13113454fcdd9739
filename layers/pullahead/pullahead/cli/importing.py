"""`pullahead import`: our rules file from another tool's, and a list of what it could not carry over."""

from pathlib import Path

from pullahead.cli.arguments import ImportArguments
from pullahead.cli.exits import DONE, NOTHING_TO_DO
from pullahead.cli.failing import say
from pullahead.cli.output import write_document, write_text
from pullahead.errors import ConfigError
from pullahead.rules.importers import import_rules
from pullahead.rules.importers.result import ImportResult, write_rules
from pullahead.rules.load import load_rules


def run_import(arguments: ImportArguments) -> int:
    """Read, write, and say what is missing."""
    source = arguments.source
    imported = import_rules(_read(source), source=source.name, prefix=arguments.prefix)
    text = write_rules(imported, source=source.name)
    load_rules(text, source="the imported rules")  # a defect here is better told than written
    if arguments.output is not None:
        _write(arguments.output, text)
    if arguments.json:
        left_out = [left._asdict() for left in imported.left_out]
        write_document({"rules": text, "mirrors": len(imported.mirrors), "left_out": left_out})
    else:
        if arguments.output is None:
            write_text(text.rstrip("\n"))
        _report(imported, quiet=arguments.quiet)
    return DONE if imported.mirrors else NOTHING_TO_DO


def _report(imported: ImportResult, *, quiet: bool) -> None:
    for left in imported.left_out:
        say(f"not carried over: {left.where}: {left.message}")
    if not quiet:
        say(f"{len(imported.mirrors)} mirrors from {imported.tool}, {len(imported.left_out)} things not carried over")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8") from error


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already; name another file, or take it away first") from error
