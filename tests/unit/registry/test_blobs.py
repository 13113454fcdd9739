"""Blobs that begin elsewhere, end early, go on or are something else than asked for."""

from collections.abc import Iterator

import pytest

from local.images import SparseBlob, make_image
from local.registry import FakeRegistry
from pullahead.errors import DigestMismatchError, RangeIgnoredError, RegistryError, RegistryUnavailableError
from pullahead.refresh.read_blob import BlobSource, RetryPolicy, read_blob
from pullahead.registry.client import UpstreamRegistry
from tests.unit.registry.harness import last_blob

IMAGE = make_image([100_000], seed=7)
BLOB = last_blob(IMAGE)
CONTENT = IMAGE.read_blob(BLOB.digest)
UNKNOWN_LENGTH = {"Content-Length": ""}


@pytest.fixture(autouse=True)
def pushed(registry: FakeRegistry) -> None:
    registry.push(IMAGE, "team/app", "1.0")


def read(registry: FakeRegistry, upstream: UpstreamRegistry, first_byte: int = 0, end: int | None = None) -> bytes:
    """Read the blob from an offset to another, or to its end."""
    with upstream.open_blob(registry.repository("team/app"), BLOB, first_byte, end) as pieces:
        return b"".join(pieces)


def read_until_it_fails(pieces: Iterator[bytes]) -> tuple[bytes, RegistryError]:
    """Return what was read and how it ended."""
    got = bytearray()
    with pytest.raises(RegistryError) as caught:
        _collect(pieces, got)
    return bytes(got), caught.value


def _collect(pieces: Iterator[bytes], got: bytearray) -> None:
    for piece in pieces:
        got += piece


def test_whole_blob_is_read_without_a_range(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    assert read(registry, upstream) == CONTENT
    assert "range" not in registry.requests[-1].headers
    assert registry.requests[-1].headers["accept-encoding"] == "identity"


def test_blob_is_read_from_an_offset(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    assert read(registry, upstream, 99_998) == CONTENT[-2:]
    assert registry.requests[-1].headers["range"] == "bytes=99998-"
    assert registry.requests[-1].bytes_sent == 2


@pytest.mark.parametrize(("first_byte", "end"), [(0, 1), (0, 99_999), (7, 8), (50_000, 100_000), (99_999, 100_000)])
def test_part_of_a_blob_is_read(registry: FakeRegistry, upstream: UpstreamRegistry, first_byte: int, end: int) -> None:
    assert read(registry, upstream, first_byte, end) == CONTENT[first_byte:end]
    assert registry.requests[-1].bytes_sent == end - first_byte
    assert registry.connections == 1


def test_part_that_ends_early_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.cut("/blobs/", 1000)
    with upstream.open_blob(registry.repository("team/app"), BLOB, 5000, 9000) as pieces:
        got, error = read_until_it_fails(pieces)
    assert (got, type(error)) == (CONTENT[5000:6000], RegistryUnavailableError)


@pytest.mark.parametrize("answered", ["bytes 5000-9000/100000", "bytes 5000-8998/100000", "bytes 4999-8999/100000"])
def test_part_answered_with_another_is_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, answered: str
) -> None:
    registry.fail("GET", "/blobs/", 206, headers={"Content-Range": answered}, body=bytes(4000))
    with pytest.raises(RangeIgnoredError):
        read(registry, upstream, 5000, 9000)


def test_part_answered_with_the_whole_blob_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.ignore_range = True
    with pytest.raises(RangeIgnoredError):
        read(registry, upstream, 0, 9000)


@pytest.mark.parametrize(("first_byte", "end"), [(10, 9), (0, BLOB.size + 1)])
def test_part_beyond_the_blob_is_not_requested(
    registry: FakeRegistry, upstream: UpstreamRegistry, first_byte: int, end: int
) -> None:
    with pytest.raises(ValueError, match="has no bytes"):
        read(registry, upstream, first_byte, end)
    assert registry.requests == []


def test_no_bytes_need_no_request(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    assert read(registry, upstream, BLOB.size) == b""
    assert registry.requests == []


@pytest.mark.parametrize("first_byte", [-1, BLOB.size + 1])
def test_impossible_offset_is_not_requested(
    registry: FakeRegistry, upstream: UpstreamRegistry, first_byte: int
) -> None:
    with pytest.raises(ValueError, match="no byte"):
        read(registry, upstream, first_byte)
    assert registry.requests == []


def test_connection_of_a_read_blob_is_used_again(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for first_byte in (0, 50_000, 99_999):
        read(registry, upstream, first_byte)
    assert registry.connections == 1


def test_unread_rest_is_not_read_by_the_next_request(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.push(make_image([SparseBlob(64 * 1024 * 1024, seed=9)]), "team/app", "big")
    big = last_blob(make_image([SparseBlob(64 * 1024 * 1024, seed=9)]))
    with upstream.open_blob(registry.repository("team/app"), big) as pieces:
        next(pieces)
    assert registry.requests[-1].bytes_sent < big.size
    assert read(registry, upstream) == CONTENT


def test_ignored_range_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.ignore_range = True
    assert read(registry, upstream) == CONTENT
    with pytest.raises(RangeIgnoredError):
        read(registry, upstream, 10)


@pytest.mark.parametrize(
    ("content_range", "kind"),
    [
        ("", RangeIgnoredError),
        ("bytes 0-99999/100000", RangeIgnoredError),
        ("bytes 11-99999/100000", RangeIgnoredError),
        ("bytes */100000", RangeIgnoredError),
        (f"bytes {'1' * 5000}-1/1", RangeIgnoredError),
        ("items 10-99999/100000", RangeIgnoredError),
        ("bytes 10-99999/100001", DigestMismatchError),
        ("bytes 10-99999/99999", DigestMismatchError),
    ],
)
def test_another_range_than_requested_is_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, content_range: str, kind: type[RegistryError]
) -> None:
    registry.fail("GET", "/blobs/", 206, headers={"Content-Range": content_range}, body=CONTENT[10:])
    with pytest.raises(kind):
        read(registry, upstream, 10)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, RangeIgnoredError),
        ({"Content-Range": f"bytes */{BLOB.size}"}, RangeIgnoredError),
        ({"Content-Range": "bytes */?"}, RangeIgnoredError),
        ({"Content-Range": "bytes */10"}, DigestMismatchError),
    ],
)
def test_refused_range_is_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, headers: dict[str, str], kind: type[RegistryError]
) -> None:
    registry.fail("GET", "/blobs/", 416, headers=headers)
    with pytest.raises(kind):
        read(registry, upstream, 10)


def test_blob_whose_ranges_are_refused_is_read_from_the_beginning_after_a_break(
    registry: FakeRegistry, upstream: UpstreamRegistry
) -> None:
    registry.cut("/blobs/", after_bytes=60_000)
    source = BlobSource(upstream, registry.repository("team/app"))
    with read_blob(BLOB, source, 0, RetryPolicy(wait=lambda _: None)) as pieces:
        first = next(pieces)
        registry.fail("GET", "/blobs/", 416)
        assert first + b"".join(pieces) == CONTENT
    assert [request.status for request in registry.requests] == [200, 416, 200]


def test_range_of_unknown_total_is_accepted(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/blobs/", 206, headers={"Content-Range": "bytes 10-99999/*"}, body=CONTENT[10:])
    assert read(registry, upstream, 10) == CONTENT[10:]


def test_part_answered_for_the_whole_blob_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/blobs/", 206, headers={"Content-Range": "bytes 0-9/100000"}, body=CONTENT[:10])
    with pytest.raises(RegistryUnavailableError):
        read(registry, upstream)


@pytest.mark.parametrize("after_bytes", [0, 1, 60_000, 99_999])
@pytest.mark.parametrize("first_byte", [0, 100])
def test_blob_cut_short_is_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, after_bytes: int, first_byte: int
) -> None:
    after_bytes = min(after_bytes, BLOB.size - first_byte - 1)
    registry.cut("/blobs/", after_bytes)
    with upstream.open_blob(registry.repository("team/app"), BLOB, first_byte) as pieces:
        got, error = read_until_it_fails(pieces)
    assert type(error) is RegistryUnavailableError
    assert got == CONTENT[first_byte : first_byte + after_bytes]
    assert registry.count("GET", "/blobs/") == 1  # whether to go on is the reader's to decide


def test_blob_of_unknown_length_that_ends_early_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/blobs/", 200, headers=UNKNOWN_LENGTH, body=CONTENT)
    registry.cut("/blobs/", 70_000)
    with upstream.open_blob(registry.repository("team/app"), BLOB) as pieces:
        got, error = read_until_it_fails(pieces)
    assert (type(error), got) == (RegistryUnavailableError, CONTENT[:70_000])


def test_blob_of_unknown_length_that_goes_on_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/blobs/", 200, headers=UNKNOWN_LENGTH, body=SparseBlob(1 << 40, seed=1))
    with upstream.open_blob(registry.repository("team/app"), BLOB) as pieces:
        got, error = read_until_it_fails(pieces)
    assert type(error) is DigestMismatchError
    assert len(got) <= BLOB.size


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b""])
def test_blob_of_another_announced_size_is_not_read(
    registry: FakeRegistry, upstream: UpstreamRegistry, content: bytes
) -> None:
    registry.lie_blob(BLOB.digest, content)
    with pytest.raises(DigestMismatchError):
        read(registry, upstream)


def test_encoded_blob_is_not_decoded(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/blobs/", 200, headers={"Content-Encoding": "gzip"}, body=CONTENT)
    assert read(registry, upstream) == CONTENT


def test_slow_blob_comes_in_pieces(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.limit_bytes_per_second = 70_000  # more than one second, and a piece takes one at most
    with upstream.open_blob(registry.repository("team/app"), BLOB) as pieces:
        first = next(pieces)
        assert len(first) < BLOB.size
        assert first + b"".join(pieces) == CONTENT
