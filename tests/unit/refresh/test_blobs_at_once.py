"""How many blobs are copied at once, by how much time the process has to spare."""

import itertools
import threading
from collections.abc import Callable

from pullahead.oci import Descriptor, digest_of
from pullahead.oci.media_types import OCI_MANIFEST
from pullahead.refresh.blobs_at_once import LARGE_BYTES, PAIR_BYTES, Clocks, copy_at_once

PATIENCE_SECONDS = 20


def blobs(count: int, size: int) -> list[Descriptor]:
    return [Descriptor(OCI_MANIFEST, digest_of(f"{size} {number}".encode()), size) for number in range(count)]


def busy() -> Clocks:
    """Clocks of a process that always computes."""
    return Clocks(itertools.count().__next__, itertools.count().__next__)


def idle() -> Clocks:
    """Clocks of a process that always waits."""
    return Clocks(itertools.count().__next__, lambda: 0.0)


class Copies:
    """Counts how many blobs are copied at the same time."""

    def __init__(self, each: Callable[[], object] = lambda: None) -> None:
        self.copied, self.most, self._now, self._lock, self._each = list[Descriptor](), 0, 0, threading.Lock(), each

    def copy(self, blob: Descriptor) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            self._each()
        finally:
            with self._lock:
                self._now -= 1
                self.copied.append(blob)


def test_large_blobs_are_copied_one_after_another_while_the_process_is_busy() -> None:
    large, copies = blobs(5, PAIR_BYTES // 2 + 1), Copies()
    copy_at_once(large, copies.copy, 4, busy())
    assert copies.copied == large
    assert copies.most == 1


def test_two_large_blobs_are_copied_at_once_where_they_are_small_enough_together() -> None:
    copies = Copies(threading.Barrier(2, timeout=PATIENCE_SECONDS).wait)
    copy_at_once(blobs(6, PAIR_BYTES // 2), copies.copy, 4, busy())
    assert (len(copies.copied), copies.most) == (6, 2)


def test_one_thread_copies_one_blob_after_another() -> None:
    large, copies = blobs(4, LARGE_BYTES), Copies()
    copy_at_once(large, copies.copy, 1, busy())
    assert (copies.copied, copies.most) == (large, 1)


def test_large_blobs_are_copied_at_once_while_the_process_waits() -> None:
    copies = Copies(threading.Barrier(3, timeout=PATIENCE_SECONDS).wait)
    copy_at_once(blobs(3, PAIR_BYTES), copies.copy, 4, idle())
    assert (len(copies.copied), copies.most) == (3, 3)


def test_no_more_blobs_are_copied_at_once_than_there_are_threads() -> None:
    copies = Copies(threading.Barrier(2, timeout=PATIENCE_SECONDS).wait)
    copy_at_once(blobs(6, PAIR_BYTES), copies.copy, 2, idle())
    assert (len(copies.copied), copies.most) == (6, 2)


def test_small_blobs_are_copied_at_once_beside_a_large_one() -> None:
    copies = Copies(threading.Barrier(4, timeout=PATIENCE_SECONDS).wait)
    copy_at_once([*blobs(1, LARGE_BYTES), *blobs(3, LARGE_BYTES - 1)], copies.copy, 4, busy())
    assert (len(copies.copied), copies.most) == (4, 4)


def test_error_of_one_blob_does_not_stop_the_others() -> None:
    def fail() -> None:
        raise OSError

    copies = Copies(fail)
    copy_at_once([*blobs(2, LARGE_BYTES), *blobs(2, 1)], copies.copy, 2, busy())
    assert len(copies.copied) == 4


def test_no_blobs_take_no_threads() -> None:
    copy_at_once([], Copies().copy, 4, busy())
