"""Read a blob's bytes in order from any offset, and resume after the last byte where a connection breaks.

Decides how often a break is resumed, and what is done where Range is ignored. Does not verify the bytes
(verified_stream), and leaves to parallel_read when more than one connection is used.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from pullahead.clock import Wait
from pullahead.errors import PullaheadError, RangeIgnoredError, RateLimitedError, RegistryError
from pullahead.oci import Descriptor, Repository
from pullahead.oci.registries import BlobReader
from pullahead.refresh.parallel_read import PARALLEL_FROM_BYTES, ParallelRead, ParallelReader, Pieces, Span

_MAX_BREAKS = 5  # in a row, without a byte in between
_MAX_TOTAL_BREAKS = 100
_BYTES_PER_ADDITIONAL_BREAK = 64 * 1024 * 1024  # the longer a blob takes, the more often its connection may break
_MAX_WAIT_SECONDS = 60.0


class BlobSource(NamedTuple):
    """Where a blob is read. Without `parallel` each blob is read on one connection."""

    upstream: BlobReader
    repository: Repository
    parallel: ParallelRead | None = None


def never() -> bool:
    """Tell that nothing is over, where no time is set."""
    return False


class RetryPolicy(NamedTuple):
    """What happens after a break: `wait` is given the number of breaks in a row; `must_stop` may end the read."""

    wait: Wait
    must_stop: Callable[[], bool] = never


class ReadingStoppedError(PullaheadError):
    """The connection broke, and the reader has no time left to resume."""


@contextlib.contextmanager
def read_blob(blob: Descriptor, source: BlobSource, first: int, retry_policy: RetryPolicy) -> Iterator[Iterator[bytes]]:
    """Read a blob from an offset to its end; leaves no connection and no thread behind.

    The iterator raises what the upstream raises permanently or too often, and ReadingStoppedError.
    """
    read = partial(_read_resuming, blob, source, retry_policy)
    if source.parallel is None or blob.size - first < PARALLEL_FROM_BYTES:
        pieces = read(Span(first, blob.size))
    else:
        read_segment = partial(read, may_skip=False)
        pieces = ParallelReader(blob.size, source.parallel, read, read_segment).pieces(first)
    with contextlib.closing(pieces):
        yield pieces


def _read_resuming(
    blob: Descriptor,
    source: BlobSource,
    retry_policy: RetryPolicy,
    span: Span,
    is_over: Callable[[], bool] = never,
    *,
    may_skip: bool = True,
) -> Pieces:
    """Read a span, and end at a break where `is_over` says that nobody reads on.

    Where Range is ignored, `may_skip` allows to read from the beginning and skip to the span.
    """
    offset, breaks, total_breaks = span.first, 0, 0
    while offset < span.end:
        before = offset
        try:
            with ExitStack() as stack:
                for piece in _open(stack, source, blob, Span(offset, span.end), may_skip=may_skip):
                    offset += len(piece)
                    yield piece
            if offset == before:
                return  # it ended early without an error; whoever counts or hashes the bytes notices
        except RegistryError as error:
            breaks = 1 if offset > before else breaks + 1
            total_breaks += 1
            is_too_often = breaks >= _MAX_BREAKS or total_breaks >= _max_total_breaks(blob)
            if is_too_often or not error.retryable or _asks_for_a_long_wait(error) or is_over():
                raise
            if retry_policy.must_stop():
                raise ReadingStoppedError(str(error)) from error
            retry_policy.wait(breaks)


def _open(stack: ExitStack, source: BlobSource, blob: Descriptor, span: Span, *, may_skip: bool) -> Iterator[bytes]:
    end = span.end if span.end < blob.size else None
    try:
        return stack.enter_context(source.upstream.open_blob(source.repository, blob, span.first, end))
    except RangeIgnoredError:
        if not may_skip:
            raise
        return _skip(stack.enter_context(source.upstream.open_blob(source.repository, blob)), span.first)


def _skip(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Leave out the first `count` bytes."""
    for piece in pieces:
        if count < len(piece):
            yield piece[count:]
        count = max(0, count - len(piece))


def _asks_for_a_long_wait(error: RegistryError) -> bool:
    return isinstance(error, RateLimitedError) and (error.retry_after_seconds or 0) > _MAX_WAIT_SECONDS


def _max_total_breaks(blob: Descriptor) -> int:
    return _MAX_TOTAL_BREAKS + blob.size // _BYTES_PER_ADDITIONAL_BREAK
