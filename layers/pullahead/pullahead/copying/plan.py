"""Decide what to copy and in which order it is published. Pure."""

from collections.abc import Mapping, Set

import msgspec

from pullahead.oci import Descriptor, Digest, Manifest
from pullahead.oci.media_types import FOREIGN_LAYERS


class CopyPlan(msgspec.Struct, frozen=True):
    """The manifests to publish, children before parents and the root last, and the blobs to copy first, in units."""

    manifests: tuple[Descriptor, ...]
    units: tuple[tuple[Descriptor, ...], ...]
    bytes_missing: int
    bytes_present: int


def publishing_order(root: Descriptor, graph: Mapping[Digest, Manifest]) -> tuple[Descriptor, ...]:
    """List every manifest of a graph once, so that none lands before what it references."""
    order: list[Descriptor] = []
    entered: set[Digest] = set()
    waiting = [(root, False)]  # a stack of its own: a chain of indexes may be deeper than Python's
    while waiting:
        node, children_are_listed = waiting.pop()
        if children_are_listed:
            order.append(node)
        elif node.digest not in entered:
            entered.add(node.digest)
            waiting.append((node, True))
            waiting.extend((child, False) for child in reversed(graph[node.digest].children))
    return tuple(order)


def blobs_of(graph: Mapping[Digest, Manifest]) -> tuple[Descriptor, ...]:
    """List every blob of a graph once, without foreign layers: registries do not hold those, they name URLs."""
    blobs = (blob for manifest in graph.values() for blob in manifest.blobs)
    return tuple({blob.digest: blob for blob in blobs if blob.media_type not in FOREIGN_LAYERS}.values())


def foreign_layers_of(graph: Mapping[Digest, Manifest]) -> tuple[Descriptor, ...]:
    """List every layer once that all manifests of a graph call foreign."""
    held = {blob.digest for blob in blobs_of(graph)}
    blobs = (blob for manifest in graph.values() for blob in manifest.blobs)
    return tuple({blob.digest: blob for blob in blobs if blob.digest not in held}.values())


def make_plan(root: Descriptor, graph: Mapping[Digest, Manifest], present: Set[Digest]) -> CopyPlan:
    """Plan a copy of everything below `root` that the target does not have."""
    blobs = blobs_of(graph)
    missing = [blob for blob in blobs if blob.digest not in present]
    total = sum(blob.size for blob in blobs)
    bytes_missing = sum(blob.size for blob in missing)
    return CopyPlan(publishing_order(root, graph), pack_units(missing), bytes_missing, total - bytes_missing)


MAX_UNITS = 40
"""Inline Map of Step Functions runs up to 40 iterations at once (Step Functions Developer Guide, Inline mode)."""
_UNIT_BYTES = 256 * 1024 * 1024  # below this another Lambda costs more than it saves


def pack_units(
    blobs: list[Descriptor], max_units: int = MAX_UNITS, unit_bytes: int = _UNIT_BYTES
) -> tuple[tuple[Descriptor, ...], ...]:
    """Pack blobs into units that weigh about the same: largest first, each into the lightest unit so far.

    Never more units than blobs or than `max_units`; no unit is empty.
    """
    total = sum(blob.size for blob in blobs)
    count = min(max_units, len(blobs), max(1, -(-total // unit_bytes)))
    units: list[list[Descriptor]] = [[] for _ in range(count)]
    weights = [0] * count
    for blob in sorted(blobs, key=lambda blob: (-blob.size, blob.digest)):
        lightest = min(range(count), key=lambda index: (weights[index], len(units[index])))
        units[lightest].append(blob)
        weights[lightest] += blob.size
    return tuple(tuple(unit) for unit in units)
