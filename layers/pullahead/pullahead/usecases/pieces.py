"""A blob's bytes as one proved stream: upstream's breaks are mended by reading on, false bytes never reach the end.

The last piece is held back until size and digest are proved, so whoever sends these pieces on never completes a lie.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack

from pullahead.errors import DigestMismatchError, RegistryError, Side
from pullahead.oci import Descriptor, algorithm_of
from pullahead.ports import Wait
from pullahead.usecases.copy_blob import BlobSource, open_from

_MAX_BREAKS = 5  # in a row, without a byte in between
_MAX_BREAKS_IN_ALL = 100


def proved_pieces(blob: Descriptor, source: BlobSource, wait: Wait) -> Iterator[bytes]:
    """Read a whole blob, going on where a connection broke.

    Raises: what the upstream raises for good, and DigestMismatchError in place of the last piece of false bytes.
    """
    proof = hashlib.new(algorithm_of(blob.digest))
    held = b""
    for piece in _read_on(blob, source, wait):
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


def _read_on(blob: Descriptor, source: BlobSource, wait: Wait) -> Iterator[bytes]:
    offset = breaks = breaks_in_all = 0
    while offset < blob.size:
        before = offset
        try:
            with ExitStack() as stack:
                for piece in open_from(stack, source, blob, offset):
                    offset += len(piece)
                    yield piece
            if offset == before:
                return  # a port that ends early without an error; the digest will tell
        except RegistryError as error:
            breaks = 1 if offset > before else breaks + 1
            breaks_in_all += 1
            if not error.retryable or breaks >= _MAX_BREAKS or breaks_in_all >= _MAX_BREAKS_IN_ALL:
                raise
            wait(breaks)
