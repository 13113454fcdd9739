"""HTML that cannot be injected into: whatever is not built here is escaped. Knows no page."""

from html import escape
from typing import Final

_VOID: Final = frozenset({"input", "meta", "br"})


class Html(str):
    """Text that is HTML already, and so is not escaped again."""

    __slots__ = ()


Child = str | None
Attribute = str | int | bool | None


def joined(*children: Child) -> Html:
    """Put pieces behind each other; what is no `Html` is escaped, and None is nothing."""
    return Html("".join(map(_safe, children)))


def element(tag: str, *children: Child, **attributes: Attribute) -> Html:
    """Build an element. `class_="a"` is class, `aria_label` aria-label; None and False leave an attribute out."""
    written = "".join(_written(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{''.join(map(_safe, children))}</{tag}>")


def _safe(child: Child) -> str:
    if child is None:
        return ""
    return child if isinstance(child, Html) else escape(child, quote=False)


def _written(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    plain = name.rstrip("_").replace("_", "-")
    return f" {plain}" if value is True else f' {plain}="{escape(str(value))}"'
