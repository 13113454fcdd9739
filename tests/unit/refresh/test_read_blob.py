"""Reading over several connections: begun only where it helps, in order whatever happens, and never unbounded."""

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from pullahead.errors import (
    AccessDeniedError,
    NotFoundError,
    RangeIgnoredError,
    RegistryError,
    RegistryUnavailableError,
)
from pullahead.oci import Descriptor, Repository
from pullahead.refresh.read_blob import (
    WIDE_FROM_BYTES,
    BlobSource,
    ClockThroughputMeter,
    ConnectionBudget,
    ParallelRead,
    RetryPolicy,
    Throughput,
    read_blob,
)
from tests.fakes.copies import describe_blob
from tests.fakes.samples import failed
from tests.polling import until

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * (4 * 1024 * 48)  # 48 MiB
BLOB = describe_blob(CONTENT)
WHERE = Repository("ghcr.io", "team/app")


class Asked(NamedTuple):
    first: int
    end: int | None


class Upstream:
    """Serves a blob, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.open = self.most_open = 0
        self.errors: dict[int, Exception] = {}
        """By the number of the request: raised in place of its first piece."""
        self.cut: set[int] = set()
        """The numbers of requests that break after their first piece."""
        self._lock = threading.Lock()

    @contextmanager
    def open_blob(
        self, _repository: Repository, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        with self._lock:
            number = len(self.asked)
            self.asked.append(Asked(first_byte, end))
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            if number in self.errors:
                raise self.errors[number]
            yield self._pieces(number, first_byte, blob.size if end is None else end)
        finally:
            with self._lock:
                self.open -= 1

    def _pieces(self, number: int, first: int, end: int) -> Iterator[bytes]:
        for start in range(first, end, MIB):
            if number in self.cut and start > first:
                raise failed(RegistryUnavailableError)
            yield CONTENT[start : min(start + MIB, end)]


class ScriptedGauge:
    """Tells the paces that a test wrote, one each time it is asked; then that there is none to tell."""

    def __init__(self, paces: deque[Throughput]) -> None:
        self._paces = paces

    def timed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        return pieces

    def pace(self) -> Throughput | None:
        return self._paces.popleft() if self._paces else None


GROWING = (Throughput(40e6, True), Throughput(110e6, True), Throughput(200e6, True))
"""One connection is the bottleneck, and so are three."""


class Reading:
    """Reads the blob while its gauge tells these paces."""

    def __init__(self, *paces: Throughput, upstream: Upstream | None = None, connections: int = 12) -> None:
        self.upstream, self.waits = upstream or Upstream(), list[int]()
        self.connections = ConnectionBudget(connections)
        self._paces, self._count = deque(paces), connections

    @contextmanager
    def open(self, first: int = 0) -> Iterator[Iterator[bytes]]:
        source = BlobSource(self.upstream, WHERE, ParallelRead(lambda: ScriptedGauge(self._paces), self.connections))
        with read_blob(BLOB, source, first, RetryPolicy(self.waits.append)) as pieces:
            yield pieces

    def read(self, first: int = 0) -> bytes:
        with self.open(first) as pieces:
            return b"".join(pieces)

    def nothing_is_left(self) -> bool:
        taken = [self.connections.take() for _ in range(self._count)]
        return self.upstream.open == 0 and all(taken)


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_connection_that_is_the_bottleneck_is_helped_by_others() -> None:
    reading = Reading(*GROWING)
    assert reading.read() == CONTENT
    assert len(reading.upstream.asked) > 8
    assert reading.nothing_is_left()


def test_bytes_are_asked_for_once_and_segments_follow_each_other() -> None:
    reading = Reading(*GROWING)
    assert reading.read(3 * MIB + 17) == CONTENT[3 * MIB + 17 :]
    first, *segments = reading.upstream.asked
    assert first == Asked(3 * MIB + 17, None)
    begun = sorted(segments)
    assert all(before.end == after.first for before, after in itertools.pairwise(begun))
    assert begun[0].first == 3 * MIB + 17 + 5 * MIB, "the first connection reads one segment more meanwhile"


def test_connections_that_share_one_limit_are_not_multiplied() -> None:
    reading = Reading(Throughput(40e6, True), Throughput(41e6, True))
    assert reading.read() == CONTENT
    assert reading.upstream.asked[-1].end is None, "it goes back to one connection that is asked once"
    assert BLOB.size - reading.upstream.asked[-1].first > 4 * MIB
    assert reading.nothing_is_left()


def test_six_connections_that_bring_no_more_than_three_become_three() -> None:
    reading = Reading(*GROWING[:2], Throughput(112e6, True))
    assert reading.read() == CONTENT
    assert all((asked.end or BLOB.size) - asked.first <= 4 * MIB for asked in reading.upstream.asked[1:])
    assert reading.nothing_is_left()


@pytest.mark.parametrize("pace", [Throughput(900e6, True), Throughput(30e6, False)])
def test_fast_upstream_or_slow_taker_needs_no_second_connection(pace: Throughput) -> None:
    reading = Reading(*[pace] * 50)
    assert reading.read() == CONTENT
    assert reading.upstream.asked == [Asked(0, None)]


@pytest.mark.parametrize("left", [WIDE_FROM_BYTES - 1, 5 * MIB, 1])
def test_small_rest_is_asked_for_once(left: int) -> None:
    reading = Reading(*GROWING)
    assert reading.read(BLOB.size - left) == CONTENT[-left:]
    assert len(reading.upstream.asked) == 1


def test_bottleneck_that_is_noticed_near_the_end_is_no_reason_any_more() -> None:
    reading = Reading(*[Throughput(30e6, False)] * 42, Throughput(30e6, True))
    assert reading.read() == CONTENT
    assert reading.upstream.asked == [Asked(0, None)]


@pytest.mark.parametrize("connections", [0, 1, 3])
def test_no_more_connections_are_used_than_there_are(connections: int) -> None:
    reading = Reading(*GROWING, connections=connections)
    assert reading.read() == CONTENT
    assert reading.upstream.most_open <= connections + 1
    assert reading.nothing_is_left()


@pytest.mark.parametrize("kind", [RangeIgnoredError, AccessDeniedError, NotFoundError])
def test_second_connection_that_is_refused_leaves_the_first_to_read_on(kind: type[RegistryError]) -> None:
    reading = Reading(*GROWING)
    reading.upstream.errors = dict.fromkeys(range(1, 30), failed(kind))
    assert reading.read() == CONTENT
    assert [asked for asked in reading.upstream.asked if asked.end is None] == [Asked(0, None)]
    assert reading.nothing_is_left()


def test_connections_that_break_in_the_middle_are_mended_each_on_its_own() -> None:
    reading = Reading(*GROWING)
    reading.upstream.cut = {2, 4, 5, 7}
    assert reading.read() == CONTENT
    assert reading.waits == [1] * 4
    assert reading.nothing_is_left()


def test_segment_that_fails_for_good_ends_the_reading_after_what_came_before_it() -> None:
    reading = Reading(*GROWING)
    reading.upstream.errors = {5: failed(AccessDeniedError)}
    read = bytearray()
    with reading.open() as pieces, pytest.raises(AccessDeniedError):
        read.extend(b"".join(collected(pieces, read)))
    assert CONTENT.startswith(read)
    assert len(read) == reading.upstream.asked[5].first
    assert reading.nothing_is_left()


def collected(pieces: Iterator[bytes], read: bytearray) -> Iterator[bytes]:
    for piece in pieces:
        read += piece
        yield b""


@pytest.mark.parametrize("count", [1, 4, 12, 20, 30])
def test_reader_that_stops_early_leaves_nothing_open(count: int) -> None:
    reading = Reading(*GROWING)
    with reading.open() as pieces:
        for _ in range(count):
            next(pieces)
    assert reading.nothing_is_left()


def test_taker_that_takes_no_more_holds_seven_segments_at_most() -> None:
    reading = Reading(*GROWING)
    with reading.open() as pieces:
        taken = sum(len(next(pieces)) for _ in range(12))

        def ahead() -> int:
            return max(asked.end or 0 for asked in reading.upstream.asked) - taken

        until(lambda: reading.upstream.open == 0 and ahead() > 5 * 4 * MIB, "every connection has read what it may")
        assert ahead() <= 7 * 4 * MIB


class TestPace:
    def test_waiting_and_bytes_are_told_for_each_stretch_alone(self) -> None:
        now = [0.0]

        def come(*sizes: int) -> Iterator[bytes]:
            for size in sizes:
                now[0] += 0.125
                yield bytes(size)

        gauge = ClockThroughputMeter(lambda: now[0])
        pieces = gauge.timed(come(10, 20, 40, 80))
        next(pieces)
        assert gauge.pace() is None, "a tenth of a second is too short to tell"
        next(pieces)
        assert gauge.pace() == Throughput(120.0, True)
        now[0] += 0.375  # the taker was busy
        next(pieces)
        assert gauge.pace() == Throughput(80.0, False)
