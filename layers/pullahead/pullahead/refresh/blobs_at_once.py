"""How many blobs are copied at once: small ones on all threads, large ones as long as the process has time to spare.

A large blob keeps a thread busy with decrypting, hashing and encrypting, record by record; several threads that do so
take turns at the interpreter for each record, which costs CPU. Two are worth it where each is soon over: one begins
while the target still commits the other. Where the process waits for bytes, as with registries far away, more blobs at
once fill the time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

from pullahead.oci import Descriptor

LARGE_BYTES: Final = 4 * 1024 * 1024
"""A smaller blob takes less time than its requests."""

PAIR_BYTES: Final = 64 * 1024 * 1024
"""Two large blobs are copied at once where they have no more than this together."""

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
    pool = ThreadPoolExecutor(min(threads, len(blobs)))
    try:
        large = _LargeBlobs(
            [blob for blob in blobs if blob.size >= LARGE_BYTES], lambda blob: pool.submit(copy, blob), threads
        )
        large.begin()  # before the small ones take all threads
        small = [pool.submit(copy, blob) for blob in blobs if blob.size < LARGE_BYTES]
        idle = _IdleMeter(clocks)
        while large.waiting:
            any_done = large.wait(_LOOK_SECONDS)
            if idle.share() >= _IDLE_SHARE and not any_done:
                large.add_one()
            large.begin()
        wait((*large.running, *small))
    finally:
        pool.shutdown(wait=False)  # all are done, unless this thread was interrupted


class _LargeBlobs:
    """Begins large blobs in their order: one after another, two that are not so large, or as many as were added."""

    def __init__(self, blobs: Sequence[Descriptor], submit: Callable[[Descriptor], Future[None]], threads: int) -> None:
        self.waiting, self.running = deque(blobs), dict[Future[None], int]()
        self._submit, self._threads = submit, threads
        self._at_once = 1

    def begin(self) -> None:
        """Begin as many as may be copied at once."""
        while self.waiting and (len(self.running) < self._at_once or self._makes_a_pair(self.waiting[0])):
            blob = self.waiting.popleft()
            self.running[self._submit(blob)] = blob.size

    def wait(self, seconds: float) -> bool:
        """Wait until one is done, so long at most; return whether one is."""
        done, _ = wait(self.running, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            del self.running[future]
        return bool(done)

    def add_one(self) -> None:
        """Let one more be copied at once from now on, if there is a thread for it."""
        self._at_once = min(len(self.running) + 1, self._threads)

    def _makes_a_pair(self, blob: Descriptor) -> bool:
        return len(self.running) == 1 < self._threads and sum(self.running.values()) + blob.size <= PAIR_BYTES


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
