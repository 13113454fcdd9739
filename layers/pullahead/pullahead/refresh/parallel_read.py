"""Read a blob over several connections where a single one is the bottleneck: in order, and in bounded memory.

A CDN or a long distance limits each connection; a registry nearby does not, and there one connection is the cheapest.
So a blob is begun on one. Where the process mostly idles until more bytes come, those further ahead are requested in
segments, on more and more connections as long as that raises the rate. Where it does not, the rest of the blob is read
on one connection, and no other blob of the copy tries again.

How a span of the blob is read, and what is done about errors, is the caller's to say.
"""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

PARALLEL_FROM_BYTES = 24 * 1024 * 1024
"""A smaller rest is read before a measurement could pay."""

_SEGMENT_BYTES = 3 * 1024 * 1024
_FIRST_CONNECTIONS = 3
_MAX_CONNECTIONS = 8  # of one blob, or of all blobs of a copy: each has one segment in memory, 24 MiB
_FAST_BYTES_PER_SECOND = 400_000_000  # no long distance is that fast on one connection; more of them cost only CPU
_GAIN = 1.2  # a smaller one is noise

_MEASURED_SECONDS = 0.2
_IDLE_SHARE = 0.6  # of the time, before more connections are tried
_STILL_IDLE_SHARE = 0.3  # before even more are added to those that have helped
_ANSWER_SECONDS = 5.0  # for the first additional connection: it is asked for three MiB ahead


class Span(NamedTuple):
    """Bytes of a blob, the end excluded."""

    first: int
    end: int


Pieces = Generator[bytes, None, None]
"""Pieces of a blob in order. To be closed by whoever does not read them to the end."""

ReadSpan = Callable[[Span], Pieces]

ReadSegment = Callable[[Span, Callable[[], bool]], Pieces]
"""Reads a span, and resumes after no break once the function says that nobody reads on."""


class Throughput(NamedTuple):
    """How fast a stretch was read, and for which share of the time the process idled until more came."""

    bytes_per_second: float
    idle_share: float


class ThroughputMeter:
    """Measures how fast pieces come, and for how long the process has nothing to do but wait for them.

    Both clocks count seconds, `cpu_clock` those of CPU that the whole process uses: decrypting on this thread, or
    copying another blob on another one, is work and not waiting.
    """

    def __init__(self, clock: Callable[[], float], cpu_clock: Callable[[], float]) -> None:
        self._clock, self._cpu_clock = clock, cpu_clock
        self._began, self._idle_seconds, self._bytes = clock(), 0.0, 0

    def watch(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Pass pieces on, measuring."""
        while True:
            began, cpu_began = self._clock(), self._cpu_clock()
            piece = next(pieces, None)
            self._idle_seconds += (self._clock() - began) - (self._cpu_clock() - cpu_began)
            if piece is None:
                return
            self._bytes += len(piece)
            yield piece

    def measure(self) -> Throughput | None:
        """Return the throughput since the last answer; None where that is too short a time."""
        now = self._clock()
        seconds = now - self._began
        if seconds < _MEASURED_SECONDS:
            return None
        throughput = Throughput(self._bytes / seconds, self._idle_seconds / seconds)
        self._began, self._idle_seconds, self._bytes = now, 0.0, 0
        return throughput


class ParallelRead:
    """What all blobs of one copy share: additional connections, and whether they have helped. Thread-safe."""

    def __init__(
        self,
        meter: Callable[[], ThroughputMeter],
        connections: int = _MAX_CONNECTIONS,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        self.meter, self.answer_seconds = meter, answer_seconds
        self._free = threading.Semaphore(connections)
        self._lock = threading.Lock()
        self._is_tried, self._helps = False, True

    @classmethod
    def measured_by(cls, clock: Callable[[], float], cpu_clock: Callable[[], float]) -> "ParallelRead":
        """Measure by a monotonic clock and the CPU time of the process, both in seconds."""
        return cls(lambda: ThroughputMeter(clock, cpu_clock))

    def take_connection(self) -> bool:
        """Take a connection, unless all are in use."""
        return self._free.acquire(blocking=False)

    def return_connection(self) -> None:
        """Return a connection."""
        self._free.release()

    def begin_trial(self) -> bool:
        """Return whether a blob may use more connections: one blob tries at first, the others once that has helped."""
        with self._lock:
            may_begin, self._is_tried = self._helps and not self._is_tried, True
            return may_begin

    def end_trial(self, *, helped: bool | None) -> None:
        """Record whether more connections helped a blob; None where it ended before that was measured."""
        with self._lock:
            self._is_tried = False
            self._helps = self._helps if helped is None else helped


class ParallelReader:
    """Reads one blob. `read_rest` reads to the blob's end; `read_segment` may fail where Range is not supported."""

    def __init__(self, size: int, parallel: ParallelRead, read_rest: ReadSpan, read_segment: ReadSegment) -> None:
        self._size, self._parallel = size, parallel
        self._read_rest, self._read_segment = read_rest, read_segment
        self._offset = 0

    def pieces(self, first: int) -> Pieces:
        """Read from an offset to the end. Raises what the functions raise that read a span."""
        self._offset = first
        segments = yield from self._read_until_segments_continue()
        if segments is None:
            return
        with contextlib.closing(segments):
            for piece in segments.pieces():
                self._offset += len(piece)
                yield piece
        yield from self._read_rest(Span(self._offset, self._size))

    def _read_until_segments_continue(self) -> Generator[bytes, None, "_Segments | None"]:
        """Read on one connection, to the end of the blob or to where segments that were requested meanwhile begin."""
        meter = self._parallel.meter()
        segments: _Segments | None = None
        with (
            contextlib.closing(self._read_rest(Span(self._offset, self._size))) as rest,
            contextlib.ExitStack() as undo,
        ):
            for piece in meter.watch(rest):
                if segments is not None and self._offset + len(piece) >= segments.first:
                    if segments.are_answered():
                        yield piece[: segments.first - self._offset]
                        self._offset = segments.first
                        undo.pop_all()
                        return segments
                    segments.stop()  # waiting for its threads would let this connection and the target's wait, too
                    segments = None
                self._offset += len(piece)
                yield piece
                if segments is None and (throughput := meter.measure()) and self._may_gain(throughput):
                    segments = self._request_segments(throughput)
                    undo.callback(segments.close)
        return None

    def _may_gain(self, throughput: Throughput) -> bool:
        is_slow = throughput.idle_share >= _IDLE_SHARE and throughput.bytes_per_second < _FAST_BYTES_PER_SECOND
        has_enough_left = self._size - self._offset > _FIRST_CONNECTIONS * _SEGMENT_BYTES
        return is_slow and has_enough_left and self._parallel.begin_trial()

    def _request_segments(self, throughput: Throughput) -> "_Segments":
        """Request what comes after one more segment, which the first connection reads meanwhile."""
        ahead = Span(self._offset + _SEGMENT_BYTES, self._size)
        segments = _Segments(ahead, self._parallel, self._read_segment, throughput.bytes_per_second)
        segments.add_connections(_FIRST_CONNECTIONS)
        return segments


class _Segments:
    """Segments of a span, read by a thread each and yielded in order. None is begun before there is room for it."""

    def __init__(self, span: Span, parallel: ParallelRead, read_segment: ReadSegment, bytes_per_second: float) -> None:
        self.first = span.first
        self._next, self._end = span
        self._parallel, self._read_segment = parallel, read_segment
        self._bytes_per_second = bytes_per_second  # with fewer connections
        self._connections, self._fewer_connections = 0, 0
        self._is_adjusted, self._is_trial = False, True
        self._unmeasured = 0  # segments that were read ahead with fewer connections
        self._begun: deque[_Segment] = deque()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._is_closed = False

    def add_connections(self, count: int) -> bool:
        """Use `count` connections, or as many as are free; return whether that is more than before."""
        with self._changed:
            before = self._connections
            while self._connections < count and self._parallel.take_connection():
                self._connections += 1
                thread = threading.Thread(target=self._read, args=(self._connections,), daemon=True)
                self._threads.append(thread)
                thread.start()
            if self._connections == before:
                return False
            self._fewer_connections, self._unmeasured = before, self._connections
            return True

    def are_answered(self) -> bool:
        """Wait for the first bytes; False where Range is ignored, or another connection refused, not free or hangs."""
        head = self._wait_for_head()
        is_answered = head is not None and head.is_answered(self._parallel.answer_seconds)
        if head is not None and not is_answered:
            self._end_trial(helped=False)
        return is_answered

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes in order. They end before the span does where more connections do not help."""
        meter = self._parallel.meter()
        while (segment := self._wait_for_head()) is not None:
            yield from meter.watch(segment.pieces())
            with self._changed:
                self._begun.popleft()
                self._changed.notify_all()
            if self._unmeasured:
                self._unmeasured -= 1
                meter = self._parallel.meter()
            elif not self._is_adjusted and (throughput := meter.measure()):
                self._adjust(throughput)

    def stop(self) -> None:
        """Let the threads end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._end_trial(helped=None)

    def close(self) -> None:
        """Stop reading, and wait for the threads."""
        self.stop()
        for thread in self._threads:
            thread.join()

    def _adjust(self, throughput: Throughput) -> None:
        """Add connections as long as that helps, and return those that did not."""
        has_gained = throughput.bytes_per_second >= _GAIN * self._bytes_per_second
        self._end_trial(helped=has_gained)
        if throughput.idle_share < _STILL_IDLE_SHARE:
            return  # busy with what comes: more of it would not help now
        if has_gained and self._connections < _MAX_CONNECTIONS:
            self._bytes_per_second = throughput.bytes_per_second
            self._is_adjusted = not self.add_connections(_MAX_CONNECTIONS)
            return
        self._is_adjusted = True
        if not has_gained:
            with self._changed:
                self._connections = self._fewer_connections
                if self._connections <= 1:  # one request for all that is left does as well
                    self._end = self._next
                self._changed.notify_all()

    def _end_trial(self, *, helped: bool | None) -> None:
        if self._is_trial:
            self._is_trial = False
            self._parallel.end_trial(helped=helped)

    def _wait_for_head(self) -> "_Segment | None":
        with self._changed:
            self._changed.wait_for(lambda: self._begun or self._next >= self._end or not self._connections)
            return self._begun[0] if self._begun else None

    def _read(self, number: int) -> None:
        def is_closed() -> bool:
            return self._is_closed

        try:
            while (segment := self._begin_segment(number)) is not None:
                segment.receive(self._read_segment(segment.span, is_closed), is_closed)
        finally:
            self._parallel.return_connection()

    def _begin_segment(self, number: int) -> "_Segment | None":
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(number) or len(self._begun) < self._connections)
            if self._is_over(number):
                return None
            segment = _Segment(Span(self._next, min(self._next + _SEGMENT_BYTES, self._end)))
            self._next = segment.span.end
            self._begun.append(segment)
            self._changed.notify_all()
            return segment

    def _is_over(self, number: int) -> bool:
        return self._is_closed or number > self._connections or self._next >= self._end


class _Segment:
    """A span that one thread reads and another yields."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self._received: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._first: bytes | BaseException | None = None

    def receive(self, pieces: Pieces, is_closed: Callable[[], bool]) -> None:
        try:
            with contextlib.closing(pieces):
                for piece in pieces:
                    self._received.put(piece)
                    if is_closed():
                        return
        except BaseException as error:  # noqa: BLE001 - it is raised again by `pieces`
            self._received.put(error)
        else:
            self._received.put(None)

    def is_answered(self, within: float) -> bool:
        """Wait for the first piece, so many seconds; False where none came, or an error in its place."""
        with contextlib.suppress(queue.Empty):
            self._first = self._received.get(timeout=within)
        return isinstance(self._first, bytes)

    def pieces(self) -> Iterator[bytes]:
        item, self._first = self._first or self._received.get(), None
        while item is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            item = self._received.get()
