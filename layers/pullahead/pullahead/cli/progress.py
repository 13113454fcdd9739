"""Progress of a copy on stderr: bars on a terminal, a line every five seconds elsewhere.

`CopyCounter` counts what the engine reports from its threads. `ProgressDisplay` draws the counts from a thread of its
own; nothing is drawn, and rich is not imported, for a copy that ends before there is something to see.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TextIO

from pullahead.oci import Descriptor, Digest, short
from pullahead.oci.registries import Offered
from pullahead.text import rate_text, size_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_MAX_BARS = 12


class BlobState(NamedTuple):
    """One blob: how many of its bytes are at the target, and its outcome (None while it is under way)."""

    blob: Descriptor
    bytes_done: int
    outcome: Offered | None


class CopySnapshot(NamedTuple):
    """The whole copy at one moment. `blobs` are those that were started, in that order."""

    blobs: tuple[BlobState, ...]
    blobs_planned: int
    blobs_done: int
    bytes_planned: int
    bytes_done: int
    bytes_sent: int


@dataclass
class _StartedBlob:
    blob: Descriptor
    bytes_sent: int = 0
    outcome: Offered | None = None


class CopyCounter:
    """Implements `pullahead.standalone.copy_image.CopyProgress`. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: tuple[Descriptor, ...] = ()
        self._started: dict[Digest, _StartedBlob] = {}

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        """Set the blobs that will be offered to the target."""
        with self._lock:
            self._planned = tuple(blobs)

    def sent(self, blob: Descriptor, count_bytes: int) -> None:
        """Count bytes of a blob that were sent."""
        with self._lock:
            self._started.setdefault(blob.digest, _StartedBlob(blob)).bytes_sent += count_bytes

    def offered(self, blob: Descriptor, what: Offered) -> None:
        """Record that a blob is at the target."""
        with self._lock:
            self._started.setdefault(blob.digest, _StartedBlob(blob)).outcome = what

    def snapshot(self) -> CopySnapshot:
        """Add up everything so far."""
        with self._lock:
            started = [(each.blob, each.bytes_sent, each.outcome) for each in self._started.values()]
            planned = self._planned
        states = tuple(BlobState(blob, _bytes_done(blob, sent, outcome), outcome) for blob, sent, outcome in started)
        return CopySnapshot(
            blobs=states,
            blobs_planned=len(planned),
            blobs_done=sum(state.outcome is not None for state in states),
            bytes_planned=sum(blob.size for blob in planned),
            bytes_done=sum(state.bytes_done for state in states),
            bytes_sent=sum(sent for _, sent, _ in started),
        )


def _bytes_done(blob: Descriptor, sent: int, outcome: Offered | None) -> int:
    # A blob whose upload broke is sent again: more bytes than it has, but never more than all of it is done.
    return blob.size if outcome is not None else min(sent, blob.size)


Draw = Callable[[CopySnapshot, float], None]
"""Draws a snapshot; the number is the seconds since the copy began."""


class Display(NamedTuple):
    """A kind of display: how it is opened, when it is first drawn, and how often after that."""

    open: Callable[[], AbstractContextManager[Draw]]
    first_seconds: float
    every_seconds: float


class ProgressDisplay:
    """Draws a counter from a thread of its own while the context is open."""

    def __init__(self, counter: CopyCounter, view: Display, clock: Callable[[], float] = time.monotonic) -> None:
        self._counter, self._view, self._clock = counter, view, clock
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
                draw(self._counter.snapshot(), self._clock() - began)
                if self._ended.wait(self._view.every_seconds):
                    return


def view_for(stream: TextIO) -> Display:
    """Choose bars for a terminal, else lines."""
    if stream.isatty():
        return Display(lambda: open_bars(stream), first_seconds=0.3, every_seconds=0.2)
    return Display(lambda: _open_lines(stream), first_seconds=5.0, every_seconds=5.0)


def progress_line(snapshot: CopySnapshot, seconds: float) -> str:
    """Describe a snapshot in one line."""
    if not snapshot.blobs_planned:
        return f"reading manifests, {seconds:.0f} s"
    done, planned = size_text(snapshot.bytes_done), size_text(snapshot.bytes_planned)
    blobs = f"{snapshot.blobs_done} of {snapshot.blobs_planned} blobs"
    return f"{done} of {planned}, {blobs}, {seconds:.0f} s, {rate_text(snapshot.bytes_sent, seconds)}"


@contextmanager
def _open_lines(stream: TextIO) -> Iterator[Draw]:
    def draw(snapshot: CopySnapshot, seconds: float) -> None:
        stream.write(f"pullahead: {progress_line(snapshot, seconds)}\n")
        stream.flush()

    yield draw


@contextmanager
def open_bars(stream: TextIO) -> Iterator[Draw]:
    """Show bars until the context ends; then wipe them, to make room for the summary."""
    # rich takes longer to import than many copies take.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
    )
    # No second thread that refreshes: it would only find the same figures.
    with Progress(*columns, console=Console(file=stream), transient=True, auto_refresh=False) as progress:
        yield _Bars(progress).draw


class _Bars:
    """A bar for each blob that `blobs_to_show` chooses, and one for the whole copy."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._total = progress.add_task("total".ljust(12), total=None, note="")
        self._tasks: dict[Digest, TaskID] = {}

    def draw(self, snapshot: CopySnapshot, seconds: float) -> None:
        shown = blobs_to_show(snapshot.blobs)
        for digest in self._tasks.keys() - {state.blob.digest for state in shown}:
            self._progress.remove_task(self._tasks.pop(digest))
        for state in shown:
            self._draw_blob(state)
        note = f"{snapshot.blobs_done}/{snapshot.blobs_planned} blobs, {rate_text(snapshot.bytes_sent, seconds)}"
        total = snapshot.bytes_planned if snapshot.blobs_planned else None
        self._progress.update(self._total, total=total, completed=snapshot.bytes_done, note=note)
        self._progress.refresh()

    def _draw_blob(self, state: BlobState) -> None:
        digest = state.blob.digest
        if digest not in self._tasks:
            self._tasks[digest] = self._progress.add_task(short(digest), total=state.blob.size, note="")
        note = state.outcome.lower() if state.outcome is not None else ""
        self._progress.update(self._tasks[digest], completed=state.bytes_done, note=note)


def blobs_to_show(blobs: tuple[BlobState, ...]) -> tuple[BlobState, ...]:
    """Choose the blobs that get a bar: all that are under way, then the last ones done, as far as there is room."""
    under_way = [state for state in blobs if state.outcome is None][:_MAX_BARS]
    done = [state for state in blobs if state.outcome is not None]
    room = _MAX_BARS - len(under_way)
    return tuple(done[len(done) - min(room, len(done)) :] + under_way)
