"""Nodes → checked Python values, collecting what is wrong on the way. Knows YAML's types, not what the rules mean.

Every reader returns None (or leaves something out) where it has recorded a problem, so that reading goes on.
"""

import re
from collections.abc import Callable
from collections.abc import Mapping as Fields
from typing import NamedTuple, TypeVar

from pullahead.rules.keys import Section
from pullahead.rules.yaml_document import Mapping, Node, Problem, Scalar, Sequence, quoted, suggestion

_NAMES = {
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "empty",
    "timestamp": "a date",
}
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?")
_TRUE = frozenset({"yes", "true", "on"})


T = TypeVar("T")


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


def read_fields(place: Place, section: Section, problems: Problems) -> dict[str, Place]:
    """Read a mapping whose keys are fixed."""
    entries = read_entries(place, problems)
    if entries is None:
        return {}
    for key in section.required:
        if key not in entries:
            problems.add(place, f"{key} is missing")
    for key, entry in entries.items():
        if key not in section.names:
            problems.add(entry.key, f"{quoted(key)} is not known", suggestion(key, section.names))
    prefix = f"{place.path}." if place.path else ""
    return {key: Place(entries[key].value, f"{prefix}{key}") for key in section.names if key in entries}


def read_field(
    fields: Fields[str, Place], key: str, read: Callable[[Place, Problems], T | None], problems: Problems, *, absent: T
) -> T:
    """Read one of the fields that `read_fields` found, or give the value of one that is absent or wrong."""
    value = read(fields[key], problems) if key in fields else None
    return absent if value is None else value


def read_optional(
    fields: Fields[str, Place], key: str, read: Callable[[Place, Problems], T | None], problems: Problems
) -> T | None:
    """Read one of the fields that `read_fields` found; None where it is absent or wrong."""
    return read(fields[key], problems) if key in fields else None


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


def read_fitting(
    place: Place, fits: Callable[[str], object], problems: Problems, *, wrong: str, hint: str, repeat: bool = True
) -> str | None:
    """Read a text that must fit; `wrong` goes on after what was written, which is not repeated if it may be secret."""
    text = read_text(place, problems)
    if text is None or fits(text):
        return text
    problems.add(place, f"{quoted(text) if repeat else 'it'} {wrong}", hint)
    return None


def read_flag(place: Place, problems: Problems) -> bool | None:
    """Read true or false."""
    node = place.node
    if not isinstance(node, Scalar) or node.kind != "bool":
        problems.add(place, f"it is {_kind(node)}; expected true or false", "Write true or false, without quotes.")
        return None
    return node.text.lower() in _TRUE


def read_number(place: Place, problems: Problems) -> float | None:
    """Read a number as people write one; YAML's hexadecimals, octals and infinities are none."""
    word = read_word(place, problems)
    if word is None or (_NUMBER.fullmatch(word) and isinstance(place.node, Scalar) and place.node.kind != "str"):
        return None if word is None else float(word)
    problems.add(place, f"{quoted(word)} is no number", "Write it with digits, without quotes.")
    return None


def read_count(place: Place, problems: Problems, *, least: int = 0, most: int) -> int | None:
    """Read a whole number within limits."""
    number = read_number(place, problems)
    if number is None:
        return None
    if number != int(number) or not least <= number <= most:
        problems.add(place, f"{number:g} is out of range", f"Write a whole number from {least} to {most}.")
        return None
    return int(number)


def read_list(place: Place, read: Callable[[Place, Problems], T | None], problems: Problems) -> tuple[T, ...]:
    """Read a list of like values, without those that are wrong."""
    read_values = (read(item, problems) for item in read_items(place, problems))
    return tuple(value for value in read_values if value is not None)


def is_empty(node: Node) -> bool:
    """Tell whether nothing follows a key, as when all that stood there was commented out."""
    return isinstance(node, Scalar) and node.kind == "null"


def _kind(node: Node) -> str:
    if isinstance(node, Scalar):
        return _NAMES.get(node.kind, "a text")
    return "a list" if isinstance(node, Sequence) else "a mapping"
