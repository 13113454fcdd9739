"""JSON that every parser reads alike: no key twice, in whatever letters, no number that is none. Pure.

Of two equal keys parsers keep the first or the last, and Go's takes `Payload` for `payload`: what one verifier proves
may not be what another one reads.
"""

import json
from typing import Any, Final

from pullahead.admission.signatures.verdict import RefusedError

_MAX_DEPTH: Final = 64


def read_object(content: bytes, what: str, *, folded: bool) -> dict[str, Any]:
    """Read an object. With `folded`, keys that differ in capital letters alone are the same. Raises RefusedError."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = {(key.casefold() if folded else key): None for key, _ in pairs}
        if len(read) < len(pairs):
            raise RefusedError(f"{what} has the same key twice")
        return dict(pairs)

    def no_number(text: str) -> None:
        raise RefusedError(f"{what} has {text}, which is no JSON")

    try:
        document = json.loads(content.decode(), object_pairs_hook=unique, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise RefusedError(f"{what} is no JSON") from None
    if not isinstance(document, dict):
        raise RefusedError(f"{what} is no JSON object")
    _check_depth(document, what)
    if folded:
        return document
    if len({key.casefold() for key in document}) < len(document):
        raise RefusedError(f"{what} has the same key twice")
    return document


def value_at(document: Any, *keys: str) -> Any:
    """Return what stands below some keys, each within the one before; None where there is no such object or key."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _check_depth(document: Any, what: str) -> None:
    level = [document]
    for _ in range(_MAX_DEPTH):
        level = [
            below
            for each in level
            if isinstance(each, dict | list)
            for below in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise RefusedError(f"{what} is nested more than {_MAX_DEPTH} deep")
