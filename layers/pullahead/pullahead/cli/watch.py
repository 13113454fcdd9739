"""Shows how far a copy is while it runs: bars on a terminal, a line every few seconds elsewhere. Copies nothing.

Nothing is drawn, and rich is not even imported, for a copy that is done before there is something to see.
"""

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from pullahead.cli.tally import Snapshot, Tally
from pullahead.cli.texts import rate_text, size_text

Draw = Callable[[Snapshot, float], None]
"""Draws a snapshot; the number is the seconds since the beginning."""


class View(NamedTuple):
    """A way to look at a copy: how to open it, when it is drawn first, and how often after that."""

    open: Callable[[], AbstractContextManager[Draw]]
    first_seconds: float
    every_seconds: float


class Watch:
    """Draws a tally from a thread of its own, as long as the context is open."""

    def __init__(self, tally: Tally, view: View, clock: Callable[[], float] = time.monotonic) -> None:
        self._tally, self._view, self._clock = tally, view, clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        began = self._clock()
        if self._ended.wait(self._view.first_seconds):
            return
        with self._view.open() as draw:
            while True:
                draw(self._tally.snapshot(), self._clock() - began)
                if self._ended.wait(self._view.every_seconds):
                    return


def view_for(stream: TextIO) -> View:
    """Choose how to look at a copy on a stream."""
    if stream.isatty() and importlib.util.find_spec("rich") is not None:
        return View(lambda: _open_bars(stream), first_seconds=0.3, every_seconds=0.2)
    return View(lambda: _open_lines(stream), first_seconds=5.0, every_seconds=5.0)


def heartbeat_text(snapshot: Snapshot, seconds: float) -> str:
    """Say in one line how far a copy is."""
    if not snapshot.blobs_planned:
        return f"reading manifests, {seconds:.0f} s"
    done, planned = size_text(snapshot.bytes_done), size_text(snapshot.bytes_planned)
    blobs = f"{snapshot.blobs_done} of {snapshot.blobs_planned} blobs"
    return f"{done} of {planned}, {blobs}, {seconds:.0f} s, {rate_text(snapshot.bytes_sent, seconds)}"


@contextmanager
def _open_lines(stream: TextIO) -> Iterator[Draw]:
    def draw(snapshot: Snapshot, seconds: float) -> None:
        stream.write(f"pullahead: {heartbeat_text(snapshot, seconds)}\n")
        stream.flush()

    yield draw


@contextmanager
def _open_bars(stream: TextIO) -> Iterator[Draw]:
    from pullahead.cli.bars import open_bars  # noqa: PLC0415 - rich takes longer to import than many copies take

    with open_bars(stream) as draw:
        yield draw
