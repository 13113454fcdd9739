"""Pieces of a blob: mended where upstream breaks, held back where the bytes are false, read ahead in bounds."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.errors import AccessDeniedError, DigestMismatchError, RateLimitedError, RegistryUnavailableError, Side
from pullahead.oci import Descriptor, Repository
from pullahead.refresh.read_blob import BlobSource
from pullahead.refresh.verified_stream import proved_pieces, read_ahead
from tests.fakes.copies import describe_blob
from tests.fakes.samples import failed
from tests.fakes.upstream import FakeUpstream

CONTENT = bytes(range(50))
BLOB = describe_blob(CONTENT)


class Reading:
    def __init__(self, content: bytes = CONTENT) -> None:
        self.upstream = FakeUpstream()
        self.upstream.serve_blob(BLOB.digest, content)
        self.waits: list[int] = []

    def pieces(self, blob: Descriptor = BLOB) -> Iterator[bytes]:
        source = BlobSource(self.upstream, Repository("ghcr.io", "team/app"))
        with proved_pieces(blob, source, self.waits.append) as pieces:
            yield from pieces

    def read_until_error(self) -> tuple[bytes, Exception]:
        read = b""
        try:
            for piece in self.pieces():
                read += piece
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return read, error
        raise AssertionError("it was read to its end")


@given(st.lists(st.integers(1, 49), max_size=8))
def test_stream_that_breaks_anywhere_is_read_on_without_a_byte_twice(cuts: list[int]) -> None:
    reading = Reading()
    reading.upstream.cut(*cuts)
    assert b"".join(reading.pieces()) == CONTENT
    assert reading.upstream.bytes_sent == len(CONTENT)


def test_range_that_is_ignored_is_skipped_over() -> None:
    reading = Reading()
    reading.upstream.ignores_range = True
    reading.upstream.cut(21)
    assert b"".join(reading.pieces()) == CONTENT


def test_false_bytes_never_come_to_their_end() -> None:
    read, error = Reading(CONTENT[:-1] + b"!").read_until_error()
    assert isinstance(error, DigestMismatchError)
    assert len(read) < len(CONTENT)


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT + b"m"])
def test_longer_content_never_comes_to_its_end(content: bytes) -> None:
    read, error = Reading(content).read_until_error()
    assert isinstance(error, DigestMismatchError)
    assert len(read) < len(CONTENT)


def test_breaks_without_a_byte_in_between_are_given_up_after_five() -> None:
    reading = Reading()
    reading.upstream.script.fail("open_blob", failed(RegistryUnavailableError), times=9)
    _, error = reading.read_until_error()
    assert isinstance(error, RegistryUnavailableError)
    assert reading.upstream.script.count("open_blob") == 5
    assert reading.waits == [1, 2, 3, 4]


def test_endless_breaks_with_a_little_progress_are_given_up() -> None:
    reading = Reading()
    reading.upstream.piece_bytes = 1
    long = describe_blob(bytes(300))
    reading.upstream.serve_blob(long.digest, bytes(300))
    reading.upstream.cut(*[1] * 300)
    with pytest.raises(RegistryUnavailableError):
        list(reading.pieces(long))
    assert reading.upstream.script.count("open_blob") == 100


@pytest.mark.parametrize(("seconds", "tries"), [(61.0, 1), (60.0, 5), (None, 5)])
def test_upstream_that_asks_for_an_hour_of_peace_is_left_alone(seconds: float | None, tries: int) -> None:
    reading = Reading()
    limited = RateLimitedError(
        "too much", operation="read", side=Side.UPSTREAM, reference="ghcr.io/team/app", retry_after_seconds=seconds
    )
    reading.upstream.script.fail("open_blob", limited, times=9)
    _, error = reading.read_until_error()
    assert error is limited
    assert reading.upstream.script.count("open_blob") == tries


def test_permanent_error_is_not_tried_again() -> None:
    reading = Reading()
    reading.upstream.script.fail("open_blob", failed(AccessDeniedError))
    _, error = reading.read_until_error()
    assert isinstance(error, AccessDeniedError)
    assert reading.upstream.script.count("open_blob") == 1


def test_reading_ahead_stays_in_bounds() -> None:
    taken = threading.Event()
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            made.append(number)
            if number == 6:
                taken.set()
            yield bytes([number])

    with read_ahead(pieces(), depth=4) as ahead:
        assert next(ahead) == b"\x00"
        assert not taken.wait(0.2), "it read further ahead than four pieces and the one in hand"
        assert list(ahead) == [bytes([number]) for number in range(1, 100)]


def test_error_while_reading_ahead_comes_after_what_was_read() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise failed(AccessDeniedError)

    with read_ahead(pieces()) as ahead:
        assert next(ahead) == b"a"
        with pytest.raises(AccessDeniedError):
            next(ahead)


def test_reader_that_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with read_ahead(iter([b"x"] * 1000)) as ahead:
        next(ahead)
    assert threading.active_count() == before
