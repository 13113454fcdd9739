"""The documents name files that exist, and link to pages and headings that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE_ROOT, ROOT

FILE = re.compile(r"`([\w./-]+(?:/|\.(?:py|yaml|json|txt|toml|md|css|js|html)))`")
FILE_IN_DRAWING = re.compile(r"(?<![\w/.])(\w+(?:/\w+)+\.py)\b")
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
PACKAGE = ROOT / PACKAGE_ROOT / "pullahead"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def missing_files(text: str) -> Iterator[str]:
    """Find the files that a text names, and that exist neither in the package nor at the root."""
    for name in dict.fromkeys([*FILE.findall(text), *FILE_IN_DRAWING.findall(text)]):
        if "NAME" not in name and not (PACKAGE / name).exists() and not (ROOT / name).exists():
            yield name


def anchors(text: str) -> set[str]:
    """List the anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> Iterator[str]:
    """Find the links of a page that lead to no file, or to no heading."""
    for target, anchor in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        file = page.parent / target if target else page
        if not file.exists():
            yield target
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield f"{target}#{anchor}"


@pytest.mark.parametrize("document", ["docs/how-it-works.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_files_that_a_document_names_exist(document: str) -> None:
    assert list(missing_files((ROOT / document).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_have_a_target(page: Path) -> None:
    assert list(broken_links(page, page.read_text(encoding="utf-8"))) == []


def test_missing_file_is_found_in_code_and_in_drawings() -> None:
    text = "`mirrors/judge.py`, `mirrors/jury.py` ─▶ refresh/plan.py ─▶ refresh/plot.py; `template.yaml`, `nowhere/`"
    assert list(missing_files(text)) == ["mirrors/jury.py", "nowhere/", "refresh/plot.py"]


def test_broken_link_is_found() -> None:
    text = (
        "[a](CHANGELOG.md) [b](GONE.md) [c](docs/deploying.md#remove-it) [d](docs/deploying.md#destroy-it) [e](#here)"
    )
    assert list(broken_links(ROOT / "README.md", text)) == ["GONE.md", "docs/deploying.md#destroy-it", "#here"]
