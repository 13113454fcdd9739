"""Nodes → plain values, for what is handed on as JSON and not understood here."""

import re

from pullahead.rules.fields import Place, Problems, is_empty, read_entries, read_flag, read_items
from pullahead.rules.yaml_document import Mapping, Scalar, Sequence

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")

Plain = str | int | bool | None | list["Plain"] | dict[str, "Plain"]


def read_plain(place: Place, problems: Problems) -> Plain:
    """Read whatever stands there.

    Dates stay texts, as policies want their `Version: 2012-10-17`; so do numbers such as the account 012345678901.
    """
    node = place.node
    if isinstance(node, Sequence):
        return [read_plain(item, problems) for item in read_items(place, problems)]
    if isinstance(node, Mapping):
        entries = read_entries(place, problems) or {}
        return {key: read_plain(Place(entry.value, f"{place.path}.{key}"), problems) for key, entry in entries.items()}
    return None if is_empty(node) else _scalar(node, place, problems)


def _scalar(node: Scalar, place: Place, problems: Problems) -> Plain:
    if node.kind == "bool":
        return read_flag(place, problems)
    if node.kind == "int" and _INTEGER.fullmatch(node.text):
        return int(node.text)
    return node.text
