"""A blob's bytes as one stream sends them: proved, read ahead where that pays, and counted as they go."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from pullahead.oci import Descriptor
from pullahead.ports import Wait
from pullahead.usecases.pieces import proved_pieces
from pullahead.usecases.read_ahead import AHEAD_FROM_BYTES, read_ahead
from pullahead.usecases.read_on import BlobSource


@contextmanager
def sent_pieces(
    blob: Descriptor, source: BlobSource, wait: Wait, *, before: Callable[[], None], sent: Callable[[int], None]
) -> Iterator[Iterator[bytes]]:
    """Open a blob from its beginning. `before` each piece may raise to end the stream; `sent` is told its size after.

    The iterator raises as that of `proved_pieces` does.
    """
    with ExitStack() as stack:
        pieces = stack.enter_context(proved_pieces(blob, source, wait))
        if blob.size >= AHEAD_FROM_BYTES:
            pieces = stack.enter_context(read_ahead(pieces))
        yield _told(pieces, before, sent)


def _told(pieces: Iterator[bytes], before: Callable[[], None], sent: Callable[[int], None]) -> Iterator[bytes]:
    for piece in pieces:
        before()
        yield piece
        sent(len(piece))
