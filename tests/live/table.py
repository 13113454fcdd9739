"""Writes the table of a run, fact by fact, and what a difference means."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from tests.live.fact import Fact, Result, Verdict

_VERDICT_WIDTH: Final = max(len(verdict) for verdict in Verdict)
_INDENT: Final = " " * 4


def heading(facts: Sequence[Fact]) -> str:
    """Write the head of the table."""
    return f"{'FACT':<{_width(facts)}}  {'RESULT':<{_VERDICT_WIDTH}}  SEEN"


def row(result: Result, facts: Sequence[Fact], *, is_local: bool) -> str:
    """Write one row, and below it what follows from a difference."""
    line = f"{result.fact.id:<{_width(facts)}}  {result.verdict:<{_VERDICT_WIDTH}}  {_one_line(result.seen)}"
    if result.verdict is not Verdict.DIFFERS:
        return line
    fact = result.fact
    fault = (
        "the local AWS does not do what the code relies on"
        if is_local
        else f"fault of the emulation, which is as the code expects: {', '.join(fact.emulated_in) or 'none'}"
    )
    lines = (line, f"expected: {fact.claim}", fault, f"relied on by: {', '.join(fact.relied_on_by)}")
    return f"\n{_INDENT}".join(lines)


def summary(results: Iterable[Result], unchecked: int) -> str:
    """Count the results."""
    counted = Counter(result.verdict for result in results)
    shown = [f"{counted[verdict]} {verdict}" for verdict in Verdict if counted[verdict]]
    return f"{', '.join(shown)}; {unchecked} cannot be checked by a run (docs/facts.md says why)"


def _width(facts: Sequence[Fact]) -> int:
    return max(len(fact.id) for fact in facts)


def _one_line(text: str) -> str:
    return " ".join(text.split())
