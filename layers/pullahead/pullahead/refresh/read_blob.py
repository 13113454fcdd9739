"""Read one blob over several connections, in order, where a single connection is the bottleneck. Bounded memory.

A CDN or a long way limits each connection; a registry next door does not, and there one stream is the fastest. So a
blob is begun on one. Where whoever takes the bytes mostly waits for more, the bytes ahead are asked for by Range in
segments, on more and more connections as long as that helps; where it does not help, reading goes back to one.

A span of a blob's bytes in order: where upstream breaks off, reading goes on after the last byte that came.

Decides how often that is done. Refuses to know what the bytes should be.

How fast pieces come, and who waits for whom. Pure: the clock is handed in.
"""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import NamedTuple, Protocol

from pullahead.clock import Wait
from pullahead.errors import PullaheadError, RangeIgnoredError, RateLimitedError, RegistryError
from pullahead.oci import Descriptor, Repository
from pullahead.oci.registries import BlobReader
from pullahead.refresh.progress import skip

_MAX_BREAKS = 5  # in a row, without a byte in between
_MAX_BREAKS_IN_ALL = 100
_LONGEST_WAIT_SECONDS = 60.0
_BYTES_FOR_ANOTHER_BREAK = 64 * 1024 * 1024  # the longer a blob takes, the more often its connection may break


class BlobSource(NamedTuple):
    """Where a blob is read, and whether several connections may be used for one blob."""

    upstream: BlobReader
    repository: Repository
    parallel_read: "ParallelRead | None" = None


Pieces = Generator[bytes, None, None]
"""Pieces of a blob in order. To be closed by whoever does not take them to their end."""


class Span(NamedTuple):
    """Bytes of a blob, the end excluded."""

    first: int
    end: int


def _never() -> bool:
    return False


class RetryPolicy(NamedTuple):
    """What is done about breaks: `wait` is told how many there were in a row; `must_stop` may end it instead."""

    wait: Wait
    must_stop: Callable[[], bool] = _never


class ReadingStoppedError(PullaheadError):
    """A break was not mended, because whoever reads has no time left."""


def read_resuming(
    blob: Descriptor, source: BlobSource, span: Span, retry_policy: RetryPolicy, *, skips: bool = True
) -> Pieces:
    """Read a span. Where upstream ignores Range, `skips` says whether to read from the beginning and leave that out.

    Raises: what upstream raises for good or too often, RangeIgnoredError without `skips`, ReadingStoppedError.
    """
    offset, breaks, breaks_in_all = span.first, 0, 0
    while offset < span.end:
        before = offset
        try:
            with ExitStack() as stack:
                for piece in _open(stack, source, blob, Span(offset, span.end), skips=skips):
                    offset += len(piece)
                    yield piece
            if offset == before:
                return  # a port that ends early without an error; the digest will tell
        except RegistryError as error:
            breaks = 1 if offset > before else breaks + 1
            breaks_in_all += 1
            if not error.retryable or breaks >= _MAX_BREAKS or breaks_in_all >= _most_breaks(blob) or _is_long(error):
                raise
            if retry_policy.must_stop():
                raise ReadingStoppedError(str(error)) from error
            retry_policy.wait(breaks)


def _open(stack: ExitStack, source: BlobSource, blob: Descriptor, span: Span, *, skips: bool) -> Iterator[bytes]:
    end = span.end if span.end < blob.size else None
    try:
        return stack.enter_context(source.upstream.open_blob(source.repository, blob, span.first, end))
    except RangeIgnoredError:
        if not skips:
            raise
        return skip(stack.enter_context(source.upstream.open_blob(source.repository, blob)), span.first)


def _is_long(error: RegistryError) -> bool:
    """Tell whether upstream asks to be left alone for longer than a copy waits."""
    return isinstance(error, RateLimitedError) and (error.retry_after_seconds or 0) > _LONGEST_WAIT_SECONDS


def _most_breaks(blob: Descriptor) -> int:
    return _MAX_BREAKS_IN_ALL + blob.size // _BYTES_FOR_ANOTHER_BREAK


_WINDOW_SECONDS = 0.2
_STARVED_SHARE = 0.6  # of the time spent waiting for bytes


class Throughput(NamedTuple):
    """What a stretch of reading was like: bytes a second, and whether its taker mostly waited for more."""

    rate: float
    is_starved: bool


class ThroughputMeter(Protocol):
    """Watches pieces go by."""

    def timed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Hand pieces on, and watch."""
        ...

    def pace(self) -> Throughput | None:
        """Tell the pace since the last answer; None where that is too short a time to tell."""
        ...


class ClockThroughputMeter:
    """A gauge by a monotonic clock in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began, self._waited, self._bytes = clock(), 0.0, 0

    def timed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Hand pieces on; what passes while the next one is fetched is waiting."""
        while True:
            before = self._clock()
            piece = next(pieces, None)
            self._waited += self._clock() - before
            if piece is None:
                return
            self._bytes += len(piece)
            yield piece

    def pace(self) -> Throughput | None:
        """Tell the pace of the last fifth of a second or more."""
        now = self._clock()
        seconds = now - self._began
        if seconds < _WINDOW_SECONDS:
            return None
        pace = Throughput(self._bytes / seconds, self._waited >= _STARVED_SHARE * seconds)
        self._began, self._waited, self._bytes = now, 0.0, 0
        return pace


WIDE_FROM_BYTES = 24 * 1024 * 1024
"""Below this a blob has come before anything could be noticed."""

_SEGMENT_BYTES = 4 * 1024 * 1024
_FIRST_WIDTH = 3
_WIDEST = 6  # seven segments in memory at most: 28 MiB
_FAST_ENOUGH = 400_000_000  # bytes a second on one connection: no long way is that fast, and more costs only CPU
_GAIN = 1.2


class ConnectionBudget:
    """How many connections all blobs of a process may use together, beyond one for each."""

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(count)

    def take(self) -> bool:
        """Take one, unless all are taken."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Give one back."""
        self._free.release()


class ParallelRead(NamedTuple):
    """What reading over several connections needs: something that tells when it helps, and the connections."""

    gauge: Callable[[], ThroughputMeter]
    connections: ConnectionBudget


def parallel_read(clock: Callable[[], float], connections: int = 2 * _WIDEST) -> ParallelRead:
    """Allow several connections for one blob, by a monotonic clock in seconds; so many for all blobs together."""
    return ParallelRead(lambda: ClockThroughputMeter(clock), ConnectionBudget(connections))


@contextlib.contextmanager
def read_blob(blob: Descriptor, source: BlobSource, first: int, retry_policy: RetryPolicy) -> Iterator[Iterator[bytes]]:
    """Read a blob from an offset to its end, over as many connections as are useful; leaves none behind.

    The iterator raises as `read_on` does.
    """
    if source.parallel_read is None or blob.size - first < WIDE_FROM_BYTES:
        pieces = read_resuming(blob, source, Span(first, blob.size), retry_policy)
    else:
        pieces = _WideRead(blob, source, source.parallel_read, retry_policy).pieces(first)
    with contextlib.closing(pieces):
        yield pieces


class _WideRead:
    def __init__(
        self, blob: Descriptor, source: BlobSource, parallel_read: ParallelRead, retry_policy: RetryPolicy
    ) -> None:
        self._blob, self._source, self._parallel_read, self._retry_policy = blob, source, parallel_read, retry_policy
        self._offset = 0

    def pieces(self, first: int) -> Pieces:
        self._offset = first
        segments = yield from self._on_one_connection()
        if segments is None:
            return
        with contextlib.closing(segments):
            for piece in segments.pieces():
                self._offset += len(piece)
                yield piece
        yield from read_resuming(self._blob, self._source, Span(self._offset, self._blob.size), self._retry_policy)

    def _on_one_connection(self) -> Generator[bytes, None, "_Segments | None"]:
        """Read until segments that were asked for meanwhile take over; None where the blob came to its end before."""
        gauge = self._parallel_read.gauge()
        segments: _Segments | None = None
        has_widened = False
        whole = read_resuming(self._blob, self._source, Span(self._offset, self._blob.size), self._retry_policy)
        with contextlib.closing(whole), contextlib.ExitStack() as undo:
            for piece in gauge.timed(whole):
                if segments is not None and self._offset + len(piece) >= segments.first:
                    if segments.are_answered():
                        yield piece[: segments.first - self._offset]
                        self._offset = segments.first
                        undo.pop_all()
                        return segments
                    segments.close()
                    segments = None
                self._offset += len(piece)
                yield piece
                if not has_widened and (pace := gauge.pace()) and self._would_gain(pace):
                    has_widened = True
                    segments = self._segments(pace.rate)
                    undo.callback(segments.close)
        return None

    def _would_gain(self, pace: Throughput) -> bool:
        left = self._blob.size - self._offset
        return pace.is_starved and pace.rate < _FAST_ENOUGH and left > _FIRST_WIDTH * _SEGMENT_BYTES

    def _segments(self, rate: float) -> "_Segments":
        """Ask for what comes after one segment more of the connection that goes on meanwhile."""
        first = self._offset + _SEGMENT_BYTES
        segments = _Segments(self._blob, self._source, self._parallel_read, self._retry_policy, first)
        segments.widen(_FIRST_WIDTH, rate)
        return segments


class _Segment:
    """A span that one connection reads while earlier ones are taken."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self._received: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._first: bytes | BaseException | None = None

    def fill(self, pieces: Pieces, is_closed: Callable[[], bool]) -> None:
        try:
            with contextlib.closing(pieces):
                for piece in pieces:
                    self._received.put(piece)
                    if is_closed():
                        return
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that takes
            self._received.put(error)
        else:
            self._received.put(None)

    def is_answered(self) -> bool:
        """Wait for the first piece; False where an error came in its place."""
        self._first = self._received.get()
        return isinstance(self._first, bytes)

    def pieces(self) -> Iterator[bytes]:
        item, self._first = self._first or self._received.get(), None
        while item is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            item = self._received.get()


class _Segments:
    """Segments from `first` on, read by threads and taken in order. At most one more is held than there are threads."""

    def __init__(
        self, blob: Descriptor, source: BlobSource, parallel_read: ParallelRead, retry_policy: RetryPolicy, first: int
    ) -> None:
        self.first = first
        self._blob, self._source, self._parallel_read, self._retry_policy = blob, source, parallel_read, retry_policy
        self._next, self._end = first, blob.size
        self._width, self._rate, self._is_settled = 0, 0.0, False
        self._held: deque[_Segment] = deque()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._is_closed = False

    def widen(self, width: int, rate: float) -> None:
        """Use so many connections, as far as there are any; `rate` is what came before, in bytes a second."""
        self._rate = rate
        with self._changed:
            while self._width < width and self._parallel_read.connections.take():
                self._width += 1
                thread = threading.Thread(target=self._read, args=(self._width,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def are_answered(self) -> bool:
        """Tell whether these bytes come: Range may be ignored, or a second connection refused."""
        head = self._head()
        return head is not None and head.is_answered()

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes in order. They may end before the blob does: where more connections brought nothing."""
        gauge = self._parallel_read.gauge()
        while (segment := self._head()) is not None:
            yield from gauge.timed(segment.pieces())
            with self._changed:
                self._held.popleft()
                self._changed.notify_all()
            if not self._is_settled and (pace := gauge.pace()):
                self._adjust(pace)

    def close(self) -> None:
        """Stop reading and wait for the threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _adjust(self, pace: Throughput) -> None:
        """Widen as long as that helps, and take back what did not."""
        has_gained = pace.rate >= _GAIN * self._rate
        if pace.is_starved and has_gained and self._width < _WIDEST:
            self.widen(min(2 * self._width, _WIDEST), pace.rate)
            return
        self._is_settled = True
        if pace.is_starved and not has_gained:
            with self._changed:
                self._width //= 2
                if self._width <= 1:  # one connection does as well, and without asking for each segment
                    self._end = self._next
                self._changed.notify_all()

    def _head(self) -> _Segment | None:
        with self._changed:
            self._changed.wait_for(lambda: self._held or self._next >= self._end or not self._width)
            return self._held[0] if self._held else None

    def _read(self, number: int) -> None:
        try:
            while (segment := self._take(number)) is not None:
                pieces = read_resuming(self._blob, self._source, segment.span, self._retry_policy, skips=False)
                segment.fill(pieces, lambda: self._is_closed)
        finally:
            self._parallel_read.connections.give_back()

    def _take(self, number: int) -> _Segment | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(number) or len(self._held) <= self._width)
            if self._is_over(number):
                return None
            segment = _Segment(Span(self._next, min(self._next + _SEGMENT_BYTES, self._end)))
            self._next = segment.span.end
            self._held.append(segment)
            self._changed.notify_all()
            return segment

    def _is_over(self, number: int) -> bool:
        return self._is_closed or number > self._width or self._next >= self._end
