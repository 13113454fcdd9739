"""The page in CloudWatch: rows, filter, pages and links; its size; escaping."""

import json
import re
import time
from datetime import timedelta

import pytest

from pullahead.dashboard.mirror_rows import SettledCount, Snapshot
from pullahead.dashboard.page import ROWS_PER_PAGE, error_page, widget_page
from pullahead.dashboard.widget_request import MAX_PREFIX_CHARACTERS, Theme, View, read_request
from pullahead.mirrors.record import MirrorRecord, State, Transition
from pullahead.rules.mirror_key import MirrorKey
from tests.unit.dashboard.documents import Document
from tests.unit.dashboard.landscape import ENDPOINT, EXECUTION, NOW, fresh, landscape, troubled

ALL = View()
MAX_BYTES = 128 * 1024
EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&lt;"


def shown(records: list[MirrorRecord], view: View = ALL, **more: object) -> Document:
    return drawn(Snapshot(records, NOW, NOW)._replace(**more), view)  # type: ignore[arg-type]


def drawn(snapshot: Snapshot, view: View = ALL, theme: Theme = Theme.LIGHT) -> Document:
    document = Document(widget_page(snapshot, view, theme, ENDPOINT))
    assert document.unclosed == []
    return document


def keys(document: Document) -> list[str]:
    return [element.text for element in document.elements if element.has_class("key")]


def calls(document: Document) -> list[View]:
    """Read where the page's buttons lead, as the function would when it is called."""
    actions = document.all("cwdb-action")
    assert {action.attributes["endpoint"] for action in actions} <= {ENDPOINT}
    assert {action.attributes["action"] for action in actions} <= {"call"}
    return [read_request(json.loads(action.text)).view for action in actions]


def many(count: int) -> list[MirrorRecord]:
    return [fresh(f"mirror/app:{n:05}") for n in range(count)]


class TestTable:
    def test_every_mirror_is_a_row_worst_first(self) -> None:
        document = drawn(landscape())
        assert len(keys(document)) == 19
        assert keys(document)[:2] == ["mirror/library/postgres:15", "mirror/fluxcd/source-controller:v1.4.1"]
        assert document.texts("span", "state")[:3] == ["BLOCKED", "GONE", "STALE"]
        assert "19 mirrors" in document.texts("span", "count")

    def test_row_has_state_ages_and_cause(self) -> None:
        stale = troubled(fresh("a:1"), State.STALE, timedelta(hours=3), "429 Too Many Requests")
        row = shown([stale]).texts("tr")[1]
        for said in ("STALE", "a:1", "docker.io/library/app:1.0", "3 h", "3 d ago", "429 Too Many", "in 25 min"):
            assert said in row

    def test_state_without_a_cause_is_explained(self) -> None:
        assert "upstream no longer has the tag" in shown([troubled(fresh("a:1"), State.GONE, timedelta(1))]).texts("td")

    def test_every_state_has_an_icon_of_its_own(self) -> None:
        page = widget_page(
            Snapshot([troubled(fresh(f"a:{s}"), s, timedelta(1)) for s in State], NOW, NOW), ALL, Theme.LIGHT, ENDPOINT
        )
        icons = dict(re.findall(r'<svg class="pa-i pa-([a-z]+)"[^>]*>(.+?)</svg>', page))
        assert {state.lower() for state in State} == set(icons)
        assert len(set(icons.values())) == len(State)

    def test_row_links_to_the_repository_and_the_execution(self) -> None:
        links = [link.attributes["href"] for link in shown([fresh("mirror/a:1")]).all("a")]
        host = "https://eu-west-1.console.aws.amazon.com"
        assert links == [
            f"{host}/ecr/repositories/private/123456789012/mirror/a?region=eu-west-1",
            f"{host}/states/home?region=eu-west-1#/v2/executions/details/{EXECUTION}",
        ]


class TestTiles:
    def test_tiles_count_all_mirrors_whatever_the_filter(self) -> None:
        for view in (View(), View(State.GONE), View(prefix="nothing")):
            tiles = drawn(landscape(), view).texts("button", "tile")
            assert tiles == ["BLOCKED1", "GONE1", "STALE2", "MISSING1", "UNKNOWN1", "FRESH13"]

    def test_deleted_state_has_a_tile_only_if_it_occurs(self) -> None:
        document = shown([fresh("a:1"), fresh("a:2").with_changes(state=State.DELETED)])
        assert document.texts("button", "tile")[-2:] == ["DELETED1", "FRESH1"]
        assert document.texts("div", "tile")[0] == "Longest not fresh—every mirror is fresh"

    def test_facts_are_the_oldest_mirror_and_the_last_check(self) -> None:
        assert drawn(landscape()).texts("div", "tile") == [
            "Longest not fresh2 d 7 hmirror/library/postgres:15",
            "Checks ran2 min agothe schedule runs",
        ]

    def test_stopped_checks_are_a_warning(self) -> None:
        assert drawn(landscape()).all("div", "warn") == []
        quiet = drawn(landscape()._replace(last_check=NOW - timedelta(minutes=31)))
        assert quiet.texts("div", "warn") == ["⚠ Checks ran31 min agochecks seem to have stopped"]

    def test_pressed_tile_removes_its_filter_and_keeps_the_prefix(self) -> None:
        document = drawn(landscape(), View(State.STALE, "mirror/", 1))
        pressed = [tile.text for tile in document.all("button", "tile") if tile.attributes["aria-pressed"] == "true"]
        assert pressed == ["STALE2"]
        assert calls(document)[:3] == [
            View(State.BLOCKED, "mirror/"),
            View(State.GONE, "mirror/"),
            View(None, "mirror/"),
        ]


class TestFilter:
    @pytest.mark.parametrize(
        ("view", "count"),
        [
            (View(State.STALE), 2),
            (View(prefix="mirror/library/"), 11),
            (View(prefix="mirror/library/alpine:3.2"), 2),
            (View(State.STALE, "mirror/library/alpine"), 1),
        ],
    )
    def test_state_and_prefix_filter_the_rows(self, view: View, count: int) -> None:
        document = drawn(landscape(), view)
        assert len(keys(document)) == count
        assert document.texts("span", "count") == [f"{count} of 19 mirrors"]

    def test_form_shows_the_current_filter(self) -> None:
        document = drawn(landscape(), View(State.STALE, 'a"b'))
        (prefix,) = document.all("input")
        assert (prefix.attributes["value"], prefix.attributes["maxlength"]) == ('a"b', str(MAX_PREFIX_CHARACTERS))
        assert [option.text for option in document.all("option") if "selected" in option.attributes] == ["STALE"]
        assert {field.attributes["name"] for field in document.elements if "name" in field.attributes} == {
            *("state", "prefix")
        }

    def test_filter_without_matches_says_so_and_can_be_cleared(self) -> None:
        document = drawn(landscape(), View(prefix="zzz"))
        assert keys(document) == []
        assert "No mirror matches" in document.texts("b")
        assert View() in calls(document)


class TestPages:
    def test_pages_hold_every_mirror_once(self) -> None:
        shown_keys: list[str] = []
        for page in (1, 2, 3):
            document = shown(many(2 * ROWS_PER_PAGE + 1), View(page=page))
            shown_keys += keys(document)
        assert shown_keys == [str(record.key) for record in many(2 * ROWS_PER_PAGE + 1)]
        assert "101 to 101 of 101" in document.texts("span", "count")

    def test_pager_keeps_the_filter(self) -> None:
        view = View(State.FRESH, "mirror/", 2)
        document = shown(many(3 * ROWS_PER_PAGE), view)
        assert document.texts("nav") == ["Page 2 of 3PreviousNext"]
        assert calls(document)[-2:] == [view._replace(page=1), view._replace(page=3)]

    @pytest.mark.parametrize(("page", "buttons"), [(1, "Page 1 of 2Next"), (2, "Page 2 of 2Previous")])
    def test_first_and_last_page_have_one_button(self, page: int, buttons: str) -> None:
        assert shown(many(ROWS_PER_PAGE + 1), View(page=page)).texts("nav") == [buttons]

    def test_page_past_the_end_is_the_last_one(self) -> None:
        assert keys(shown(many(ROWS_PER_PAGE + 1), View(page=1000))) == ["mirror/app:00050"]

    def test_single_page_has_no_pager(self) -> None:
        assert shown(many(ROWS_PER_PAGE)).all("nav") == []


class TestOtherStates:
    @pytest.mark.parametrize(("last_check", "said"), [(None, "have not run"), (NOW, "none has found a mirror")])
    def test_no_mirrors_says_what_to_do(self, last_check: object, said: str) -> None:
        document = shown([], last_check=last_check)
        (note,) = document.texts("div", "note")
        assert said in note
        assert "layers/rules/rules.yaml" in note
        assert document.all("form") == document.all("table") == []

    def test_error_page_says_what_to_do(self) -> None:
        document = Document(error_page(f"read of all records failed: {EVIL}", Theme.DARK, ENDPOINT))
        (note,) = document.texts("div", "bad")
        assert EVIL in note
        assert "dynamodb:Scan" in note
        assert document.all("script") == document.all("table") == []
        assert calls(document) == [View()]

    def test_mirrors_that_were_not_read_are_counted(self) -> None:
        document = shown(many(3), unread=1200, settled=SettledCount(NOW, 7000, 2))
        (alert,) = [each.text for each in document.elements if each.attributes.get("role") == "alert"]
        assert alert.startswith(
            "1,200 more mirrors are not fresh. Shown are the 3 that have not been fresh for longest;"
        )
        assert document.texts("span", "count") == ["3 of 8,205 mirrors"]

    @pytest.mark.parametrize("theme", [Theme.LIGHT, Theme.DARK])
    def test_theme_of_the_console_is_used(self, theme: Theme) -> None:
        page = widget_page(landscape(), View(), theme, ENDPOINT)
        assert ("--page: #fff" in page) is (theme is Theme.LIGHT)
        assert "prefers-color-scheme" not in page


class TestHeatMap:
    def test_cell_has_its_share_as_a_number(self) -> None:
        document = drawn(landscape())
        assert "24 Nov 06:00: 33 %" in {cell.attributes.get("title") for cell in document.all("td", "h2")}

    @pytest.mark.parametrize(
        ("minutes", "level"),
        [(0, "h0"), (1, "h1"), (36, "h1"), (37, "h2"), (144, "h2"), (145, "h3"), (288, "h3"), (289, "h4"), (360, "h4")],
    )
    def test_cell_is_coloured_by_its_share(self, minutes: int, level: str) -> None:
        midnight = NOW.replace(hour=0, minute=0)
        past = [Transition(midnight, MirrorKey("a", "1"), State.STALE)]
        record = fresh("a:1", age=NOW - midnight - timedelta(minutes=minutes))
        (cell,) = [
            cell
            for cell in shown([record], transitions=past).all("td")
            if (cell.attributes.get("title") or "").startswith("24 Nov 00:00")
        ]
        assert cell.has_class(level)


class TestEscaping:
    def test_markup_in_a_record_is_escaped(self) -> None:
        record = troubled(fresh(f"mirror/{EVIL}:{EVIL}", EVIL), State.UNKNOWN, timedelta(1), EVIL)
        document = shown([record, fresh("a:1")], View(prefix=""))
        assert document.all("script") == document.all("img") == []
        assert keys(document)[0] == f"mirror/{EVIL}:{EVIL}"
        assert EVIL in document.texts("tr")[1]

    def test_markup_in_the_prefix_is_escaped_without_entities(self) -> None:
        document = shown(many(ROWS_PER_PAGE + 1), View(prefix=EVIL))
        assert document.all("script") == document.all("img") == []
        page = widget_page(Snapshot(many(1), NOW, NOW), View(prefix=EVIL), Theme.LIGHT, ENDPOINT)
        said = page.split("<cwdb-action", 2)[1].partition(">")[2].partition("<")[0]
        assert read_request(json.loads(said)).view.prefix == EVIL  # although HTML's entities were not undone

    def test_widget_has_no_script(self) -> None:
        page = widget_page(landscape(), View(), Theme.LIGHT, ENDPOINT)
        assert not any(
            word in page for word in ("<script", "<iframe", "onclick", "javascript:", "<use", "@import", "url(")
        )


def test_ten_thousand_mirrors_fit_into_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    cause = "put_manifest of mirror refused: <ImageTagAlreadyExistsException> & 'immutable' " * 20
    records = [
        fresh(f"mirror/team-{n % 300:03}/some-service-{n % 7}:v1.{n}", f"ghcr.io/{'o' * 100}:{n}")
        for n in range(10_000)
    ]
    records = [troubled(each, State.BLOCKED, timedelta(hours=n % 200), cause) for n, each in enumerate(records)]
    past = [
        Transition(NOW - timedelta(hours=3 * n % 160, minutes=n % 50), each.key, State.FRESH)
        for n, each in enumerate(records)
    ]
    started = time.perf_counter()
    page = widget_page(Snapshot(records, NOW, NOW, past), View(prefix="mirror/"), Theme.LIGHT, ENDPOINT)
    seconds = time.perf_counter() - started
    size = len(page.encode())
    with capsys.disabled():
        print(f"\n10,000 mirrors: {size:,} bytes of {MAX_BYTES:,}, drawn in {seconds:.2f} s (promised: 3 s)")
    assert len(keys(Document(page))) == ROWS_PER_PAGE
    assert 60_000 < size <= MAX_BYTES
