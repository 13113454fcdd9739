"""Requests of CloudWatch to the widget, read leniently: a form in a browser may hold anything.

Amazon CloudWatch User Guide, "Details about custom widgets": `widgetContext` has the theme, params and forms; the JSON
of a `cwdb-action` is merged into the event; `{"describe": true}` asks for the widget's documentation.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pullahead.mirrors.record import State

SHOW: Final = "show"
"""The field of an action that holds the view to show."""

MAX_PREFIX_CHARACTERS: Final = 256
MAX_PAGE: Final = 1000


class View(NamedTuple):
    """Which mirrors to show: in one state (None: in all), with a prefix, and which page of them."""

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
    """The colours of the page; AUTO follows the browser."""

    LIGHT = "light"
    DARK = "dark"
    AUTO = "auto"


class WidgetRequest(NamedTuple):
    """A request."""

    view: View = View()
    theme: Theme = Theme.LIGHT
    describe: bool = False


def read_request(event: object) -> WidgetRequest:
    """Read an event; what is missing, unknown or out of bounds becomes the default.

    An action's view comes first, then the form, then the widget's own parameters.
    """
    fields = _mapping(event)
    context = _mapping(fields.get("widgetContext"))
    form = _mapping(_mapping(context.get("forms")).get("all"))
    for given in (fields.get(SHOW), form, fields, context.get("params")):
        view = _view(_mapping(given))
        if view is not None:
            break
    theme = Theme.DARK if context.get("theme") == "dark" else Theme.LIGHT
    return WidgetRequest(view or View(), theme, fields.get("describe") is True)


def _view(given: Mapping[str, Any]) -> View | None:
    """Read a view; None if none of its fields is there."""
    if not {"state", "prefix", "page"} & given.keys():
        return None
    state, prefix = given.get("state"), given.get("prefix")
    known = State(state) if isinstance(state, str) and state in State.__members__ else None
    return View(known, _prefix(prefix), _page(given.get("page")))


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

Every mirrored tag compared with its upstream: state, since when it has not been fresh, age of the copy, the last error,
and links to the repository and to its last refresh. Worst first, 50 on a page. Below it is a heat map of the last seven
days. The widget only reads.

### Widget parameters
Param | Description
---|---
**state** | Show one state only: BLOCKED, GONE, STALE, MISSING, UNKNOWN, HELD, COOLING, DELETED or FRESH
**prefix** | Show mirrors whose `repository:tag` begins with this

### Example parameters
``` yaml
state: STALE
prefix: mirror/team-a/
```
"""
