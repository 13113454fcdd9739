"""Parallel reads: begun only where they help, in order whatever happens, and in bounded memory."""

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
from pullahead.refresh.parallel_read import PARALLEL_FROM_BYTES, ParallelRead, Throughput, ThroughputMeter
from pullahead.refresh.read_blob import BlobSource, RetryPolicy, read_blob
from tests.fakes.copies import describe_blob
from tests.fakes.samples import failed
from tests.polling import until

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * (4 * 1024 * 48)  # 48 MiB
BLOB = describe_blob(CONTENT)
SEGMENT = 3 * MIB
SOURCE = Repository("ghcr.io", "team/app")


class Request(NamedTuple):
    first: int
    end: int | None


class Upstream:
    """Serves a blob, and records the requests for it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.open = self.most_open = 0
        self.errors: dict[int, Exception] = {}
        """By the number of the request: raised in place of its first piece."""
        self.cut: set[int] = set()
        """The numbers of requests that break after their first piece."""
        self.hangs: threading.Event | None = None
        """Until when all requests but the first one have no answer, and then break."""
        self._lock = threading.Lock()

    @contextmanager
    def open_blob(
        self, _repository: Repository, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        with self._lock:
            number = len(self.requests)
            self.requests.append(Request(first_byte, end))
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            if number and self.hangs is not None:
                assert self.hangs.wait(20)
                raise failed(RegistryUnavailableError)
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


class ScriptedMeter(ThroughputMeter):
    """Returns the throughputs that a test wrote, one for each measurement; then none."""

    def __init__(self, throughputs: deque[Throughput]) -> None:
        super().__init__(lambda: 0.0, lambda: 0.0)
        self._throughputs = throughputs

    def measure(self) -> Throughput | None:
        return self._throughputs.popleft() if self._throughputs else None


GROWING = (Throughput(40e6, 0.9), Throughput(110e6, 0.9), Throughput(200e6, 0.9))
"""One connection is the bottleneck, and so are three."""


class Reading:
    """Reads the blob while its meter measures these throughputs."""

    def __init__(
        self,
        *throughputs: Throughput,
        upstream: Upstream | None = None,
        connections: int = 12,
        answer_seconds: float = 20.0,
    ) -> None:
        self.upstream, self.waits = upstream or Upstream(), list[int]()
        self.measured, self._connections = deque(throughputs), connections
        self.parallel = ParallelRead(lambda: ScriptedMeter(self.measured), connections, answer_seconds)

    @contextmanager
    def open(self, first: int = 0) -> Iterator[Iterator[bytes]]:
        source = BlobSource(self.upstream, SOURCE, self.parallel)
        with read_blob(BLOB, source, first, RetryPolicy(self.waits.append)) as pieces:
            yield pieces

    def read(self, first: int = 0) -> bytes:
        with self.open(first) as pieces:
            return b"".join(pieces)

    def read_again(self, *throughputs: Throughput) -> int:
        """Read the blob once more; returns the number of requests."""
        self.upstream.requests.clear()
        self.measured.clear()
        self.measured.extend(throughputs)
        assert self.read() == CONTENT
        return len(self.upstream.requests)

    def has_released_everything(self) -> bool:
        taken = [self.parallel.take_connection() for _ in range(self._connections)]
        for _ in filter(None, taken):
            self.parallel.return_connection()
        return self.upstream.open == 0 and all(taken)


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_connection_that_is_the_bottleneck_gets_more_beside_it() -> None:
    reading = Reading(*GROWING)
    assert reading.read() == CONTENT
    assert len(reading.upstream.requests) > 8
    assert reading.has_released_everything()


def test_every_byte_is_requested_once_after_the_first_connections_own_segment() -> None:
    reading = Reading(*GROWING)
    assert reading.read(3 * MIB + 17) == CONTENT[3 * MIB + 17 :]
    first, *segments = reading.upstream.requests
    assert first == Request(3 * MIB + 17, None)
    begun = sorted(segments)
    assert all(before.end == after.first for before, after in itertools.pairwise(begun))
    assert begun[0].first == 3 * MIB + 17 + MIB + SEGMENT


def test_connections_that_share_one_limit_give_way_to_a_single_request() -> None:
    reading = Reading(Throughput(40e6, 0.9), Throughput(41e6, 0.9))
    assert reading.read() == CONTENT
    assert reading.upstream.requests[-1].end is None
    assert BLOB.size - reading.upstream.requests[-1].first > SEGMENT
    assert reading.has_released_everything()


def test_eight_connections_that_read_no_faster_than_three_become_three() -> None:
    reading = Reading(*GROWING[:2], Throughput(112e6, 0.9))
    assert reading.read() == CONTENT
    assert all((request.end or BLOB.size) - request.first <= SEGMENT for request in reading.upstream.requests[1:])
    assert reading.has_released_everything()


@pytest.mark.parametrize("throughput", [Throughput(900e6, 0.9), Throughput(30e6, 0.2)])
def test_fast_upstream_or_busy_process_uses_one_connection(throughput: Throughput) -> None:
    reading = Reading(*[throughput] * 50)
    assert reading.read() == CONTENT
    assert reading.upstream.requests == [Request(0, None)]


@pytest.mark.parametrize("left", [PARALLEL_FROM_BYTES - 1, 5 * MIB, 1])
def test_small_rest_is_requested_once(left: int) -> None:
    reading = Reading(*GROWING)
    assert reading.read(BLOB.size - left) == CONTENT[-left:]
    assert len(reading.upstream.requests) == 1


def test_bottleneck_near_the_end_is_ignored() -> None:
    reading = Reading(*[Throughput(30e6, 0.2)] * 42, Throughput(30e6, 0.9))
    assert reading.read() == CONTENT
    assert reading.upstream.requests == [Request(0, None)]


@pytest.mark.parametrize("connections", [0, 1, 3])
def test_no_more_connections_are_used_than_the_copy_has(connections: int) -> None:
    reading = Reading(*GROWING, connections=connections)
    assert reading.read() == CONTENT
    assert reading.upstream.most_open <= connections + 1
    assert reading.has_released_everything()


@pytest.mark.parametrize("kind", [RangeIgnoredError, AccessDeniedError, NotFoundError])
def test_first_connection_reads_to_the_end_where_another_one_is_refused(kind: type[RegistryError]) -> None:
    reading = Reading(*GROWING)
    reading.upstream.errors = dict.fromkeys(range(1, 30), failed(kind))
    assert reading.read() == CONTENT
    assert [request for request in reading.upstream.requests if request.end is None] == [Request(0, None)]
    assert reading.has_released_everything()


def test_first_connection_reads_on_where_others_hang() -> None:
    """As behind a proxy that lets further connections wait in a queue. What they wait for ends once, too."""
    upstream = Upstream()
    upstream.hangs = threading.Event()
    reading = Reading(*GROWING, upstream=upstream, answer_seconds=0.01)
    with reading.open() as pieces:
        read = b"".join(itertools.islice(pieces, 40))
        assert read == CONTENT[: len(read)]
        assert len(read) > 30 * MIB
        upstream.hangs.set()
        assert read + b"".join(pieces) == CONTENT
    assert len(upstream.requests) == 4
    assert reading.waits == []
    assert reading.has_released_everything()


def test_connections_that_break_are_resumed_each_on_its_own() -> None:
    reading = Reading(*GROWING)
    reading.upstream.cut = {2, 4, 5, 7}
    assert reading.read() == CONTENT
    assert set(reading.waits) == {1}
    assert reading.has_released_everything()


def test_segment_that_fails_permanently_ends_the_read_after_the_bytes_before_it() -> None:
    reading = Reading(*GROWING)
    reading.upstream.errors = {5: failed(AccessDeniedError)}
    read = bytearray()
    with reading.open() as pieces, pytest.raises(AccessDeniedError):
        collect(pieces, read)
    assert CONTENT.startswith(read)
    assert len(read) == reading.upstream.requests[5].first
    assert reading.has_released_everything()


def collect(pieces: Iterator[bytes], read: bytearray) -> None:
    for piece in pieces:
        read += piece


@pytest.mark.parametrize("count", [1, 4, 12, 20, 30])
def test_reader_that_stops_early_leaves_nothing_open(count: int) -> None:
    reading = Reading(*GROWING)
    with reading.open() as pieces:
        for _ in range(count):
            next(pieces)
    assert reading.has_released_everything()


def test_connections_that_help_are_kept_where_no_others_are_free() -> None:
    reading = Reading(*GROWING[:2], *[Throughput(111e6, 0.9)] * 20, connections=3)
    assert reading.read() == CONTENT
    assert all((request.end or BLOB.size) - request.first <= SEGMENT for request in reading.upstream.requests[1:])
    assert reading.has_released_everything()


def test_reader_that_pauses_has_eight_segments_in_memory_at_most() -> None:
    reading = Reading(*GROWING)
    with reading.open() as pieces:
        taken = sum(len(next(pieces)) for _ in range(18))

        def bytes_ahead() -> int:
            return max(request.end or 0 for request in reading.upstream.requests) - taken

        until(lambda: reading.upstream.open == 0 and bytes_ahead() > 6 * SEGMENT, "every connection has read its share")
        assert bytes_ahead() <= 8 * SEGMENT


class TestTrial:
    """Whether more connections help is tried by one blob, for all blobs of the copy."""

    def test_blob_after_one_that_was_helped_is_helped_too(self) -> None:
        reading = Reading(*GROWING)
        reading.read()
        assert reading.read_again(*GROWING) > 1

    def test_no_blob_tries_again_where_it_did_not_help(self) -> None:
        reading = Reading(Throughput(40e6, 0.9), Throughput(41e6, 0.9))
        reading.read()
        assert reading.read_again(*GROWING) == 1

    def test_no_blob_tries_again_where_range_is_ignored(self) -> None:
        reading = Reading(*GROWING)
        reading.upstream.errors = dict.fromkeys(range(1, 30), failed(RangeIgnoredError))
        reading.read()
        reading.upstream.errors = {}
        assert reading.read_again(*GROWING) == 1

    def test_blob_that_was_not_measured_leaves_the_trial_to_the_next_one(self) -> None:
        reading = Reading(GROWING[0])
        reading.read()
        assert reading.read_again(*GROWING) > 1

    def test_bytes_that_came_before_the_measurement_are_not_taken_for_a_gain(self) -> None:
        """Three segments were read while the first connection read its own."""
        reading = Reading(*GROWING)
        read = bytearray()
        with reading.open() as pieces:
            collect(itertools.islice(pieces, 13), read)
            assert len(reading.measured) == len(GROWING) - 1
            collect(pieces, read)
        assert read == CONTENT

    def test_second_blob_waits_for_the_outcome_of_the_first_one(self) -> None:
        parallel = ParallelRead(lambda: ScriptedMeter(deque()))
        assert [parallel.begin_trial(), parallel.begin_trial()] == [True, False]
        parallel.end_trial(helped=True)
        assert parallel.begin_trial()


class TestThroughputMeter:
    """Pieces that come every eighth of a second."""

    now = cpu = 0.0

    def watch(self, meter: ThroughputMeter, *sizes: int, cpu_seconds: float = 0.0) -> Iterator[bytes]:
        def come() -> Iterator[bytes]:
            for size in sizes:
                self.now += 0.125
                self.cpu += cpu_seconds
                yield bytes(size)

        return meter.watch(come())

    def meter(self) -> ThroughputMeter:
        return ThroughputMeter(lambda: self.now, lambda: self.cpu)

    def test_each_stretch_is_measured_on_its_own(self) -> None:
        meter = self.meter()
        pieces = self.watch(meter, 10, 20, 40)
        next(pieces)
        assert meter.measure() is None, "an eighth of a second is too short"
        next(pieces)
        assert meter.measure() == Throughput(120.0, 1.0)
        self.now += 0.375
        next(pieces)
        assert meter.measure() == Throughput(80.0, 0.25), "the one who takes the pieces was busy"

    def test_time_in_which_the_process_uses_cpu_is_not_idle(self) -> None:
        """Decrypting takes as long as the pieces take to come."""
        meter = self.meter()
        pieces = self.watch(meter, 10, 20, cpu_seconds=0.1)
        next(pieces)
        next(pieces)
        assert meter.measure() == pytest.approx(Throughput(120.0, 0.2))
