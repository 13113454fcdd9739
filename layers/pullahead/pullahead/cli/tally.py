"""How far a copy has come. Counts what the engine reports from its threads; knows no terminal and no clock."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pullahead.oci import Descriptor, Digest
from pullahead.oci.registries import Offered


class BlobState(NamedTuple):
    """One blob: how many of its bytes are at the target, and what became of it (None while it is under way)."""

    blob: Descriptor
    bytes_done: int
    outcome: Offered | None


class Snapshot(NamedTuple):
    """The whole copy at one moment. `blobs` holds those that were begun, in the order of beginning."""

    blobs: tuple[BlobState, ...]
    blobs_planned: int
    blobs_done: int
    bytes_planned: int
    bytes_done: int
    bytes_sent: int


@dataclass
class _Begun:
    blob: Descriptor
    bytes_sent: int = 0
    outcome: Offered | None = None


class Tally:
    """Satisfies `CopyProgress`. May be told and read by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: tuple[Descriptor, ...] = ()
        self._begun: dict[Digest, _Begun] = {}

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        """Note what will be offered."""
        with self._lock:
            self._planned = tuple(blobs)

    def sent(self, blob: Descriptor, count_bytes: int) -> None:
        """Note that more of a blob was sent."""
        with self._lock:
            self._begun.setdefault(blob.digest, _Begun(blob)).bytes_sent += count_bytes

    def offered(self, blob: Descriptor, what: Offered) -> None:
        """Note that a blob is at the target."""
        with self._lock:
            self._begun.setdefault(blob.digest, _Begun(blob)).outcome = what

    def snapshot(self) -> Snapshot:
        """Tell how far all of it is."""
        with self._lock:
            begun = [(row.blob, row.bytes_sent, row.outcome) for row in self._begun.values()]
            planned = self._planned
        states = tuple(BlobState(blob, _bytes_done(blob, sent, outcome), outcome) for blob, sent, outcome in begun)
        return Snapshot(
            blobs=states,
            blobs_planned=len(planned),
            blobs_done=sum(state.outcome is not None for state in states),
            bytes_planned=sum(blob.size for blob in planned),
            bytes_done=sum(state.bytes_done for state in states),
            bytes_sent=sum(sent for _, sent, _ in begun),
        )


def _bytes_done(blob: Descriptor, sent: int, outcome: Offered | None) -> int:
    # A blob that broke off is sent again: more bytes than it has, and still not more than all of it.
    return blob.size if outcome is not None else min(sent, blob.size)
