"""How a stream's pieces become parts, whatever their sizes."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.refresh.progress import parts_of, skip

streams = st.lists(st.binary(max_size=20), max_size=20)


@given(streams, st.integers(1, 25))
def test_parts_are_the_stream_and_all_but_the_last_are_full(pieces: list[bytes], part_size: int) -> None:
    parts = list(parts_of(pieces, part_size))
    assert b"".join(parts) == b"".join(pieces)
    assert all(len(part) == part_size for part in parts[:-1])
    assert all(0 < len(part) <= part_size for part in parts)


@given(streams, st.integers(0, 450))
def test_skip_leaves_out_exactly_the_first_bytes(pieces: list[bytes], count: int) -> None:
    rest = list(skip(pieces, count))
    assert b"".join(rest) == b"".join(pieces)[count:]
    assert all(rest)


def test_part_is_given_before_the_next_piece_is_read() -> None:
    """A broken stream must not take whole parts with it."""

    def pieces() -> Iterator[bytes]:
        yield b"12345"
        pytest.fail("it read too far")

    assert next(parts_of(pieces(), 5)) == b"12345"


def test_part_does_not_change_when_the_next_one_is_made() -> None:
    parts = parts_of([b"aaaa", b"bbbb"], 4)
    first = next(parts)
    assert (next(parts), first) == (b"bbbb", b"aaaa")
