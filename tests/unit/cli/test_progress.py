"""Progress of a copy: counts of several threads, bars on a terminal, lines elsewhere, nothing for a short copy."""

import concurrent.futures
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pullahead.cli.progress import (
    BlobState,
    CopyCounter,
    CopySnapshot,
    Display,
    Draw,
    ProgressDisplay,
    blobs_to_show,
    open_bars,
    progress_line,
    view_for,
)
from pullahead.oci import Descriptor, digest_of, short
from pullahead.oci.registries import Offered

MIB = 1024 * 1024


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class Screen:
    """Notes what is drawn, and lets a test wait for the next drawing."""

    def __init__(self) -> None:
        self.drawn: list[tuple[CopySnapshot, float]] = []
        self.is_open = False
        self.new = threading.Semaphore(0)

    def view(self, first_seconds: float = 0.0, every_seconds: float = 0.001) -> Display:
        return Display(self._open, first_seconds, every_seconds)

    @contextmanager
    def _open(self) -> Iterator[Draw]:
        self.is_open = True
        yield self._draw
        self.is_open = False

    def _draw(self, snapshot: CopySnapshot, seconds: float) -> None:
        self.drawn.append((snapshot, seconds))
        self.new.release()


def state(seed: str, done: int = 0, outcome: Offered | None = None) -> BlobState:
    return BlobState(Descriptor("application/octet-stream", digest_of(seed.encode()), 100), done, outcome)


def snapshot(*blobs: BlobState, planned: int = 4) -> CopySnapshot:
    done = sum(blob.outcome is not None for blob in blobs)
    return CopySnapshot(blobs, planned, done, 4 * MIB, 3 * MIB, 2_000_000)


def blob(seed: str, size: int = 100) -> Descriptor:
    return Descriptor("application/octet-stream", digest_of(seed.encode()), size)


def test_counter_starts_at_zero() -> None:
    assert CopyCounter().snapshot() == ((), 0, 0, 0, 0, 0)


def test_bytes_and_blobs_are_counted() -> None:
    counter = CopyCounter()
    large, small, present = blob("large", 1000), blob("small"), blob("present", 50)
    counter.planned([large, small, present])
    counter.sent(large, 300)
    counter.sent(large, 200)
    counter.sent(small, 100)
    counter.offered(small, Offered.COPIED)
    counter.offered(present, Offered.PRESENT)
    snapshot = counter.snapshot()
    assert snapshot.blobs == ((large, 500, None), (small, 100, Offered.COPIED), (present, 50, Offered.PRESENT))
    assert (snapshot.blobs_planned, snapshot.blobs_done) == (3, 2)
    assert (snapshot.bytes_planned, snapshot.bytes_done, snapshot.bytes_sent) == (1150, 650, 600)


def test_blob_that_is_sent_again_is_done_at_most_once() -> None:
    counter = CopyCounter()
    counter.planned([blob("a")])
    counter.sent(blob("a"), 90)
    counter.sent(blob("a"), 90)
    snapshot = counter.snapshot()
    assert (snapshot.bytes_done, snapshot.bytes_sent) == (100, 180)


def test_counts_of_several_threads_add_up() -> None:
    counter = CopyCounter()
    blobs = [blob(str(number), 10_000) for number in range(8)]
    counter.planned(blobs)

    def send(one: Descriptor) -> None:
        for _ in range(1000):
            counter.sent(one, 10)
        counter.offered(one, Offered.COPIED)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(send, blobs))
    assert counter.snapshot()[1:] == (8, 8, 80_000, 80_000, 80_000)


def test_copy_is_redrawn_until_it_ends() -> None:
    screen, counter = Screen(), CopyCounter()
    with ProgressDisplay(counter, screen.view(), clock=iter(range(1000)).__next__):
        assert all(screen.new.acquire(timeout=10) for _ in range(3))
    assert [seconds for _, seconds in screen.drawn[:3]] == [1, 2, 3]
    assert not screen.is_open


def test_short_copy_is_not_drawn() -> None:
    screen = Screen()
    with ProgressDisplay(CopyCounter(), screen.view(first_seconds=60)):
        pass
    assert screen.drawn == []


def test_drawing_ends_when_the_copy_fails() -> None:
    screen = Screen()
    with pytest.raises(KeyError), ProgressDisplay(CopyCounter(), screen.view()):
        raise KeyError
    assert not screen.is_open


def test_log_file_gets_lines() -> None:
    stream = io.StringIO()
    view = view_for(stream)
    with view.open() as draw:
        draw(snapshot(state("a", 100, Offered.COPIED)), 5.0)
    assert stream.getvalue() == "pullahead: 3.0 MiB of 4.0 MiB, 1 of 4 blobs, 5 s, 0.4 MB/s\n"
    assert (view.first_seconds, view.every_seconds) == (5.0, 5.0)


def test_terminal_gets_bars() -> None:
    stream = Terminal()
    view = view_for(stream)
    assert view.every_seconds < 1
    with view.open() as draw:
        draw(snapshot(state("a", 50)), 1.0)
    assert "\x1b" in stream.getvalue()
    assert short(state("a").blob.digest) in stream.getvalue()


def test_line_before_the_plan_is_about_manifests() -> None:
    assert progress_line(CopyCounter().snapshot(), 5.0) == "reading manifests, 5 s"


def test_each_blob_gets_a_bar_and_bars_are_wiped() -> None:
    stream = Terminal()
    with open_bars(stream) as draw:
        draw(CopyCounter().snapshot(), 0.1)
        draw(snapshot(state("a", 50), state("b", 100, Offered.MOUNTED)), 1.0)
        draw(snapshot(*(state(str(number), 1) for number in range(30)), planned=30), 2.0)
    written = stream.getvalue()
    assert all(short(state(seed).blob.digest) in written for seed in "ab")
    assert "mounted" in written
    assert "1/4 blobs, 2.0 MB/s" in written
    assert written.endswith("\x1b[2K")  # wiped in the end


def test_blobs_under_way_are_shown_before_those_done() -> None:
    done = tuple(state(f"done {number}", 100, Offered.COPIED) for number in range(30))
    under_way = (state("a", 1), state("b", 2))
    shown = blobs_to_show((under_way[0], *done, under_way[1]))
    assert shown == (*done[-10:], *under_way)
    assert blobs_to_show(()) == ()
    assert len(blobs_to_show(tuple(state(str(number), 1) for number in range(30)))) == 12
