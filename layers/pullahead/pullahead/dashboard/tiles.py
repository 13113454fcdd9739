"""The summary above the table: how many mirrors in each state, the one that waits longest, whether checks run."""

from collections import Counter
from datetime import timedelta
from typing import Final

from pullahead.dashboard.controls import Controls
from pullahead.dashboard.html import Html, element, joined
from pullahead.dashboard.mirror_rows import Snapshot, longest_unfresh, unfresh_since
from pullahead.dashboard.states import APPEARANCES, icon_of
from pullahead.dashboard.widget_request import View
from pullahead.mirrors.record import State
from pullahead.text import moment_text, span_text

QUIET_AFTER: Final = timedelta(minutes=30)
"""Checks are sent every five minutes as template.yaml has it; no sign for so long is worth a warning."""


def tiles(snapshot: Snapshot, view: View, controls: Controls) -> Html:
    """Draw the tiles; those of states are buttons that filter."""
    counts = Counter(record.state for record in snapshot.records)
    # Few rules leave what is deleted: those who have none need not wonder what it means.
    shown = (state for state in APPEARANCES if state is not State.DELETED or counts[state] or view.state is state)
    states = (_state_tile(state, counts[state], view, controls) for state in shown)
    facts = element("div", _longest(snapshot), _last_check(snapshot), class_="facts")
    return element("div", element("div", *states, class_="states"), facts, class_="tiles")


def _state_tile(state: State, count: int, view: View, controls: Controls) -> Html:
    word = element("span", icon_of(state), state, class_="word")
    pressed = view.state is state
    # A second click takes the filter back.
    leads_to = View(None if pressed else state, view.prefix)
    attributes = {
        "class_": "tile" if count else "tile zero",
        "aria_pressed": str(pressed).lower(),
        "title": APPEARANCES[state].means,
    }
    return controls.button(joined(word, element("b", f"{count:,}")), leads_to, attributes)


def _longest(snapshot: Snapshot) -> Html:
    record = longest_unfresh(snapshot.records)
    if record is None:
        return _fact("Longest not fresh", "—", "every mirror is fresh" if snapshot.records else "no mirrors yet")
    since = unfresh_since(record) or record.since
    return _fact("Longest not fresh", span_text(snapshot.now - since), str(record.key), title=moment_text(since))


def _last_check(snapshot: Snapshot) -> Html:
    last = snapshot.last_check
    if last is None:
        return _fact("Checks ran", "never", "the schedule has not fired yet")
    span = snapshot.now - last
    quiet = span > QUIET_AFTER
    below = "checks seem to have stopped" if quiet else "the schedule runs"
    return _fact("Checks ran", f"{span_text(span)} ago", below, title=moment_text(last), warns=quiet)


def _fact(word: str, value: str, below: str, *, title: str | None = None, warns: bool = False) -> Html:
    return element(
        "div",
        element("span", "⚠ " if warns else None, word, class_="word"),
        element("b", value),
        element("span", below, class_="small", title=below),
        class_="tile warn" if warns else "tile",
        title=title,
    )
