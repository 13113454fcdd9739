"""The page of mirrors in a real browser: rows, filter, escaping, themes. Pictures are kept in `.build/dashboard/`."""

import json
import struct
import zlib
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from pullahead.dashboard.mirror_rows import Snapshot
from pullahead.dashboard.page import error_page, file_page, widget_page
from pullahead.dashboard.widget_request import Theme, View
from pullahead.mirrors.record import State
from tests.architecture.source import ROOT
from tests.e2e.browser import Browser, needs_browser
from tests.unit.dashboard.documents import Document
from tests.unit.dashboard.landscape import ENDPOINT, NOW, fresh, landscape, troubled

pytestmark = [pytest.mark.browser, needs_browser]

PICTURES = ROOT / ".build/dashboard"
EVIL = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
WHITE, NIGHT = (255, 255, 255), (16, 23, 31)
WIDTHS = (390, 620, 700, 960, 1000, 1400)
HOURS = (3, 9, 15, 21)  # the first day and today have one column, or two, three, four
MEASURE = """
const measured = [...document.querySelectorAll('.box')].map(box => {
  const headings = [...box.querySelectorAll('.heat thead th')].filter(th => th.offsetWidth > 1);
  const scroll = box.querySelector('.heat').parentElement;
  return {
    name: box.id,
    hidden: scroll.scrollWidth - scroll.clientWidth,
    headings: headings.map(th => {
      const text = document.createRange();
      text.selectNodeContents(th);
      const {left, right} = text.getBoundingClientRect();
      return {text: th.innerText, left, right, end: th.getBoundingClientRect().right};
    }),
  };
});
document.body.innerText = JSON.stringify(measured);
"""


class Heading(NamedTuple):
    """A visible heading of the heat map: its text, from where to where that goes, and where its cell ends."""

    text: str
    left: float
    right: float
    end: float


class MeasuredMap(NamedTuple):
    """A heat map as it is laid out in a box; `hidden`: how many pixels one must scroll to."""

    name: str
    hidden: float
    headings: list[Heading]


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    PICTURES.mkdir(parents=True, exist_ok=True)
    return Browser(tmp_path)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "mirrors.html"
    path.write_text(file_page(landscape(), "Pullahead: mirrors"), encoding="utf-8")
    return path


def visible(dom: str) -> list[str | None]:
    rows = [row.attributes for row in Document(dom).all("tr") if "data-key" in row.attributes]
    return [row["data-key"] for row in rows if "hidden" not in row]


def test_all_mirrors_are_listed_worst_first(browser: Browser, page: Path) -> None:
    dom = browser.dom(page)
    assert len(visible(dom)) == 19
    assert visible(dom)[0] == "mirror/library/postgres:15"
    assert "19 mirrors" in Document(dom).texts("span", "count")


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ("#state=GONE", ["mirror/fluxcd/source-controller:v1.4.1"]),
        ("#prefix=mirror/library/alpine:3.2", ["mirror/library/alpine:3.20", "mirror/library/alpine:3.21"]),
        ("#state=STALE&prefix=mirror/library/a", ["mirror/library/alpine:latest"]),
        ("#prefix=library/alpine", []),
    ],
)
def test_filter_shows_matching_mirrors_only(browser: Browser, page: Path, view: str, shown: list[str]) -> None:
    dom = browser.dom(page, view)
    assert visible(dom) == shown
    document = Document(dom)
    assert f"{len(shown)} of 19 mirrors" in document.texts("span", "count")
    (no_match,) = [each for each in document.elements if each.attributes.get("id") == "none"]
    assert ("hidden" in no_match.attributes) is bool(shown)
    pressed = [each.attributes["data-show"] for each in document.all("button") if _is_pressed(each.attributes)]
    assert pressed == [part[6:] for part in view[1:].split("&") if part.startswith("state=")]


def _is_pressed(attributes: dict[str, str | None]) -> bool:
    return attributes.get("aria-pressed") == "true"


def test_record_cannot_run_a_script(browser: Browser, tmp_path: Path) -> None:
    record = troubled(fresh(f"mirror/{EVIL}:1", EVIL), State.UNKNOWN, timedelta(1), EVIL)
    snapshot = Snapshot([record], NOW, NOW)
    path = tmp_path / "evil.html"
    path.write_text(file_page(snapshot, "untouched"), encoding="utf-8")
    document = Document(browser.dom(path))
    assert document.texts("title") == ["untouched"]
    assert document.all("img") == []
    assert document.texts("tr")[1].count("document.title='taken'") == 6  # in sight, as text


@pytest.mark.parametrize("dark", [False, True])
def test_file_follows_the_browsers_theme(browser: Browser, page: Path, dark: bool) -> None:
    name = f"file-{'dark' if dark else 'light'}.png"
    picture = browser.screenshot(page, PICTURES / name, 1400, 1700, dark=dark)
    assert corner(picture) == (NIGHT if dark else WHITE)


@pytest.mark.parametrize(("theme", "width"), [(Theme.LIGHT, 1400), (Theme.DARK, 1000), (Theme.LIGHT, 360)])
def test_widget_has_the_consoles_theme(browser: Browser, tmp_path: Path, theme: Theme, width: int) -> None:
    path = _widget(tmp_path, widget_page(landscape(), View(), theme, ENDPOINT))
    picture = browser.screenshot(path, PICTURES / f"widget-{theme}-{width}.png", width, 1700, dark=theme is Theme.LIGHT)
    assert corner(picture) == (NIGHT if theme is Theme.DARK else WHITE)


def test_headings_of_the_heat_map_do_not_overlap_at_any_width(browser: Browser, tmp_path: Path) -> None:
    maps = _measured_maps(browser, tmp_path)
    assert len(maps) == len(WIDTHS) * len(HOURS)
    for heat in maps:
        assert len(heat.headings) >= 7, heat.name  # one for each day
        assert heat.hidden <= 0, f"{heat.name}: {heat.hidden} pixels of the map are out of sight"
        for heading, following in zip(heat.headings, heat.headings[1:], strict=False):
            assert heading.right <= following.left, f"{heat.name}: {heading.text!r} runs into {following.text!r}"
        cut = [heading.text for heading in heat.headings if heading.right > heading.end]
        assert not cut, f"{heat.name}: {cut} are cut off"


def _measured_maps(browser: Browser, folder: Path) -> list[MeasuredMap]:
    """Lay the page out at several widths and times of the day, and measure the heat maps."""
    boxes = [
        f'<div class="box" id="{width} px at {hour}:40" style="width:{width}px">'
        f"{widget_page(landscape()._replace(now=NOW.replace(hour=hour)), View(), Theme.LIGHT, ENDPOINT)}</div>"
        for width in WIDTHS
        for hour in HOURS
    ]
    dom = browser.dom(_widget(folder, f"{''.join(boxes)}<script>{MEASURE}</script>"))
    (text,) = Document(dom).texts("body")
    return [
        MeasuredMap(each["name"], each["hidden"], [Heading(**heading) for heading in each["headings"]])
        for each in json.loads(text)
    ]


def test_error_and_empty_pages_are_drawn(browser: Browser, tmp_path: Path) -> None:
    pages = {
        "empty": widget_page(Snapshot([], None, NOW), View(), Theme.LIGHT, ENDPOINT),
        "error": error_page("read of all records failed: throttled", Theme.LIGHT, ENDPOINT),
        "no-match": widget_page(landscape(), View(prefix="zzz"), Theme.LIGHT, ENDPOINT),
    }
    for name, page in pages.items():
        picture = browser.screenshot(_widget(tmp_path, page), PICTURES / f"widget-{name}.png", 1000, 600)
        assert corner(picture) == WHITE


def _widget(folder: Path, content: str) -> Path:
    """Put a widget's content into a page, as the console does."""
    path = folder / "widget.html"
    path.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{content}', encoding="utf-8")
    return path


def corner(picture: Path) -> tuple[int, ...]:
    """Read the colour of a PNG's first pixel: PNG specification, second edition, "Filter type" of a first scanline."""
    content = picture.read_bytes()
    position, packed = 8, b""
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        if content[position + 4 : position + 8] == b"IDAT":
            packed += content[position + 8 : position + 8 + length]
        position += 12 + length
    # In the first pixel of the first line every filter leaves the value as it is.
    return tuple(zlib.decompressobj().decompress(packed, 4)[1:])
