"""How many blobs are copied at once: small ones on all threads, large ones as long as the process has time to spare.

A large blob keeps a thread busy with decrypting, hashing and encrypting, record by record; several threads that do so
take turns at the interpreter for each record, which costs a tenth of the CPU and gains nothing. Where the process waits
for bytes instead, as with registries far away, more blobs at once fill the time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

from pullahead.oci import Descriptor

LARGE_BYTES: Final = 4 * 1024 * 1024
"""A smaller blob takes less time than its requests."""

_LARGE_AT_FIRST = 1
_LOOK_SECONDS = 0.1
_IDLE_SHARE = 0.6  # of the time, before another large blob is begun beside those that are copied


class Clocks(NamedTuple):
    """A monotonic clock, and one of the CPU time that the whole process uses, both in seconds."""

    clock: Callable[[], float]
    cpu_clock: Callable[[], float]


def copy_at_once(blobs: Sequence[Descriptor], copy: Callable[[Descriptor], None], threads: int, clocks: Clocks) -> None:
    """Copy every blob on at most `threads` threads. What `copy` raises is dropped: it decides what an error stops."""
    if not blobs:
        return
    large = deque(blob for blob in blobs if blob.size >= LARGE_BYTES)
    pool = ThreadPoolExecutor(min(threads, len(blobs)))
    try:
        running = {pool.submit(copy, large.popleft()) for _ in range(min(_LARGE_AT_FIRST, len(large)))}
        small = [pool.submit(copy, blob) for blob in blobs if blob.size < LARGE_BYTES]
        idle = _IdleMeter(clocks)
        while large:
            done, running = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            may_add = idle.share() >= _IDLE_SHARE and len(running) < threads
            more = len(done) or int(may_add)
            running |= {pool.submit(copy, large.popleft()) for _ in range(min(more, len(large)))}
        wait((*running, *small))
    finally:
        pool.shutdown(wait=False)  # all are done, unless this thread was interrupted


class _IdleMeter:
    """Measures for which share of the time the process did nothing."""

    def __init__(self, clocks: Clocks) -> None:
        self._clock, self._cpu_clock = clocks
        self._at, self._cpu_at = self._clock(), self._cpu_clock()

    def share(self) -> float:
        """Return the share since the last answer; 0 where no time has passed."""
        at, cpu_at = self._clock(), self._cpu_clock()
        seconds, cpu_seconds = at - self._at, cpu_at - self._cpu_at
        self._at, self._cpu_at = at, cpu_at
        return 1 - cpu_seconds / seconds if seconds > 0 else 0.0
