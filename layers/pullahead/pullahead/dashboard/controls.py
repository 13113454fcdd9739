"""How a reader moves about: by calls of the widget's function in CloudWatch, by a small script in a file.

Amazon CloudWatch User Guide, "Interactivity in the custom widget": scripts are removed, and a `cwdb-action` says what
a click on the element before it does.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from pullahead.dashboard.html import Attribute, Html, element, joined
from pullahead.dashboard.states import APPEARANCES
from pullahead.dashboard.widget_request import MAX_PREFIX_CHARACTERS, SHOW, View

_NOTHING: Final[Mapping[str, Attribute]] = MappingProxyType({})


class Controls(Protocol):
    """Draws what can be clicked."""

    def button(self, content: Html, view: View, attributes: Mapping[str, Attribute] = _NOTHING) -> Html:
        """Draw a button that leads to a view."""
        ...

    def form(self, view: View) -> Html:
        """Draw the filter, filled in with a view."""
        ...


class WidgetControls:
    """Controls that call the function behind the widget."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def button(self, content: Html, view: View, attributes: Mapping[str, Attribute] = _NOTHING) -> Html:
        """Draw a button whose click asks for a view, whatever stands in the form."""
        shown = {"state": view.state or "", "prefix": view.prefix, "page": view.page}
        # The console may read the JSON with or without HTML's entities undone; so it holds none.
        said = json.dumps({SHOW: shown}).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        return joined(element("button", content, type="button", **attributes), self._action(said))

    def form(self, view: View) -> Html:
        """Draw the filter; the console sends what stands in it with the call."""
        apply = element("button", "Apply", type="button", class_="btn")
        cleared = View() if view.state or view.prefix else None
        clear = self.button(Html("Clear"), cleared, {"class_": "btn"}) if cleared else None
        return joined(element("form", *_fields(view)), apply, self._action("{}"), clear)

    def _action(self, said: str) -> Html:
        return element("cwdb-action", said, action="call", display="widget", endpoint=self._endpoint)


class FileControls:
    """Controls of a page that is a file: the script of `page.py` makes them work."""

    def button(self, content: Html, view: View, attributes: Mapping[str, Attribute] = _NOTHING) -> Html:
        """Draw a button that filters by a state."""
        return element("button", content, type="button", data_show=view.state or "", **attributes)

    def form(self, view: View) -> Html:
        """Draw the filter; it works while it is filled in."""
        clear = element("button", "Clear", type="reset", class_="btn")
        return element("form", *_fields(view), clear)


def _fields(view: View) -> tuple[Html, Html]:
    options = [element("option", "All states", value="")]
    options += [element("option", state, value=state, selected=state is view.state) for state in APPEARANCES]
    states = element("label", "State", element("select", *options, name="state"))
    prefix = element(
        "input",
        name="prefix",
        value=view.prefix,
        maxlength=MAX_PREFIX_CHARACTERS,
        placeholder="repository or repository:tag",
        autocomplete="off",
    )
    return states, element("label", "Mirror begins with", prefix)
