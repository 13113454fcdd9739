"""JSON objects as Go's encoding/json reads them, which most registries and their clients are written in.

Names are found in any letters, and null is as good as absent: Go writes an empty list so. Not for manifests: what is
signed by its digest must not be read in two ways.

Source: Go documentation, encoding/json, "Unmarshal".
"""

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

_SURROGATES = re.compile(rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..")
"""Escaped backslashes, pairs of surrogates, and halves of one."""

INVALID = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What is raised for bytes that are not the JSON that was expected. The text of such an error may quote them."""


def _with_whole_characters(content: bytes) -> bytes:
    """Write U+FFFD in place of half a surrogate pair, as Go reads it; others take such a text for no JSON."""
    if b"\\u" not in content:
        return content
    return _SURROGATES.sub(lambda found: found[0] if len(found[0]) != len(b"\\ud800") else b"\\ufffd", content)


def members(content: bytes | msgspec.Raw) -> Mapping[str, msgspec.Raw]:
    """Read the members of an object by their names in lower case, without those that are null.

    A name that is spelled in lower case takes precedence over others. Raises: INVALID.
    """
    found = msgspec.json.decode(_with_whole_characters(bytes(content)), type=dict[str, msgspec.Raw] | None) or {}
    spelled_otherwise_first = sorted(found.items(), key=lambda member: member[0] == member[0].lower())
    return {name.lower(): value for name, value in spelled_otherwise_first if bytes(value) != b"null"}


def decode(content: bytes | msgspec.Raw, kind: type[_Struct], *, strict: bool = True) -> _Struct:
    """Read an object into a Struct whose names are in lower case. Raises: INVALID."""
    return msgspec.json.decode(msgspec.json.encode(members(content)), type=kind, strict=strict)
