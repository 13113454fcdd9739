"""Draw the page of mirrors: as the CloudWatch widget, as a file, or as an error that says what to do.

What the page looks like is in `page.html`, `style.css` and `script.js`; here is what it shows.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final, NamedTuple

from pullahead.dashboard.assets import environment, script, style_sheet
from pullahead.dashboard.console_links import console_of
from pullahead.dashboard.heat_map import DAYS, heat_map
from pullahead.dashboard.mirror_rows import Snapshot, longest_unfresh, row_of, unfresh_since, worst_first
from pullahead.dashboard.states import STATE_MEANINGS
from pullahead.dashboard.widget_request import MAX_PREFIX_CHARACTERS, Theme, View
from pullahead.mirrors.record import SETTLED, WAITING, Record, State
from pullahead.text import one_line

ROWS_PER_PAGE: Final = 50
MAX_ROWS_OF_A_FILE: Final = 5000
QUIET_AFTER: Final = timedelta(minutes=30)
"""Checks are sent every five minutes as template.yaml has it; none for so long is worth a warning."""
_MAX_ERROR: Final = 500
_ALL: Final = View()


class StateTile(NamedTuple):
    """A button with the number of mirrors in a state, which filters by it or, a second time, no longer does."""

    state: State
    mirrors: int | None  # None: they are not counted yet
    means: str
    pressed: bool
    view: View


class Longest(NamedTuple):
    """The mirror that has not been fresh for longest."""

    key: str
    since: datetime


class HeatDay(NamedTuple):
    """The heading of a day in the heat map; weekday and month are empty where it has too few columns for them."""

    weekday: str
    day: str
    month: str
    columns: int


def widget_page(snapshot: Snapshot, view: View, theme: Theme, endpoint: str) -> str:
    """Draw the page for a custom widget; `endpoint` is the ARN of the function that draws it."""
    found = worst_first(_matching(snapshot.records, view))
    pages = max(1, -(-len(found) // ROWS_PER_PAGE))
    view = view._replace(page=min(view.page, pages))
    first = (view.page - 1) * ROWS_PER_PAGE
    shown = found[first : first + ROWS_PER_PAGE]
    count = _count_text(first, len(shown), len(found), snapshot.mirrors)
    return _render(theme, endpoint, **_content(snapshot, view, shown), pages=pages, count=count)


def file_page(snapshot: Snapshot, title: str) -> str:
    """Draw the page as a file of its own, all mirrors on it; a few lines of script filter them."""
    shown = worst_first(snapshot.records)[:MAX_ROWS_OF_A_FILE]
    count = _count_text(0, len(shown), len(snapshot.records), snapshot.mirrors)
    content = _content(snapshot, _ALL, shown)
    return _render(Theme.AUTO, "", **content, pages=1, count=count, title=title, script=script()) + "\n"


def error_page(error: str, theme: Theme, endpoint: str) -> str:
    """Say that nothing could be read, why, and what to do."""
    return _render(theme, endpoint, error=one_line(error, _MAX_ERROR))


def _render(theme: Theme, endpoint: str, **values: Any) -> str:
    common = {"all": _ALL, "endpoint": endpoint, "error": "", "style": style_sheet(theme), "title": ""}
    return environment().get_template("page.html").render({**common, "console": console_of(endpoint), **values})


def _content(snapshot: Snapshot, view: View, shown: Sequence[Record]) -> dict[str, Any]:
    heat = heat_map(snapshot.records, snapshot.transitions, snapshot.now)
    longest = longest_unfresh(snapshot.records)
    last_check = snapshot.last_check
    return {
        "checks_stopped": last_check is not None and snapshot.now - last_check > QUIET_AFTER,
        "heat": heat,
        "heat_days": DAYS,
        "heat_head": list(_heat_days(heat.starts)),
        "longest": None if longest is None else Longest(str(longest.key), unfresh_since(longest) or longest.since),
        "max_prefix": MAX_PREFIX_CHARACTERS,
        "means": STATE_MEANINGS,
        "none_left": timedelta(),
        "rows": [row_of(record, snapshot.now) for record in shown],
        "snapshot": snapshot,
        "state_tiles": list(_state_tiles(snapshot, view)),
        "states": list(STATE_MEANINGS),
        "view": view,
    }


def _matching(records: Sequence[Record], view: View) -> list[Record]:
    return [
        record
        for record in records
        if (view.state is None or record.state is view.state) and str(record.key).startswith(view.prefix)
    ]


_SELDOM = frozenset({State.DELETED, *WAITING})
"""States of which few rules have any: without one, they would only puzzle the reader."""


def _state_tiles(snapshot: Snapshot, view: View) -> Iterator[StateTile]:
    counts = snapshot.counts
    uncounted = SETTLED if snapshot.settled is not None and snapshot.settled.at is None else frozenset()
    for state, means in STATE_MEANINGS.items():
        pressed = view.state is state
        if state not in _SELDOM or counts[state] or pressed:
            mirrors = None if state in uncounted else counts[state]
            yield StateTile(state, mirrors, means, pressed, View(None if pressed else state, view.prefix))


def _heat_days(starts: Sequence[datetime]) -> Iterator[HeatDay]:
    for day, of_day in groupby(starts, key=lambda start: start.date()):
        columns = len(list(of_day))  # the first and the last day may be only partly within the map
        weekday, month = day.strftime("%a") if columns > 3 else "", day.strftime("%b") if columns > 1 else ""
        yield HeatDay(weekday, day.strftime("%d"), month, columns)


def _count_text(first: int, shown: int, found: int, total: int) -> str:
    if not shown:
        return f"None of {total:,} mirrors"
    if shown == total:
        return f"{total:,} mirror" if total == 1 else f"{total:,} mirrors"
    if shown == found:
        return f"{found:,} of {total:,} mirrors"
    of_all = f" (of {total:,})" if found != total else ""
    return f"{first + 1:,} to {first + shown:,} of {found:,}{of_all}"
