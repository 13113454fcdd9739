"""`python -m tests.live.documents` writes docs/facts.md from the facts, and keeps what the page says was seen live."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.architecture.source import PACKAGE_ROOT, ROOT
from tests.live.fact import Fact, Result, Verdict
from tests.live.facts import SECTIONS

PAGE: Final = ROOT / "docs" / "facts.md"
NOT_YET: Final = "not yet"
_PACKAGE: Final = PACKAGE_ROOT / "pullahead"
_COLUMNS: Final = ("Fact", "What the code relies on", "Source", "Relied on by", "Emulated in", "Seen live")
_ROW: Final = re.compile(r"^\| `([a-z0-9-]+)` \|.*\| ([^|]*) \|$", re.MULTILINE)
_HEAD: Final = Path(__file__).with_name("facts_head.md")


def page(seen: Mapping[str, str]) -> str:
    """Write the page; `seen` says by ID what was seen live."""
    return "\n".join([_HEAD.read_text(encoding="utf-8").rstrip(), "", *_sections(seen)])


def read_seen(text: str) -> dict[str, str]:
    """Read from a page what was seen live, by ID."""
    return dict(_ROW.findall(text))


def with_results(seen: Mapping[str, str], results: Iterable[Result], region: str, at: datetime) -> dict[str, str]:
    """Add what a run in a real account has seen. What it could not check stays as it was."""
    day = at.date().isoformat()
    told = {
        Verdict.AGREES: f"{day}, {region}",
        Verdict.DIFFERS: f"**differs** {day}, {region}",
    }
    news = {result.fact.id: told[result.verdict] for result in results if result.verdict in told}
    return {**seen, **news}


def file_of(name: str) -> Path:
    """Find a file that a fact names: in the package, else from the root."""
    return ROOT / _PACKAGE / name if (ROOT / _PACKAGE / name).exists() else ROOT / name


def write_page(seen: Mapping[str, str], path: Path = PAGE) -> None:
    """Write the page to its place."""
    path.write_text(page(seen), encoding="utf-8")


def _sections(seen: Mapping[str, str]) -> Iterator[str]:
    for section in SECTIONS:
        yield f"## {section.title}\n"
        yield f"| {' | '.join(_COLUMNS)} |"
        yield f"| {' | '.join('---' for _ in _COLUMNS)} |"
        yield from (_row(fact, seen.get(fact.id, NOT_YET)) for fact in section.facts)
        yield ""


def _row(fact: Fact, seen: str) -> str:
    state = f"cannot be checked: {fact.reason}" if fact.check is None else seen
    emulated = ", ".join(map(_link, fact.emulated_in)) or (f"not: {fact.only_live}" if fact.only_live else "")
    cells = (f"`{fact.id}`", fact.claim, fact.source, ", ".join(map(_link, fact.relied_on_by)), emulated, state)
    return f"| {' | '.join(cells)} |"


def _link(name: str) -> str:
    return f"[{name}](../{file_of(name).relative_to(ROOT)})"


def main(path: Path = PAGE) -> int:
    """Write the page anew, with what it has of earlier runs."""
    seen = read_seen(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_page(seen, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
