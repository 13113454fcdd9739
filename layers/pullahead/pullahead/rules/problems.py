"""Problems of rules files, and the error that names them all. Needs no YAML: few functions ever read any."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from pullahead.errors import ConfigError

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
"""Of one file, and of all files of a folder: room for 200,000 rules of one tag each."""
TOO_LARGE_HINT = "Name several tags in one rule, move options to `defaults`, or split the rules between two stacks."
_MAX_SHOWN_PROBLEMS = 100
_MAX_SHOWN_CHARACTERS = 80


class Problem(NamedTuple):
    """One mistake. `path` is like `mirrors[2].tags[0]`, counted from zero, empty for the whole file.

    `file` is set where there are several files.
    """

    line: int
    path: str
    message: str
    hint: str = ""
    file: str = ""


class RulesError(ConfigError):
    """A rules file that is refused. Names every problem, not only the first."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.file, problem.line)))
        lines = [describe(source, problem) for problem in self.problems[:_MAX_SHOWN_PROBLEMS]]
        if left_out := len(self.problems) - len(lines):
            lines.append(f"{source}: and {left_out} more.")
        super().__init__("\n".join(lines))


def quoted(text: str) -> str:
    """Quote what somebody wrote, shortened, on one line."""
    return repr(text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…")


def suggestion(word: str, known: Iterable[str], *, of: str) -> str:
    """Suggest the known word that comes closest, or list all of them."""
    words = tuple(known)
    close = get_close_matches(word[:_MAX_SHOWN_CHARACTERS], words, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known {of}: {', '.join(words)}."


def describe(source: str, problem: Problem) -> str:
    """Write a problem as one line, `FILE:LINE: path: message. hint`; `source` is the file where there is only one."""
    path = f"{problem.path}: " if problem.path else ""
    hint = f" {problem.hint}" if problem.hint else ""
    return f"{problem.file or source}:{problem.line}: {path}{problem.message}.{hint}"


def too_large(what: str = "the file is") -> tuple[str, str]:
    """Say that rules are too large, and what to do."""
    return f"{what} larger than {MAX_DOCUMENT_BYTES:,} bytes", TOO_LARGE_HINT
