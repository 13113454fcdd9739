"""Copy one unit of a plan, as far as the time goes; ask for another round where it does not suffice.

A unit that was killed is simply run again: which blobs are done and how far an upload got is asked of the target.

One round of a unit: each blob by the road that suits it, several at once, until all are there or time is up.

When to stop so that what is begun can still be saved. Pure: the time that is left is asked of whoever has it.

Which road a blob goes into the target: one stream, which costs least, or parts, which can be resumed. Pure.

A stream is broken off with all that it has sent when the time runs out, so it is taken only for what surely fits.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import NamedTuple

import msgspec

from pullahead.clock import Wait
from pullahead.errors import PullaheadError, RegistryError, Side, StorageError, TransferStalledError
from pullahead.messages import UnitRequest
from pullahead.oci import Descriptor, parse_reference
from pullahead.oci.registries import BlobReader, BlobStreams, Offered, Target
from pullahead.refresh.plan import unit_key
from pullahead.refresh.ports import PlanStore
from pullahead.refresh.progress import BegunUpload, UnitProgress
from pullahead.refresh.read_blob import BlobSource, parallel_read
from pullahead.refresh.upload_blob import BlobTarget, BlobUpload
from pullahead.refresh.verified_stream import sent_pieces

_MAX_RESERVE_SECONDS = 60.0
_RESERVE_SHARE = 0.2


class TimeBudget:
    """Tells when to stop so that the rest can be saved: a share of the time there was, or two slow parts.

    With several `threads` that ask in turn, a part takes as many times longer as there are between two questions.
    """

    def __init__(self, remaining_seconds: Callable[[], float], threads: int = 1) -> None:
        self._remaining, self._threads = remaining_seconds, threads
        self._last = remaining_seconds()
        self._reserve = min(_MAX_RESERVE_SECONDS, self._last * _RESERVE_SHARE)
        self._slowest = 0.0

    def is_up(self) -> bool:
        """Whether to stop now. Called after every part, so it also learns how long a part takes."""
        now = self._remaining()
        self._slowest = max(self._slowest, self._last - now)
        self._last = now
        return now < max(self._reserve, 2 * self._threads * self._slowest)

    def seconds_left(self) -> float:
        """Tell how long something may take that is not to be stopped."""
        return self._remaining() - self._reserve


_ASSUMED_BYTES_PER_SECOND = 4_000_000.0  # before anything was measured: what a bad day looks like
_SLOWER = 3.0  # how much slower than measured the next one may be
_FIXED_SECONDS = 2.0  # for opening both ends, whatever the size
_MEASURED_FROM_BYTES = 1024 * 1024  # less is mostly waiting for answers, and says little about a long stream
_REMEMBERED = 4


class UploadMethodChooser:
    """Learns how quick streams are. May be used by several threads: what one appends another reads or does not."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_REMEMBERED)

    def surely_streams(self, size: int, seconds_left: float) -> bool:
        """Tell whether a blob of `size` bytes has come in `seconds_left`, even if things go badly."""
        rate = min(tuple(self._rates), default=_ASSUMED_BYTES_PER_SECOND)
        return size / rate * _SLOWER + _FIXED_SECONDS <= seconds_left

    def learn(self, size: int, seconds: float) -> None:
        """Take note of a stream that came through."""
        if size >= _MEASURED_FROM_BYTES and seconds > 0:
            self._rates.append(size / seconds)


_NOTED_FROM_BYTES = 10 * 1024 * 1024  # as much as one of ECR's parts: what a kill may cost without a note


class CopyEndpoints(NamedTuple):
    """The ends of a unit's copy. Without `streams` every blob goes by parts."""

    source: BlobSource
    target: Target
    repository: str
    streams: BlobStreams | None
    wait: Wait


class Copied(NamedTuple):
    """What was done, for one blob or for all of a round."""

    bytes_sent: int
    done: bool


class CopyRound:
    """What the threads of one round share. `keep` writes what the next round, or whoever comes after a kill, needs."""

    def __init__(
        self, progress: UnitProgress, ends: CopyEndpoints, budget: TimeBudget, keep: Callable[[UnitProgress], None]
    ) -> None:
        self._progress, self._ends, self._budget, self._write = progress, ends, budget, keep
        self._roads = UploadMethodChooser()
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
        copy = BlobUpload(
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
        ends: CopyEndpoints,
        may_send: bool,
        must_pause: Callable[[], bool],
        note: Callable[[Descriptor], None],
    ) -> None:
        self._blob, self._ends, self._may_send = blob, ends, may_send
        self._must_pause, self._note = must_pause, note
        self.bytes_sent = 0

    def offer(self, streams: BlobStreams, mount_from: str | None) -> Offered | None:
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


MAX_ROUNDS = 400
_MAX_STALLED_ROUNDS = 3


class CopyUnit:
    """The use case, with the ports that it works through; `threads` blobs go at once.

    With `streams`, blobs that surely fit the time left go in one stream; without, all go by parts.
    """

    def __init__(
        self,
        upstream: BlobReader,
        target: Target,
        plans: PlanStore,
        wait: Wait,
        *,
        threads: int = 1,
        streams: BlobStreams | None = None,
    ) -> None:
        self._upstream, self._target, self._plans = upstream, target, plans
        self._wait, self._threads, self._streams = wait, threads, streams

    def __call__(self, request: UnitRequest, remaining_seconds: Callable[[], float]) -> UnitRequest:
        """Copy what the unit still lacks; the answer is done, or the request for the next round.

        Raises: what the ports raise, and TransferStalledError where rounds bring nothing any more.
        """
        if request.rounds >= MAX_ROUNDS:
            raise TransferStalledError(
                f"unit {request.unit} of {request.refresh} is not done after {MAX_ROUNDS} rounds"
            )
        budget = TimeBudget(remaining_seconds, self._threads)
        key = unit_key(request.refresh, request.unit)

        def keep(progress: UnitProgress) -> None:
            self._plans.write(key, msgspec.json.encode(progress))

        ends = self._ends(request, lambda: -remaining_seconds())
        copied = CopyRound(self._load(key), ends, budget, keep).run(self._threads)
        return _next(request, copied.bytes_sent, done=copied.done)

    def _ends(self, request: UnitRequest, clock: Callable[[], float]) -> CopyEndpoints:
        source = BlobSource(self._upstream, parse_reference(request.upstream).repository, parallel_read(clock))
        return CopyEndpoints(source, self._target, request.repository, self._streams, self._wait)

    def _load(self, key: str) -> UnitProgress:
        try:
            return msgspec.json.decode(self._plans.read(key), type=UnitProgress)
        except msgspec.DecodeError as error:
            raise StorageError(f"the kept progress {key} cannot be read: {error}") from error


def _next(request: UnitRequest, sent: int, *, done: bool) -> UnitRequest:
    stalled = 0 if sent or done else request.stalled_rounds + 1
    if stalled >= _MAX_STALLED_ROUNDS:
        raise TransferStalledError(
            f"unit {request.unit} of {request.refresh} sent nothing in {stalled} rounds; "
            "upstream or the target is too slow for the function's time"
        )
    return msgspec.structs.replace(
        request,
        rounds=request.rounds + 1,
        bytes_copied=request.bytes_copied + sent,
        stalled_rounds=stalled,
        done=done,
    )
