"""The rules file of a command line, and the rules of it that --only names."""

import sys
from collections.abc import Set
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from tempfile import NamedTemporaryFile

from pullahead.cli.options import EXAMPLE_RULES, RULES_FILE_HELP, STDIN
from pullahead.errors import ConfigError
from pullahead.rules.load import load_rules_files
from pullahead.rules.model import Rules
from pullahead.rules.on_disk import decode_rules, read_rules_files
from pullahead.rules.problems import MAX_DOCUMENT_BYTES, Problem, RulesError, too_large
from pullahead.rules.text import RulesText


def read_rules(file: str) -> Rules:
    """Read the rules in a file or a folder, or on stdin for `-`. Raises ConfigError; RulesError with every problem."""
    return load_rules_files(read_files(file))


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
        mirrors=rules.named_mirrors.of_rules(frozenset(names)),
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


def read_files(file: str) -> tuple[RulesText, ...]:
    """Read the texts of a file, of the files of a folder, or of stdin for `-`. Raises ConfigError, RulesError."""
    if file == EXAMPLE_RULES and not Path(file).exists():
        raise ConfigError(
            f"there is no rules file here ({RULES_FILE_HELP}): name a file or a folder, or run the command in the clone"
        )
    if file != STDIN:
        return read_rules_files(Path(file), name=file)
    content = sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise RulesError("stdin", [Problem(1, "", *too_large())])
    return (RulesText("stdin", decode_rules(content, "stdin")),)
