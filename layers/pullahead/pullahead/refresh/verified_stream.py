"""Read a whole blob as one stream whose bytes are verified before its end.

The last piece is held back until size and digest are verified, so whoever sends the pieces on never completes a blob
of wrong bytes. One thread reads, hashes and sends: while it does one of these, the sockets' buffers do the others.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pullahead.clock import Wait
from pullahead.errors import DigestMismatchError, Side
from pullahead.oci import Descriptor, algorithm_of
from pullahead.refresh.read_blob import BlobSource, RetryPolicy, read_blob


@contextmanager
def verified_stream(
    blob: Descriptor, source: BlobSource, wait: Wait, *, check: Callable[[], None], sent: Callable[[int], None]
) -> Iterator[Iterator[bytes]]:
    """Read a blob, resuming where a connection breaks.

    `check` is called for each piece, and after each break, and may raise to end the stream; `sent` is given the size of
    each piece that was sent. The iterator raises as `read_blob` does, and DigestMismatchError in place of the last
    piece of wrong bytes.
    """

    def must_stop() -> bool:
        check()
        return False

    with read_blob(blob, source, 0, RetryPolicy(wait, must_stop)) as pieces:
        yield _verified(blob, source, pieces, check, sent)


def _verified(
    blob: Descriptor,
    source: BlobSource,
    pieces: Iterator[bytes],
    check: Callable[[], None],
    sent: Callable[[int], None],
) -> Iterator[bytes]:
    computed = hashlib.new(algorithm_of(blob.digest))
    last = b""
    for piece in pieces:
        check()
        computed.update(piece)
        if last:
            yield last
            sent(len(last))
        last = piece
    verify_digest(blob, source, f"{computed.name}:{computed.hexdigest()}")
    if last:
        yield last
        sent(len(last))


def verify_digest(blob: Descriptor, source: BlobSource, computed: str) -> None:
    """Raise DigestMismatchError where a blob's bytes have another digest."""
    if computed != blob.digest:
        raise mismatch(blob, source, f"the bytes have the digest {computed}")


def mismatch(blob: Descriptor, source: BlobSource, cause: str) -> DigestMismatchError:
    """Make the error for bytes that are not those of a blob."""
    reference = f"{source.repository}@{blob.digest}"
    return DigestMismatchError(cause, operation="read", side=Side.UPSTREAM, reference=reference)
