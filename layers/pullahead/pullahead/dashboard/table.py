"""The table of mirrors, a page of it, and what stands there instead where there is nothing to list."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pullahead.dashboard.console_links import Console
from pullahead.dashboard.controls import Controls
from pullahead.dashboard.html import Html, element, joined
from pullahead.dashboard.mirror_rows import Row, Snapshot, row_of
from pullahead.dashboard.states import APPEARANCES, icon_of
from pullahead.dashboard.widget_request import View
from pullahead.mirrors.record import Record
from pullahead.text import moment_text, span_text

_JOINT: Final = re.compile(r"(?<=[/:])")
_HEADINGS: Final = (("State", None), ("Mirror", None), ("Not fresh for", "num"), ("Copied", "num"), ("Why", None))


def matching(records: Sequence[Record], view: View) -> list[Record]:
    """Choose the mirrors of a view, on all its pages."""
    return [
        record
        for record in records
        if (view.state is None or record.state is view.state) and str(record.key).startswith(view.prefix)
    ]


def table(records: Sequence[Record], now: datetime, console: Console | None, *, scripted: bool) -> Html:
    """Draw a table of mirrors in the order given; `scripted` adds what the script of a file looks at."""
    rows = [_row(row_of(record, now), console, scripted) for record in records]
    headings = [element("th", text, scope="col", class_=align) for text, align in _HEADINGS]
    if console is not None:
        headings.append(element("th", "Console", scope="col"))
    head, body = element("thead", element("tr", *headings)), element("tbody", *rows)
    return element("div", element("table", head, body, class_="mirrors"), class_="scroll")


def pager(view: View, pages: int, controls: Controls) -> Html | None:
    """Draw what leads to the pages before and after."""
    if pages <= 1:
        return None
    pieces = [element("span", f"Page {view.page:,} of {pages:,}", class_="dim")]
    if view.page > 1:
        pieces.append(controls.button(Html("Previous"), view._replace(page=view.page - 1), {"class_": "btn"}))
    if view.page < pages:
        pieces.append(controls.button(Html("Next"), view._replace(page=view.page + 1), {"class_": "btn"}))
    return element("nav", *pieces, class_="pager", aria_label="Pages")


def nothing_here(snapshot: Snapshot) -> Html:
    """Say why the table is empty and what to do."""
    if snapshot.records:
        return _note("No mirror matches", "Take a state or a part of the name out of the filter.")
    if snapshot.last_check is None:
        return _note(
            "No mirrors yet",
            "Checks have not run since Pullahead was deployed. They begin by the schedule, mostly within five minutes.",
            "Say what to mirror in layers/rules/rules.yaml, then sam build and sam deploy.",
            "Or check at once: the stack's output CheckNow says how.",
        )
    return _note(
        "No mirrors yet",
        "Checks run, but none has found a mirror: the rules name none, or the first check is still under way.",
        "Say what to mirror in layers/rules/rules.yaml, then sam build and sam deploy.",
        "If the rules do name mirrors, look at the log of check_freshness and at the queue of dead letters.",
    )


def _note(title: str, text: str, *advice: str) -> Html:
    steps = element("ul", *(element("li", step) for step in advice)) if advice else None
    return element("div", element("p", element("b", title)), element("p", text, class_="dim"), steps, class_="note")


def _row(row: Row, console: Console | None, scripted: bool) -> Html:
    cells = [
        element("td", element("span", icon_of(row.state), row.state, class_="state")),
        element("th", _name(row, console), element("span", row.upstream, class_="sub"), scope="row"),
        _span_cell("Not fresh for", row.unfresh_for, row.unfresh_since),
        _span_cell("Copied", row.copy_age, row.copied_at, " ago"),
        _why(row),
    ]
    if console is not None:
        cells.append(_links(row, console))
    marks = {"data_key": str(row.key), "data_state": row.state.value} if scripted else {}
    return element("tr", *cells, **marks)


def _name(row: Row, console: Console | None) -> Html:
    leads_to = console.repository(row.repository) if console is not None else None
    name = _breakable(str(row.key))
    if leads_to is None:
        return element("span", name, class_="key")
    return element("a", name, class_="key", href=leads_to, target="_blank", rel="noopener", title="Repository in ECR")


def _breakable(key: str) -> Html:
    """Let a long name break where its parts meet."""
    parts = (joined(part) for part in _JOINT.split(key))
    return Html("<wbr>".join(parts))


def _span_cell(label: str, span: timedelta | None, moment: datetime | None, behind: str = "") -> Html:
    if span is None or moment is None:
        return element("td", element("span", "—", class_="dim"), class_="num", data_l=label)
    return element("td", f"{span_text(span)}{behind}", class_="num", data_l=label, title=moment_text(moment))


def _why(row: Row) -> Html:
    if row.unfresh_for is None:
        return element("td", class_="why")
    if not row.cause:
        return element("td", element("span", APPEARANCES[row.state].means, class_="dim"), class_="why", data_l="Why")
    tried = None
    if row.next_try is not None:
        tried = (
            "next try at the next check" if row.next_try <= timedelta() else f"next try in {span_text(row.next_try)}"
        )
    below = element("span", tried, class_="sub") if tried is not None else None
    return element("td", element("span", row.cause, below), class_="why", data_l="Why")


def _links(row: Row, console: Console) -> Html:
    leads_to = console.execution(row.execution)
    if leads_to is None:
        return element("td", class_="links")
    link = element(
        "a", "Last refresh", href=leads_to, target="_blank", rel="noopener", title="Execution of the refresh"
    )
    return element("td", link, class_="links", data_l="Console")
