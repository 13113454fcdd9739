"""A blob's bytes as one proved stream: upstream's breaks are mended by reading on, false bytes never reach the end.

The last piece is held back until size and digest are proved, so whoever sends these pieces on never completes a lie.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from pullahead.errors import DigestMismatchError, Side
from pullahead.oci import Descriptor, algorithm_of
from pullahead.ports import Wait
from pullahead.usecases.read_on import BlobSource, Mending
from pullahead.usecases.read_wide import read_blob


@contextmanager
def proved_pieces(blob: Descriptor, source: BlobSource, wait: Wait) -> Iterator[Iterator[bytes]]:
    """Read a whole blob, going on where a connection broke.

    The iterator raises what upstream raises for good, and DigestMismatchError in place of false bytes' last piece.
    """
    with read_blob(blob, source, 0, Mending(wait)) as pieces:
        yield _proved(blob, source, pieces)


def _proved(blob: Descriptor, source: BlobSource, pieces: Iterator[bytes]) -> Iterator[bytes]:
    proof = hashlib.new(algorithm_of(blob.digest))
    held = b""
    for piece in pieces:
        proof.update(piece)
        if held:
            yield held
        held = piece
    found = f"{proof.name}:{proof.hexdigest()}"
    if found != blob.digest:
        raise DigestMismatchError(
            f"the bytes have the digest {found}",
            operation="read",
            side=Side.UPSTREAM,
            reference=f"{source.repository}@{blob.digest}",
        )
    if held:
        yield held
