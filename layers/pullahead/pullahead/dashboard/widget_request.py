"""What CloudWatch asks of the widget, read leniently: it is a form in a browser, so anything may stand in it.

Amazon CloudWatch User Guide, "Details about custom widgets": `widgetContext` with theme, params and forms; the JSON of
a `cwdb-action` comes as the event's own fields.

What the widget says of itself where CloudWatch asks for it: `{"describe": true}`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pullahead.mirrors.record import State

SHOW: Final = "show"
"""The field under which an action of our own says what to show next."""

MAX_PREFIX_CHARACTERS: Final = 256
MAX_PAGE: Final = 1000


class View(NamedTuple):
    """Which mirrors to show: of one state (None: of all), whose key begins with something, on which page."""

    state: State | None = None
    prefix: str = ""
    page: int = 1

    def on_page(self, page: int) -> "View":
        """Return the same view, on another page."""
        return self._replace(page=page)

    def to_event(self) -> dict[str, Any]:
        """Write the event of a click that leads to this view, whatever is in the form."""
        return {SHOW: {"state": self.state or "", "prefix": self.prefix, "page": self.page}}


class Theme(StrEnum):
    """On what the page is shown. AUTO asks the browser."""

    LIGHT = "light"
    DARK = "dark"
    AUTO = "auto"


class WidgetRequest(NamedTuple):
    """What is asked for."""

    view: View = View()
    theme: Theme = Theme.LIGHT
    describe: bool = False


def read_request(event: object) -> WidgetRequest:
    """Read an event; whatever is missing, unknown or out of bounds becomes its default.

    What an action of ours says goes first, then what stands in the form, then the widget's own parameters.
    """
    asked = _mapping(event)
    context = _mapping(asked.get("widgetContext"))
    form = _mapping(_mapping(context.get("forms")).get("all"))
    for said in (asked.get(SHOW), form, asked, context.get("params")):
        view = _view(_mapping(said))
        if view is not None:
            break
    theme = Theme.DARK if context.get("theme") == "dark" else Theme.LIGHT
    return WidgetRequest(view or View(), theme, asked.get("describe") is True)


def _view(said: Mapping[str, Any]) -> View | None:
    """Read a view; None where nothing is said about it."""
    if not {"state", "prefix", "page"} & said.keys():
        return None
    state, prefix = said.get("state"), said.get("prefix")
    known = State(state) if isinstance(state, str) and state in State.__members__ else None
    return View(known, _prefix(prefix), _page(said.get("page")))


def _prefix(value: object) -> str:
    return value.strip()[:MAX_PREFIX_CHARACTERS] if isinstance(value, str) else ""


def _page(value: object) -> int:
    digits = str(value)
    if isinstance(value, bool) or not (digits.isascii() and digits.isdecimal()) or len(digits) > len(str(MAX_PAGE)):
        return 1
    return min(max(1, int(digits)), MAX_PAGE)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


DOCUMENTATION: Final = """\
## Pullahead: mirrors

How every mirrored tag stands against its upstream: state, since when it is not fresh, age of the copy, the last error,
and links to the repository and to the refresh that last published it. Worst first, 50 to a page. Below it a heat map
of the last seven days. It only reads.

### Widget parameters
Param | Description
---|---
**state** | Show one state only: BLOCKED, GONE, STALE, MISSING, UNKNOWN, DELETED or FRESH
**prefix** | Show mirrors whose `repository:tag` begins with this

### Example parameters
``` yaml
state: STALE
prefix: mirror/team-a/
```
"""
