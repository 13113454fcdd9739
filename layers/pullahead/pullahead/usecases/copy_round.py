"""One round of a unit: each blob by the road that suits it, several at once, until all are there or time is up."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import NamedTuple

from pullahead.copying.progress import BegunUpload, UnitProgress
from pullahead.copying.roads import Roads
from pullahead.errors import PullaheadError, RegistryError, Side
from pullahead.oci import Descriptor
from pullahead.ports import Offered, StreamsBlobs, Target, Wait
from pullahead.usecases.copy_blob import BlobCopy, BlobTarget
from pullahead.usecases.read_on import BlobSource
from pullahead.usecases.sent_pieces import sent_pieces
from pullahead.usecases.time_budget import TimeBudget

_NOTED_FROM_BYTES = 10 * 1024 * 1024  # as much as one of ECR's parts: what a kill may cost without a note


class Ends(NamedTuple):
    """The ends of a unit's copy. Without `streams` every blob goes by parts."""

    source: BlobSource
    target: Target
    repository: str
    streams: StreamsBlobs | None
    wait: Wait


class Copied(NamedTuple):
    """What was done, for one blob or for all of a round."""

    bytes_sent: int
    done: bool


class CopyRound:
    """What the threads of one round share. `keep` writes what the next round, or whoever comes after a kill, needs."""

    def __init__(
        self, progress: UnitProgress, ends: Ends, budget: TimeBudget, keep: Callable[[UnitProgress], None]
    ) -> None:
        self._progress, self._ends, self._budget, self._write = progress, ends, budget, keep
        self._roads = Roads()
        self._lock = threading.Lock()
        self._is_over = False

    def run(self, threads: int) -> Copied:
        """Copy what the target lacks. The first error, in the order of the blobs, ends the round for all."""
        blobs = self._progress.blobs
        present = self._ends.target.present_blobs(self._ends.repository, [blob.digest for blob in blobs])
        with ThreadPoolExecutor(threads) as pool:
            copies = [pool.submit(self._copy, blob) for blob in blobs if blob.digest not in present]
        copied = [copy.result() for copy in copies]
        return Copied(sum(one.bytes_sent for one in copied), all(one.done for one in copied))

    def _copy(self, blob: Descriptor) -> Copied:
        if self._is_over:
            return Copied(0, done=False)
        try:
            copied = self._by_the_best_road(blob)
        except BaseException:
            self._is_over = True
            raise
        self._must_pause()
        return copied

    def _by_the_best_road(self, blob: Descriptor) -> Copied:
        streams, mount_from = self._ends.streams, self._progress.mounts.get(blob.digest)
        if streams is None or not ((may_send := self._may_stream(blob)) or mount_from):
            return self._by_parts(blob)
        stream = _Stream(blob, self._ends, may_send, self._must_pause, self._note_stream)
        began = self._budget.seconds_left()
        offered = stream.offer(streams, mount_from)
        if offered is None:
            if stream.bytes_sent and self._must_pause():
                self._note_stream(blob)
                return Copied(stream.bytes_sent, done=False)
            by_parts = self._by_parts(blob)
            return Copied(stream.bytes_sent + by_parts.bytes_sent, by_parts.done)
        if offered is Offered.COPIED:
            self._roads.learn(blob.size, began - self._budget.seconds_left())
        return Copied(stream.bytes_sent, done=True)

    def _may_stream(self, blob: Descriptor) -> bool:
        if self._progress.goes_by_parts(blob.digest):
            return False
        return self._roads.surely_streams(blob.size, self._budget.seconds_left())

    def _by_parts(self, blob: Descriptor) -> Copied:
        copy = BlobCopy(
            blob,
            self._ends.source,
            BlobTarget(self._ends.target, self._ends.repository),
            keep=self._note_upload,
            must_pause=self._must_pause,
            wait=self._ends.wait,
        )
        copied = copy.run(self._progress.upload_of(blob.digest))
        return Copied(copied.bytes_sent, copied.paused is None)

    def _must_pause(self) -> bool:
        with self._lock:
            self._is_over = self._is_over or self._budget.is_up()
            return self._is_over

    def _note_upload(self, begun: BegunUpload) -> None:
        with self._lock:
            self._progress = self._progress.with_upload(begun)
            self._write(self._progress)

    def _note_stream(self, blob: Descriptor) -> None:
        with self._lock:
            if blob.digest not in self._progress.streamed:
                self._progress = self._progress.with_streamed(blob.digest)
                self._write(self._progress)


class _BrokenOffError(PullaheadError):
    """Our own end of a stream: it may not be sent, or no longer."""


class _Stream:
    """One blob offered in one stream. `note` is told of a large one before its first byte goes.

    Whoever finds that note, and the blob still missing, knows that a stream was killed, and sends parts: then no second
    kill costs more than one of them.
    """

    def __init__(
        self,
        blob: Descriptor,
        ends: Ends,
        may_send: bool,
        must_pause: Callable[[], bool],
        note: Callable[[Descriptor], None],
    ) -> None:
        self._blob, self._ends, self._may_send = blob, ends, may_send
        self._must_pause, self._note = must_pause, note
        self.bytes_sent = 0

    def offer(self, streams: StreamsBlobs, mount_from: str | None) -> Offered | None:
        """Offer the blob; None where it has to go by parts: it was not mounted, time ran out, or the target broke off.

        Raises: what the ports raise for good, and what upstream raises.
        """
        try:
            return streams.stream_blob(self._ends.repository, self._blob, self._open, mount_from)
        except _BrokenOffError:
            return None
        except RegistryError as error:
            if error.side is not Side.TARGET or not error.retryable:
                raise
            return None

    def _open(self) -> AbstractContextManager[Iterator[bytes]]:
        if not self._may_send:
            raise _BrokenOffError("it may only be mounted")
        if self._blob.size > _NOTED_FROM_BYTES:
            self._note(self._blob)
        return sent_pieces(self._blob, self._ends.source, self._ends.wait, before=self._check, sent=self._count)

    def _check(self) -> None:
        if self._must_pause():
            raise _BrokenOffError("the time is up")

    def _count(self, count_bytes: int) -> None:
        self.bytes_sent += count_bytes
