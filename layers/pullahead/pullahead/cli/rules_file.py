"""The rules file of a command line, and the rules of it that --only names."""

import sys
from collections.abc import Set
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from tempfile import NamedTemporaryFile

from pullahead.cli.options import STDIN
from pullahead.errors import ConfigError
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules
from pullahead.rules.yaml_document import MAX_DOCUMENT_BYTES, Problem, RulesError


def read_rules(file: str) -> Rules:
    """Read the rules in a file, or on stdin for `-`. Raises ConfigError; RulesError with every problem."""
    source = "stdin" if file == STDIN else file
    return load_rules(_read(file, source), source=source)


def only_rules(rules: Rules, names: Set[str]) -> Rules:
    """Keep the rules with these names, or all if there are none. Raises ConfigError for an unknown name."""
    if not names:
        return rules
    known = [rule.name for rule in rules.rules]
    for unknown in sorted(names - set(known)):
        close = get_close_matches(unknown, known, n=1)
        hint = f"Did you mean {close[0]}?" if close else "A rule without `name` is named like its upstream."
        raise ConfigError(f"no rule is named {unknown!r}. {hint}")
    return replace(
        rules,
        rules=tuple(rule for rule in rules.rules if rule.name in names),
        mirrors=tuple(mirror for mirror in rules.mirrors if mirror.rule in names),
    )


def write_whole(file: str, text: str) -> None:
    """Write a file, all of it or nothing. Raises ConfigError."""
    path = Path(file)
    try:
        with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
            new.write(text)
        Path(new.name).chmod(0o644)
        Path(new.name).replace(path)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror or type(error).__name__}") from error


def _read(file: str, source: str) -> str:
    try:
        if file == STDIN:
            content = sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror or type(error).__name__}") from error
    if len(content) > MAX_DOCUMENT_BYTES:
        raise RulesError(source, [Problem(1, "", f"the file has more than {MAX_DOCUMENT_BYTES} bytes")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RulesError(source, [Problem(line, "", "the file is not UTF-8", "Save it as UTF-8.")]) from error
