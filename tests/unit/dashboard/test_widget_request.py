"""Requests to the widget: anything may come from a browser, and nothing breaks the page."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.dashboard.widget_request import MAX_PAGE, MAX_PREFIX_CHARACTERS, Theme, View, WidgetRequest, read_request
from pullahead.mirrors.record import State
from tests.architecture.source import ROOT

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["widgetContext", "forms", "all", "params", "show", "state", "prefix", "page", "theme", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(anything)
def test_any_event_is_read(event: object) -> None:
    asked = read_request(event)
    assert asked.view.state is None or asked.view.state in State
    assert len(asked.view.prefix) <= MAX_PREFIX_CHARACTERS
    assert 1 <= asked.view.page <= MAX_PAGE


@pytest.mark.parametrize(
    ("sample", "request_"),
    [
        ("first", WidgetRequest()),
        ("filter", WidgetRequest(View(State.BLOCKED, "mirror/"), Theme.DARK)),
        ("next_page", WidgetRequest(View(State.STALE, "mirror/alpine", 2), Theme.DARK)),
        ("describe", WidgetRequest(describe=True)),
    ],
)
def test_sample_is_read(sample: str, request_: WidgetRequest) -> None:
    event = json.loads((ROOT / f"events/show_mirrors.{sample}.json").read_text(encoding="utf-8"))
    assert read_request(event) == request_


def context(form: dict[str, Any], **params: Any) -> dict[str, Any]:
    return {"widgetContext": {"forms": {"all": form}, "params": params}}


def test_action_wins_over_form_and_form_over_parameters() -> None:
    form, own = {"state": "GONE", "prefix": "form"}, {"state": "FRESH", "prefix": "own"}
    clicked = {"show": {"state": "", "prefix": "", "page": 3}}
    assert read_request({**own, **context(form, **own), **clicked}).view == View(page=3)
    assert read_request({**own, **context(form, **own)}).view == View(State.GONE, "form")
    assert read_request({**own, **context({})}).view == View(State.FRESH, "own")
    assert read_request(context({}, **own)).view == View(State.FRESH, "own")


def test_cleared_form_wins_over_parameters() -> None:
    assert read_request(context({"state": "", "prefix": ""}, state="FRESH")).view == View()


@pytest.mark.parametrize("state", ["fresh", "NOPE", 3, None, ["FRESH"], "__class__"])
def test_invalid_state_is_all_states(state: object) -> None:
    assert read_request({"show": {"state": state, "prefix": "a"}}).view == View(None, "a")


@pytest.mark.parametrize(
    ("page", "read"),
    [(2, 2), ("2", 2), (0, 1), (-1, 1), (True, 1), ("1e9", 1), (10**30, 1), (9999, MAX_PAGE), ("٣", 1), (2.5, 1)],
)
def test_page_is_bounded(page: object, read: int) -> None:
    assert read_request({"show": {"page": page}}).view.page == read


def test_prefix_is_cut() -> None:
    assert read_request({"prefix": " a " + "b" * 300}).view.prefix == "a " + "b" * (MAX_PREFIX_CHARACTERS - 2)
