"""Progress bars on a terminal, by rich: one for each blob under way, and one for all of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pullahead.cli.tally import BlobState, Snapshot
from pullahead.cli.texts import rate_text
from pullahead.cli.watch import Draw
from pullahead.oci import Digest, short

_MAX_BARS = 12


@contextmanager
def open_bars(stream: TextIO) -> Iterator[Draw]:
    """Show bars until the context ends; then they are wiped, to make room for the summary."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
    )
    # Refreshed by whoever draws: a second thread would only find the same figures.
    with Progress(*columns, console=Console(file=stream), transient=True, auto_refresh=False) as progress:
        yield _Bars(progress).draw


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._total = progress.add_task("total".ljust(12), total=None, note="")
        self._tasks: dict[Digest, TaskID] = {}

    def draw(self, snapshot: Snapshot, seconds: float) -> None:
        shown = rows_to_show(snapshot.blobs)
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


def rows_to_show(blobs: tuple[BlobState, ...]) -> tuple[BlobState, ...]:
    """Choose the blobs that get a bar: all that are under way, and the last ones done as far as there is room."""
    under_way = [state for state in blobs if state.outcome is None][:_MAX_BARS]
    done = [state for state in blobs if state.outcome is not None]
    room = _MAX_BARS - len(under_way)
    return tuple(done[len(done) - min(room, len(done)) :] + under_way)
