"""What is seen of a copy while it runs: bars on a terminal, lines elsewhere, nothing where it is done at once."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pullahead.cli.bars import open_bars, rows_to_show
from pullahead.cli.tally import BlobState, Snapshot, Tally
from pullahead.cli.watch import Draw, View, Watch, heartbeat_text, view_for
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
        self.drawn: list[tuple[Snapshot, float]] = []
        self.is_open = False
        self.new = threading.Semaphore(0)

    def view(self, first_seconds: float = 0.0, every_seconds: float = 0.001) -> View:
        return View(self._open, first_seconds, every_seconds)

    @contextmanager
    def _open(self) -> Iterator[Draw]:
        self.is_open = True
        yield self._draw
        self.is_open = False

    def _draw(self, snapshot: Snapshot, seconds: float) -> None:
        self.drawn.append((snapshot, seconds))
        self.new.release()


def state(seed: str, done: int = 0, outcome: Offered | None = None) -> BlobState:
    return BlobState(Descriptor("application/octet-stream", digest_of(seed.encode()), 100), done, outcome)


def snapshot(*blobs: BlobState, planned: int = 4) -> Snapshot:
    done = sum(blob.outcome is not None for blob in blobs)
    return Snapshot(blobs, planned, done, 4 * MIB, 3 * MIB, 2_000_000)


def test_copy_is_drawn_once_only() -> None:
    screen, tally = Screen(), Tally()
    with Watch(tally, screen.view(), clock=iter(range(1000)).__next__):
        assert all(screen.new.acquire(timeout=10) for _ in range(3))
    assert [seconds for _, seconds in screen.drawn[:3]] == [1, 2, 3]
    assert not screen.is_open


def test_copy_that_is_done_at_once_is_drawn() -> None:
    screen = Screen()
    with Watch(Tally(), screen.view(first_seconds=60)):
        pass
    assert screen.drawn == []


def test_drawing_goes_on_when_the_copy_fails() -> None:
    screen = Screen()
    with pytest.raises(KeyError), Watch(Tally(), screen.view()):
        raise KeyError
    assert not screen.is_open


def test_log_file_gets_bars() -> None:
    stream = io.StringIO()
    view = view_for(stream)
    with view.open() as draw:
        draw(snapshot(state("a", 100, Offered.COPIED)), 5.0)
    assert stream.getvalue() == "pullahead: 3.0 MiB of 4.0 MiB, 1 of 4 blobs, 5 s, 0.4 MB/s\n"
    assert (view.first_seconds, view.every_seconds) == (5.0, 5.0)


def test_terminal_gets_lines() -> None:
    stream = Terminal()
    view = view_for(stream)
    assert view.every_seconds < 1
    with view.open() as draw:
        draw(snapshot(state("a", 50)), 1.0)
    assert "\x1b" in stream.getvalue()
    assert short(state("a").blob.digest) in stream.getvalue()


def test_waiting_for_manifests_looks_like_a_copy_of_nothing() -> None:
    assert heartbeat_text(Tally().snapshot(), 5.0) == "reading manifests, 5 s"


def test_bar_of_a_blob_is_missing() -> None:
    stream = Terminal()
    with open_bars(stream) as draw:
        draw(Tally().snapshot(), 0.1)
        draw(snapshot(state("a", 50), state("b", 100, Offered.MOUNTED)), 1.0)
        draw(snapshot(*(state(str(number), 1) for number in range(30)), planned=30), 2.0)
    written = stream.getvalue()
    assert all(short(state(seed).blob.digest) in written for seed in "ab")
    assert "mounted" in written
    assert "1/4 blobs, 2.0 MB/s" in written
    assert written.endswith("\x1b[2K")  # wiped in the end


def test_many_blobs_push_those_under_way_off_the_screen() -> None:
    done = tuple(state(f"done {number}", 100, Offered.COPIED) for number in range(30))
    under_way = (state("a", 1), state("b", 2))
    shown = rows_to_show((under_way[0], *done, under_way[1]))
    assert shown == (*done[-10:], *under_way)
    assert rows_to_show(()) == ()
    assert len(rows_to_show(tuple(state(str(number), 1) for number in range(30)))) == 12
