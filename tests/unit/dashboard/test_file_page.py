"""The page as a file: it loads nothing, and has what its script needs."""

from pullahead.dashboard.mirror_rows import Snapshot
from pullahead.dashboard.page import MAX_ROWS_OF_A_FILE, file_page
from tests.unit.dashboard.documents import Document
from tests.unit.dashboard.landscape import NOW, fresh, landscape


def test_file_loads_nothing() -> None:
    page = file_page(landscape(), "All <mirrors>")
    document = Document(page)
    assert page.startswith('<!doctype html><html lang="en"><head><meta charset="utf-8">')
    assert document.unclosed == []
    assert document.texts("title") == ["All <mirrors>"]
    assert "prefers-color-scheme:dark" in page
    assert not any(outside in page for outside in ("http:", "https:", "url(", "cwdb-action endpoint"))


def test_rows_have_the_data_that_the_script_filters_by() -> None:
    document = Document(file_page(landscape(), "t"))
    rows = [row.attributes for row in document.all("tr") if "data-key" in row.attributes]
    assert len(rows) == 19
    assert rows[0] == {"data-key": "mirror/library/postgres:15", "data-state": "BLOCKED"}
    shows = [tile.attributes.get("data-show") for tile in document.all("button", "tile")]
    assert shows == ["BLOCKED", "GONE", "STALE", "MISSING", "UNKNOWN", "FRESH"]


def test_rows_of_the_file_are_bounded_and_counted() -> None:
    document = Document(file_page(Snapshot([fresh(f"a:{n}") for n in range(MAX_ROWS_OF_A_FILE + 1)], NOW, NOW), "t"))
    assert len([row for row in document.all("tr") if "data-key" in row.attributes]) == MAX_ROWS_OF_A_FILE
    assert "1 to 5,000 of 5,001" in document.texts("span", "count")


def test_file_without_mirrors_says_what_to_do() -> None:
    assert "layers/rules/rules.yaml" in Document(file_page(Snapshot([], None, NOW), "t")).texts("div", "note")[0]
