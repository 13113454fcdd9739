"""Read a stream in a thread of its own while the caller sends, in bounds, and leave no thread behind."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

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
