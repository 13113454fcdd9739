"""Stored JSON as several versions of Pullahead read and write it.

Functions of two versions run while a deployment is under way, and after one is taken back. A newer version may store
what an older one does not know: a field, a state, a kind of alert. The older one does not guess what that means. It
leaves such a record as it is, and goes on with the others. So that this is rare, a field that a version adds is written
only where it says something: a record without the new is stored as before.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

_K = TypeVar("_K")
_V = TypeVar("_V")
_T = TypeVar("_T")


class NewerFormError(msgspec.ValidationError):
    """Stored JSON that names what it is about, in a form that only a newer version knows."""


class Loaded(dict[_K, _V]):
    """What was read of a store, by key. `newer` has the keys of what only a newer version can read."""

    def __init__(self, found: Iterable[tuple[_K, _V]], newer: Iterable[_K]) -> None:
        super().__init__(found)
        self.newer = frozenset(newer)


def newer_of(loaded: Mapping[_K, Any]) -> frozenset[_K]:
    """Return the keys of what is stored, but only a newer version can read."""
    return loaded.newer if isinstance(loaded, Loaded) else frozenset()


def decode_form(text: str, form: type[_T], subject: Collection[str]) -> _T:
    """Decode JSON. Raises NewerFormError where it is an object that has the fields `subject`, which name what it is
    about, but is not of this form; msgspec.DecodeError for any other text.
    """
    try:
        return msgspec.json.decode(text, type=form)
    except msgspec.ValidationError as error:
        if names_subject(text, subject) and not is_damage(error):
            raise NewerFormError(str(error)) from error
        raise


def is_damage(error: msgspec.ValidationError) -> bool:
    """Whether a value is wrong that no version writes: a time without a zone."""
    return "with a timezone component" in str(error)


def names_subject(text: str, subject: Collection[str]) -> bool:
    """Whether a text is a JSON object with these fields, all of them strings."""
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return False
    return all(isinstance(found.get(name), str) for name in subject)
