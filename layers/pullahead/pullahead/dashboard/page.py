"""Put the page together: within CloudWatch, as a file, or as an error that says what to do."""

from typing import Final

from pullahead.dashboard.console_links import console_of
from pullahead.dashboard.controls import Controls, FileControls, WidgetControls
from pullahead.dashboard.heat_table import heat_table
from pullahead.dashboard.html import Html, element, joined
from pullahead.dashboard.mirror_rows import Snapshot, worst_first
from pullahead.dashboard.script import SCRIPT
from pullahead.dashboard.style import style_sheet
from pullahead.dashboard.table import matching, nothing_here, pager, table
from pullahead.dashboard.tiles import tiles
from pullahead.dashboard.widget_request import Theme, View
from pullahead.text import moment_text, one_line

ROWS_PER_PAGE: Final = 50
MAX_ROWS_OF_A_FILE: Final = 5000
_MAX_ERROR: Final = 500


def widget_page(snapshot: Snapshot, view: View, theme: Theme, endpoint: str) -> Html:
    """Draw the page for a custom widget; `endpoint` is the ARN of the function that draws it."""
    controls, console = WidgetControls(endpoint), console_of(endpoint)
    found = worst_first(matching(snapshot.records, view))
    pages = max(1, -(-len(found) // ROWS_PER_PAGE))
    view = view._replace(page=min(view.page, pages))
    first = (view.page - 1) * ROWS_PER_PAGE
    shown = found[first : first + ROWS_PER_PAGE]
    listed = table(shown, snapshot.now, console, scripted=False) if shown else nothing_here(snapshot)
    count = _count(first, len(shown), len(found), len(snapshot.records))
    body = _body(snapshot, view, controls, count, joined(listed, pager(view, pages, controls)))
    return _themed(body, theme)


def file_page(snapshot: Snapshot, title: str) -> Html:
    """Draw the page as a file of its own, all mirrors on it; a few lines of script filter them."""
    controls, total = FileControls(), len(snapshot.records)
    shown = worst_first(snapshot.records)[:MAX_ROWS_OF_A_FILE]
    listed = nothing_here(snapshot)
    if shown:
        no_match = element("div", nothing_here(snapshot), id="none", hidden=True)
        listed = joined(table(shown, snapshot.now, None, scripted=True), no_match)
    body = _body(snapshot, View(), controls, _count(0, len(shown), total, total), listed)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("title", title),
        element("style", Html("body{margin:0}@media(prefers-color-scheme:dark){body{background:#10171f}}")),
    )
    script = element("script", Html(SCRIPT))
    return joined(
        Html("<!doctype html>"),
        element("html", head, element("body", _themed(body, Theme.AUTO), script), lang="en"),
        "\n",
    )


def error_page(error: str, theme: Theme, endpoint: str) -> Html:
    """Say that nothing could be read, why, and what to do."""
    advice = (
        "Mirrors go on being checked and refreshed: this page only reads.",
        "If it lasts, look at the log of show_mirrors.",
        "Its role needs dynamodb:Scan and dynamodb:BatchGetItem on the table of records.",
    )
    note = element(
        "div",
        element("p", element("b", "The records cannot be read")),
        element("p", element("code", one_line(error, _MAX_ERROR))),
        element("ul", *(element("li", step) for step in advice)),
        class_="note bad",
        role="alert",
    )
    again = WidgetControls(endpoint).button(Html("Try again"), View(), {"class_": "btn"})
    return _themed(joined(_top(None), note, element("div", again, class_="pager")), theme)


def _body(snapshot: Snapshot, view: View, controls: Controls, count: str, listed: Html) -> Html:
    filled = element("div", controls.form(view), element("span", count, class_="count", id="count"), class_="bar")
    cut = None
    if not snapshot.complete:
        cut = element("p", f"Only the first {len(snapshot.records):,} records were read; there are more.", role="alert")
    return joined(
        _top(f"As of {moment_text(snapshot.now)}"),
        tiles(snapshot, view, controls),
        cut,
        filled if snapshot.records else None,
        listed,
        heat_table(snapshot),
    )


def _top(moment: str | None) -> Html:
    when = element("span", moment, class_="dim") if moment is not None else None
    return element("div", element("h2", "Mirrors"), when, class_="top")


def _count(first: int, shown: int, found: int, total: int) -> str:
    if not shown:
        return f"None of {total:,} mirrors"
    if shown == total:
        return f"{total:,} mirror" if total == 1 else f"{total:,} mirrors"
    if shown == found:
        return f"{found:,} of {total:,} mirrors"
    of_all = f" (of {total:,})" if found != total else ""
    return f"{first + 1:,} to {first + shown:,} of {found:,}{of_all}"


def _themed(body: Html, theme: Theme) -> Html:
    # The class switches the console's own styles off, so that both look alike.
    return joined(style_sheet(theme), element("div", body, class_="pa cwdb-no-default-styles"))
