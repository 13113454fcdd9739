"""What is wrong with a rules file, all of it at once, each with its line, its path and a way out. Pure."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from pullahead.errors import ConfigError

_MAX_SHOWN_PROBLEMS = 100
_MAX_SHOWN_CHARACTERS = 80


class Problem(NamedTuple):
    """One thing that is wrong. `path` is like `mirrors[2].tags[0]`, counted from zero, empty for the whole file."""

    line: int
    path: str
    message: str
    hint: str = ""


class RulesError(ConfigError):
    """The rules cannot be used. Names every problem, not only the first."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        lines = [describe(source, problem) for problem in self.problems[:_MAX_SHOWN_PROBLEMS]]
        if left_out := len(self.problems) - len(lines):
            lines.append(f"{source}: and {left_out} more.")
        super().__init__("\n".join(lines))


def quoted(text: str) -> str:
    """Quote what somebody wrote, shortened, on one line."""
    return repr(text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Say which known word was probably meant, or which there are."""
    words = tuple(known)
    close = get_close_matches(word[:_MAX_SHOWN_CHARACTERS], words, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(words)}."


def describe(source: str, problem: Problem) -> str:
    """Write a problem as one line, `FILE:LINE: path: message. hint`."""
    path = f"{problem.path}: " if problem.path else ""
    hint = f" {problem.hint}" if problem.hint else ""
    return f"{source}:{problem.line}: {path}{problem.message}.{hint}"
