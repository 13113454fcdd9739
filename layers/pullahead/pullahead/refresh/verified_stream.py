"""A blob's bytes as one proved stream: upstream's breaks are mended by reading on, false bytes never reach the end.

The last piece is held back until size and digest are proved, so whoever sends these pieces on never completes a lie.

A blob's bytes as one stream sends them: proved, read ahead where that pays, and counted as they go.

Read a stream in a thread of its own while the caller sends, in bounds, and leave no thread behind.
"""

import contextlib
import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from pullahead.clock import Wait
from pullahead.errors import DigestMismatchError, Side
from pullahead.oci import Descriptor, algorithm_of
from pullahead.refresh.read_blob import BlobSource, RetryPolicy, read_blob


@contextmanager
def proved_pieces(blob: Descriptor, source: BlobSource, wait: Wait) -> Iterator[Iterator[bytes]]:
    """Read a whole blob, going on where a connection broke.

    The iterator raises what upstream raises for good, and DigestMismatchError in place of false bytes' last piece.
    """
    with read_blob(blob, source, 0, RetryPolicy(wait)) as pieces:
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


AHEAD_FROM_BYTES = 4 * 1024 * 1024
"""Below this a thread costs more than it saves."""

_AHEAD = 4  # pieces of at most 1 MiB
_POLL_SECONDS = 0.5


@contextlib.contextmanager
def read_ahead(pieces: Iterator[bytes], depth: int = _AHEAD) -> Iterator[Iterator[bytes]]:
    """Read, and so also hash, in a thread of its own while the caller sends. Holds at most `depth` + 2 pieces."""
    waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_read, args=(pieces, waiting, stopped), daemon=True)
    thread.start()
    try:
        yield _taken(waiting)
    finally:
        stopped.set()
        while thread.is_alive():
            with contextlib.suppress(queue.Empty):
                waiting.get_nowait()
            thread.join(_POLL_SECONDS)


def _read(
    pieces: Iterator[bytes], waiting: "queue.Queue[bytes | BaseException | None]", stopped: threading.Event
) -> None:
    last: BaseException | None = None
    try:
        for piece in pieces:
            if not _put(waiting, piece, stopped):
                return
    except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that takes
        last = error
    _put(waiting, last, stopped)


def _put(
    waiting: "queue.Queue[bytes | BaseException | None]", item: bytes | BaseException | None, stopped: threading.Event
) -> bool:
    put: Callable[..., None] = waiting.put
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            put(item, timeout=_POLL_SECONDS)
            return True
    return False


def _taken(waiting: "queue.Queue[bytes | BaseException | None]") -> Iterator[bytes]:
    while (item := waiting.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


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
