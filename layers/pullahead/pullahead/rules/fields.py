"""Nodes → checked Python values, collecting what is wrong on the way. Knows YAML's types, not what the rules mean.

Every reader returns None (or leaves something out) where it has recorded a problem, so that reading goes on.
"""

from collections.abc import Callable
from collections.abc import Mapping as Fields
from collections.abc import Sequence as Words
from typing import NamedTuple, TypeVar

from pullahead.rules.document import Mapping, Node, Scalar, Sequence
from pullahead.rules.problems import Problem, quoted, suggestion

_NAMES = {
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "empty",
    "timestamp": "a date",
}
_TRUE = frozenset({"yes", "true", "on"})


T = TypeVar("T")
Absent = TypeVar("Absent")


class Place(NamedTuple):
    """A node and the way to it from the top of the file."""

    node: Node
    path: str


class Problems:
    """Collects what is wrong."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """Record one problem."""
        self.found.append(Problem(place.node.line, place.path, message, hint))


def read_fields(place: Place, known: Words[str], required: Words[str], problems: Problems) -> dict[str, Place]:
    """Read a mapping whose keys are fixed."""
    entries = read_entries(place, problems)
    if entries is None:
        return {}
    for key in required:
        if key not in entries:
            problems.add(place, f"{key} is missing")
    for key, entry in entries.items():
        if key not in known:
            problems.add(entry.key, f"{quoted(key)} is not known", suggestion(key, known))
    prefix = f"{place.path}." if place.path else ""
    return {key: Place(entries[key].value, f"{prefix}{key}") for key in known if key in entries}


def read_field(
    fields: Fields[str, Place], key: str, read: Callable[[Place, Problems], T], problems: Problems, *, absent: Absent
) -> T | Absent:
    """Read one of the fields that `read_fields` found, or give the value of an absent one."""
    return read(fields[key], problems) if key in fields else absent


class Entry(NamedTuple):
    """A key, as a place to report at, and the value that it has."""

    key: Place
    value: Node


def read_entries(place: Place, problems: Problems) -> dict[str, Entry] | None:
    """Read a mapping with any keys; of a key that is there twice, the first."""
    if not isinstance(place.node, Mapping):
        problems.add(place, f"it is {_kind(place.node)}; expected keys with values", "Write KEY: VALUE, indented.")
        return None
    entries: dict[str, Entry] = {}
    for key, value in place.node.entries:
        at = Place(key, place.path)
        if not isinstance(key, Scalar):
            problems.add(at, f"a key is {_kind(key)}; expected a word")
        elif key.text in entries:
            problems.add(at, f"{quoted(key.text)} is there already on line {entries[key.text].key.node.line}")
        else:
            entries[key.text] = Entry(at, value)
    return entries


def read_items(place: Place, problems: Problems) -> tuple[Place, ...]:
    """Read a list."""
    if not isinstance(place.node, Sequence):
        problems.add(place, f"it is {_kind(place.node)}; expected a list", "Write [A, B], or one line - A for each.")
        return ()
    return tuple(Place(item, f"{place.path}[{index}]") for index, item in enumerate(place.node.items))


def read_word(place: Place, problems: Problems) -> str | None:
    """Read a single value as it is written, whatever YAML takes it for."""
    if isinstance(place.node, Scalar) and place.node.kind != "null":
        return place.node.text
    problems.add(place, f"it is {_kind(place.node)}; expected a text")
    return None


def read_text(place: Place, problems: Problems) -> str | None:
    """Read a text. YAML takes an unquoted 3.20 for the number 3.2, so numbers are refused rather than guessed at."""
    word = read_word(place, problems)
    if word is None or not isinstance(place.node, Scalar) or place.node.kind == "str":
        return word
    problems.add(place, f"YAML reads {quoted(word)} as {_kind(place.node)}, not as a text", f'Quote it: "{word}".')
    return None


def read_flag(place: Place, problems: Problems) -> bool | None:
    """Read true or false."""
    node = place.node
    if not isinstance(node, Scalar) or node.kind != "bool":
        problems.add(place, f"it is {_kind(node)}; expected true or false", "Write true or false, without quotes.")
        return None
    return node.text.lower() in _TRUE


def is_empty(node: Node) -> bool:
    """Tell whether nothing follows a key, as when all that stood there was commented out."""
    return isinstance(node, Scalar) and node.kind == "null"


def _kind(node: Node) -> str:
    if isinstance(node, Scalar):
        return _NAMES.get(node.kind, "a text")
    return "a list" if isinstance(node, Sequence) else "a mapping"
