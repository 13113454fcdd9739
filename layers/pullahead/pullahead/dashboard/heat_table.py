"""The heat map as a table: repositories by days, a number in each cell that is not all fresh."""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Final

from pullahead.dashboard.heat_map import DAYS, MOST_ROWS, HeatMap, HeatRow, heat_map
from pullahead.dashboard.html import Html, element
from pullahead.dashboard.mirror_rows import Snapshot

_LEVELS: Final = ((0.0, "h0"), (0.1, "h1"), (0.4, "h2"), (0.8, "h3"), (1.0, "h4"))
_LEGEND: Final = (
    ("h0", "fresh all the time"),
    ("h1", "up to 10 %"),
    ("h2", "up to 40 %"),
    ("h3", "up to 80 %"),
    ("h4", "more of the time not fresh"),
    ("none", "not known"),
)


def heat_table(snapshot: Snapshot) -> Html | None:
    """Draw the heat map; None where there is no mirror."""
    if not snapshot.records:
        return None
    heat = heat_map(snapshot.records, snapshot.transitions, snapshot.now)
    head = element("thead", element("tr", element("th", "Repository", scope="col"), *_days(heat)))
    body = element("tbody", *(_row(row, heat.starts) for row in heat.rows))
    shown = element("table", head, body, class_="heat")
    return element(
        "section",
        element("h3", f"Not fresh, last {DAYS} days"),
        element("p", _explained(heat), class_="dim"),
        element("div", shown, class_="scroll", tabindex=0, role="region", aria_label="Heat map"),
        _legend(),
    )


def _days(heat: HeatMap) -> Iterator[Html]:
    for day, starts in groupby(heat.starts, key=lambda start: start.date()):
        buckets = len(list(starts))
        # A day that is only half within the map has little room.
        text = day.strftime("%a %d %b" if buckets > 2 else "%d %b" if buckets > 1 else "%d")
        yield element("th", text, scope="colgroup", colspan=buckets)


def _row(row: HeatRow, starts: tuple[datetime, ...]) -> Html:
    cells = (_cell(share, start) for share, start in zip(row.cells, starts, strict=True))
    title = f"{row.repository}: {_counted(row.mirrors, 'mirror')}"
    return element("tr", element("th", row.repository, scope="row", title=title), *cells)


def _cell(share: float | None, start: datetime) -> Html:
    when = start.strftime("%d %b %H:%M")
    if share is None:
        return element("td")
    percent = round(share * 100)
    level = next(name for most, name in _LEVELS if share <= most)
    text = None if share <= 0 else f"{percent}" if percent else "<1"
    return element("td", text, class_=level, title=f"{when}: {text or 0} %")


def _explained(heat: HeatMap) -> str:
    said = [
        "The number is the share of time, in per cent, for which a repository's mirrors were not fresh (times in UTC)."
    ]
    if heat.left_out:
        said.append(f"The {MOST_ROWS} worst repositories; {heat.left_out:,} more were no worse.")
    return " ".join(said)


def _legend() -> Html:
    return element(
        "div", *(element("span", element("i", class_=level), text) for level, text in _LEGEND), class_="legend"
    )


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
