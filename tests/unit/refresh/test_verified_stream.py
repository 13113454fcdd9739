"""A blob as a stream: resumed where upstream breaks, and never sent to its end where the bytes are wrong."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.errors import AccessDeniedError, DigestMismatchError, RateLimitedError, RegistryUnavailableError, Side
from pullahead.oci import Descriptor, Repository
from pullahead.refresh.read_blob import BlobSource, _skip
from pullahead.refresh.verified_stream import verified_stream
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
        self.sent: list[int] = []

    def pieces(self, blob: Descriptor = BLOB, check: Callable[[], None] = lambda: None) -> Iterator[bytes]:
        source = BlobSource(self.upstream, Repository("ghcr.io", "team/app"))
        with verified_stream(blob, source, self.waits.append, check=check, sent=self.sent.append) as pieces:
            yield from pieces

    def read_until_error(self) -> tuple[bytes, Exception]:
        read = b""
        try:
            for piece in self.pieces():
                read += piece
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return read, error
        raise AssertionError("the stream was read to its end")


@given(st.lists(st.integers(1, 49), max_size=8))
def test_stream_that_breaks_anywhere_is_resumed_without_a_byte_twice(cuts: list[int]) -> None:
    reading = Reading()
    reading.upstream.cut(*cuts)
    assert b"".join(reading.pieces()) == CONTENT
    assert reading.upstream.bytes_sent == len(CONTENT)


def test_stream_is_read_from_its_beginning_where_range_is_ignored() -> None:
    reading = Reading()
    reading.upstream.ignores_range = True
    reading.upstream.cut(21)
    assert b"".join(reading.pieces()) == CONTENT


def test_wrong_bytes_are_refused_before_their_last_piece() -> None:
    read, error = Reading(CONTENT[:-1] + b"!").read_until_error()
    assert isinstance(error, DigestMismatchError)
    assert len(read) < len(CONTENT)


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT + b"m"])
def test_longer_content_is_refused_before_its_last_piece(content: bytes) -> None:
    read, error = Reading(content).read_until_error()
    assert isinstance(error, DigestMismatchError)
    assert len(read) < len(CONTENT)


def test_five_breaks_without_a_byte_in_between_end_the_read() -> None:
    reading = Reading()
    reading.upstream.script.fail("open_blob", failed(RegistryUnavailableError), times=9)
    _, error = reading.read_until_error()
    assert isinstance(error, RegistryUnavailableError)
    assert reading.upstream.script.count("open_blob") == 5
    assert reading.waits == [1, 2, 3, 4]


def test_hundred_breaks_end_the_read_in_spite_of_progress() -> None:
    reading = Reading()
    reading.upstream.piece_bytes = 1
    long = describe_blob(bytes(300))
    reading.upstream.serve_blob(long.digest, bytes(300))
    reading.upstream.cut(*[1] * 300)
    with pytest.raises(RegistryUnavailableError):
        list(reading.pieces(long))
    assert reading.upstream.script.count("open_blob") == 100


@pytest.mark.parametrize(("seconds", "tries"), [(61.0, 1), (60.0, 5), (None, 5)])
def test_read_ends_where_upstream_asks_for_more_than_a_minute(seconds: float | None, tries: int) -> None:
    reading = Reading()
    limited = RateLimitedError(
        "too much", operation="read", side=Side.UPSTREAM, reference="ghcr.io/team/app", retry_after_seconds=seconds
    )
    reading.upstream.script.fail("open_blob", limited, times=9)
    _, error = reading.read_until_error()
    assert error is limited
    assert reading.upstream.script.count("open_blob") == tries


def test_stream_that_is_to_end_is_not_resumed_after_a_break() -> None:
    """Upstream may take half a minute to break, and the time may be up by then."""

    class EndedError(Exception):
        pass

    def end() -> None:
        raise EndedError

    reading = Reading()
    reading.upstream.script.fail("open_blob", failed(RegistryUnavailableError), times=9)
    with pytest.raises(EndedError):
        list(reading.pieces(check=end))
    assert (reading.upstream.script.count("open_blob"), reading.waits) == (1, [])


def test_permanent_error_is_not_retried() -> None:
    reading = Reading()
    reading.upstream.script.fail("open_blob", failed(AccessDeniedError))
    _, error = reading.read_until_error()
    assert isinstance(error, AccessDeniedError)
    assert reading.upstream.script.count("open_blob") == 1


def test_pieces_are_counted_once_they_were_sent() -> None:
    reading = Reading()
    pieces = reading.pieces()
    next(pieces)
    assert reading.sent == []
    next(pieces)
    assert reading.sent == [4]
    list(pieces)
    assert sum(reading.sent) == len(CONTENT)


def test_stream_ends_where_the_check_raises() -> None:
    reading = Reading()
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        if len(checks) == 4:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        list(reading.pieces(check=check))
    assert sum(reading.sent) < 4 * 4


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(0, 450))
def test_skipping_leaves_out_exactly_the_first_bytes(pieces: list[bytes], count: int) -> None:
    rest = list(_skip(iter(pieces), count))
    assert b"".join(rest) == b"".join(pieces)[count:]
    assert all(rest)
