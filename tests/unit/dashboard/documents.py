"""A page read back as a browser would, as far as a test asks. Asserts nothing."""

from html.parser import HTMLParser
from typing import NamedTuple

VOID = frozenset({"input", "meta", "br", "wbr", "path", "circle", "rect"})

HIDDEN = frozenset({"cwdb-action", "script", "style"})
"""What a reader does not see."""


class Element(NamedTuple):
    """A tag as it was opened, and all text within."""

    tag: str
    attributes: dict[str, str | None]
    pieces: list[str]

    @property
    def text(self) -> str:
        """All text within, in one line."""
        return " ".join("".join(self.pieces).split())

    def has_class(self, name: str) -> bool:
        """Tell whether a class is set."""
        return name in (self.attributes.get("class") or "").split()


class Document(HTMLParser):
    """Every element of a page, in order. `unclosed` must be empty at the end."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.unclosed: list[Element] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, dict(attrs), [])
        self.elements.append(made)
        if tag not in VOID:
            self.unclosed.append(made)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and self.unclosed.pop().tag != tag:
            raise ValueError(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        hidden = bool(self.unclosed) and self.unclosed[-1].tag in HIDDEN
        for element in self.unclosed[-1:] if hidden else self.unclosed:
            element.pieces.append(data)

    def all(self, tag: str, class_: str | None = None) -> list[Element]:
        """Find elements by tag and class."""
        return [each for each in self.elements if each.tag == tag and (class_ is None or each.has_class(class_))]

    def texts(self, tag: str, class_: str | None = None) -> list[str]:
        """Read the text of elements."""
        return [each.text for each in self.all(tag, class_)]
