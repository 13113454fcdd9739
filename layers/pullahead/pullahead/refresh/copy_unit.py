"""Copy one unit of a plan, as far as the function's time goes, and return the request for the next round.

A blob goes in one stream, which costs least, where it surely fits the time left; else in parts, which another
invocation can resume. A unit that was killed is simply run again: the target says which blobs are done, and how far
the upload of a blob is.
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
from pullahead.refresh.parallel_read import ParallelRead
from pullahead.refresh.plan import unit_key
from pullahead.refresh.ports import PlanStore
from pullahead.refresh.progress import BegunUpload, UnitProgress
from pullahead.refresh.read_blob import BlobSource
from pullahead.refresh.upload_blob import BlobTarget, BlobUpload, refuses_form
from pullahead.refresh.verified_stream import verified_stream

MAX_ROUNDS = 400
_MAX_STALLED_ROUNDS = 3
MIN_BYTES_PER_SECOND = 50_000
"""What a round has to send on average, or it counts as stalled: slower copies hold a refresh slot for hours."""


class CopyUnit:
    """Runs rounds of units; `threads` blobs are copied at once.

    Without `streams` every blob goes by parts. Without `parallel_read` each is read on one connection.
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
        parallel_read: Callable[[], ParallelRead] | None = None,
        min_bytes_per_second: float = MIN_BYTES_PER_SECOND,
    ) -> None:
        self._min_bytes_per_second = min_bytes_per_second
        self._upstream, self._target, self._plans = upstream, target, plans
        self._wait, self._threads, self._streams, self._parallel_read = wait, threads, streams, parallel_read

    def __call__(self, request: UnitRequest, remaining_seconds: Callable[[], float]) -> UnitRequest:
        """Copy what the unit still lacks; the answer is done, or the request for the next round.

        Raises: what the ports raise, and TransferStalledError where rounds no longer bring anything.
        """
        if request.rounds >= MAX_ROUNDS:
            raise TransferStalledError(
                f"unit {request.unit} of {request.refresh} is not done after {MAX_ROUNDS} rounds"
            )
        budget = TimeBudget(remaining_seconds, self._threads)
        key = unit_key(request.refresh, request.unit)

        def save(progress: UnitProgress) -> None:
            self._plans.write(key, msgspec.json.encode(progress))

        progress, ends = self._load(key), self._ends(request)
        copied = CopyRound(progress, ends, budget, save, optional=request.optional).run(self._threads)
        return _next_request(request, copied, budget.seconds_spent, self._min_bytes_per_second)

    def _ends(self, request: UnitRequest) -> "CopyEndpoints":
        parallel = self._parallel_read() if self._parallel_read is not None else None
        source = BlobSource(self._upstream, parse_reference(request.upstream).repository, parallel)
        return CopyEndpoints(source, self._target, request.repository, self._streams, self._wait)

    def _load(self, key: str) -> UnitProgress:
        try:
            return msgspec.json.decode(self._plans.read(key), type=UnitProgress)
        except msgspec.DecodeError as error:
            raise StorageError(f"the stored progress {key} cannot be read: {error}") from error


def _next_request(request: UnitRequest, copied: "Copied", seconds: float, min_bytes_per_second: float) -> UnitRequest:
    is_slow = copied.bytes_sent == 0 or copied.bytes_sent < min_bytes_per_second * seconds
    stalled = request.stalled_rounds + 1 if is_slow and not copied.done else 0
    if stalled >= _MAX_STALLED_ROUNDS:
        rate = f"{copied.bytes_sent / max(seconds, 1.0) / 1000:.1f} kB/s"
        raise TransferStalledError(
            f"unit {request.unit} of {request.refresh} sent {copied.bytes_sent} bytes ({rate}) in its last round, and "
            f"was as slow in the {stalled - 1} before; upstream or ECR is too slow: at least "
            f"{min_bytes_per_second / 1000:g} kB/s are required. It is retried later"
        )
    return msgspec.structs.replace(
        request,
        rounds=request.rounds + 1,
        bytes_copied=request.bytes_copied + copied.bytes_sent,
        stalled_rounds=stalled,
        done=copied.done,
    )


class CopyEndpoints(NamedTuple):
    """The two ends of a unit's copy. Without `streams` every blob goes by parts."""

    source: BlobSource
    target: Target
    repository: str
    streams: BlobStreams | None
    wait: Wait


class Copied(NamedTuple):
    """What was copied of one blob, or of all blobs of a round."""

    bytes_sent: int
    done: bool


class CopyRound:
    """One round of a unit: several blobs at once, until all are copied or the time is up.

    `save` stores what the next round needs, or whoever runs the unit again after a kill. Where the blobs are
    `optional`, one that cannot be copied is stored as failed, and the others are copied.
    """

    def __init__(
        self,
        progress: UnitProgress,
        ends: CopyEndpoints,
        budget: "TimeBudget",
        save: Callable[[UnitProgress], None],
        *,
        optional: bool = False,
    ) -> None:
        self._progress, self._ends, self._budget, self._save = progress, ends, budget, save
        self._optional = optional
        self._stream_times = StreamTimes()
        self._lock = threading.Lock()
        self._is_over = False

    def run(self, threads: int) -> Copied:
        """Copy what the target lacks. The first error, in the order of the blobs, ends the round."""
        blobs = self._progress.blobs
        present = self._ends.target.present_blobs(self._ends.repository, [blob.digest for blob in blobs])
        left = [blob for blob in blobs if blob.digest not in present and blob.digest not in self._progress.failed]
        with ThreadPoolExecutor(threads) as pool:
            copies = [pool.submit(self._copy, blob) for blob in left]
        copied = [copy.result() for copy in copies]
        return Copied(sum(one.bytes_sent for one in copied), all(one.done for one in copied))

    def _copy(self, blob: Descriptor) -> Copied:
        if self._is_over:
            return Copied(0, done=False)
        try:
            copied = self._copy_by_stream_or_parts(blob)
        except BaseException as error:
            if self._optional and isinstance(error, RegistryError):
                return self._give_up(blob, error)
            self._is_over = True
            raise
        self._must_pause()
        return copied

    def _give_up(self, blob: Descriptor, error: RegistryError) -> Copied:
        with self._lock:
            self._progress = self._progress.with_failed(blob.digest, error)
            self._save(self._progress)
        return Copied(0, done=True)

    def _copy_by_stream_or_parts(self, blob: Descriptor) -> Copied:
        streams, mount_from = self._ends.streams, self._progress.mounts.get(blob.digest)
        if streams is None or not ((may_send := self._may_stream(blob)) or mount_from):
            return self._copy_by_parts(blob)
        stream = _Stream(blob, self._ends, may_send, self._must_pause, self._save_stream)
        began = self._budget.seconds_left()
        offered = stream.offer(streams, mount_from)
        if offered is None:
            if stream.bytes_sent and self._must_pause():
                self._save_stream(blob)
                return Copied(stream.bytes_sent, done=False)
            by_parts = self._copy_by_parts(blob)
            return Copied(stream.bytes_sent + by_parts.bytes_sent, by_parts.done)
        if offered is Offered.COPIED:
            self._stream_times.record(blob.size, began - self._budget.seconds_left())
        return Copied(stream.bytes_sent, done=True)

    def _may_stream(self, blob: Descriptor) -> bool:
        if self._progress.must_use_parts(blob.digest):
            return False
        return self._stream_times.surely_fits(blob.size, self._budget.seconds_left())

    def _copy_by_parts(self, blob: Descriptor) -> Copied:
        upload = BlobUpload(
            blob,
            self._ends.source,
            BlobTarget(self._ends.target, self._ends.repository),
            save=self._save_upload,
            must_pause=self._must_pause,
            wait=self._ends.wait,
            is_over=lambda: self._is_over or self._budget.seconds_left() < 0,
        )
        uploaded = upload.run(self._progress.upload_of(blob.digest))
        return Copied(uploaded.bytes_sent, uploaded.paused is None)

    def _must_pause(self) -> bool:
        with self._lock:
            self._is_over = self._is_over or self._budget.is_up()
            return self._is_over

    def _save_upload(self, begun: BegunUpload) -> None:
        with self._lock:
            self._progress = self._progress.with_upload(begun)
            self._save(self._progress)

    def _save_stream(self, blob: Descriptor) -> None:
        with self._lock:
            if blob.digest not in self._progress.streamed:
                self._progress = self._progress.with_streamed(blob.digest)
                self._save(self._progress)


_SAVED_FROM_BYTES = 10 * 1024 * 1024  # one of ECR's parts: as much may be sent again after a kill


class _Stream:
    """One blob offered in one stream. `save` is called for a large one before its first byte is sent.

    Where that is saved and the blob still missing, a stream was killed; then parts are sent, so that a second kill
    costs no more than one of them.
    """

    def __init__(
        self,
        blob: Descriptor,
        ends: CopyEndpoints,
        may_send: bool,
        must_pause: Callable[[], bool],
        save: Callable[[Descriptor], None],
    ) -> None:
        self._blob, self._ends, self._may_send = blob, ends, may_send
        self._must_pause, self._save = must_pause, save
        self.bytes_sent = 0

    def offer(self, streams: BlobStreams, mount_from: str | None) -> Offered | None:
        """Offer the blob; None where it has to go by parts: not mounted, out of time, or broken off or refused.

        Raises: what the target raises permanently, and what upstream raises.
        """
        try:
            return streams.stream_blob(self._ends.repository, self._blob, self._open, mount_from)
        except _StreamStoppedError:
            return None
        except RegistryError as error:
            if error.side is not Side.TARGET or not (error.retryable or refuses_form(error)):
                raise
            return None

    def _open(self) -> AbstractContextManager[Iterator[bytes]]:
        if not self._may_send:
            raise _StreamStoppedError("it may only be mounted")
        if self._blob.size > _SAVED_FROM_BYTES:
            self._save(self._blob)
        return verified_stream(self._blob, self._ends.source, self._ends.wait, check=self._check, sent=self._count)

    def _check(self) -> None:
        if self._must_pause():
            raise _StreamStoppedError("the time is up")

    def _count(self, count_bytes: int) -> None:
        self.bytes_sent += count_bytes


class _StreamStoppedError(PullaheadError):
    """This end stopped a stream."""


_MAX_RESERVE_SECONDS = 60.0
_RESERVE_SHARE = 0.2


class TimeBudget:
    """Tells when to stop so that progress can be saved: a reserve of the time, or the time of two slow parts.

    With several `threads` that ask in turn, a part takes as many times longer as there are between two questions.
    """

    def __init__(self, remaining_seconds: Callable[[], float], threads: int = 1) -> None:
        self._remaining, self._threads = remaining_seconds, threads
        self._first = self._last = remaining_seconds()
        self._reserve = min(_MAX_RESERVE_SECONDS, self._last * _RESERVE_SHARE)
        self._slowest = 0.0

    def is_up(self) -> bool:
        """Return whether to stop now. Called after every part, so it also learns how long a part takes."""
        now = self._remaining()
        self._slowest = max(self._slowest, self._last - now)
        self._last = now
        return now < max(self._reserve, 2 * self._threads * self._slowest)

    @property
    def seconds_spent(self) -> float:
        """How long the round has taken, up to the last time that `is_up` was called."""
        return self._first - self._last

    def seconds_left(self) -> float:
        """Return how long something may take that cannot be interrupted."""
        return self._remaining() - self._reserve


_ASSUMED_BYTES_PER_SECOND = 4_000_000.0  # before anything was measured: a bad day
_SAFETY_FACTOR = 3.0  # so much slower than measured the next stream may be
_FIXED_SECONDS = 2.0  # to open both ends, whatever the size
_MEASURED_FROM_BYTES = 1024 * 1024  # less is mostly waiting for answers, and says little about a long stream
_MEASURED_STREAMS = 4


class StreamTimes:
    """Estimates how long a stream takes by the slowest of the last ones. Thread-safe: a deque's appends are atomic."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_MEASURED_STREAMS)

    def surely_fits(self, size: int, seconds_left: float) -> bool:
        """Return whether a stream of `size` bytes ends within `seconds_left`, even if it is slow."""
        rate = min(tuple(self._rates), default=_ASSUMED_BYTES_PER_SECOND)
        return size / rate * _SAFETY_FACTOR + _FIXED_SECONDS <= seconds_left

    def record(self, size: int, seconds: float) -> None:
        """Record a stream that was completed."""
        if size >= _MEASURED_FROM_BYTES and seconds > 0:
            self._rates.append(size / seconds)
