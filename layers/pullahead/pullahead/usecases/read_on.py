"""A span of a blob's bytes in order: where upstream breaks off, reading goes on after the last byte that came.

Decides how often that is done. Refuses to know what the bytes should be.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from pullahead.copying.progress import skip
from pullahead.errors import PullaheadError, RangeIgnoredError, RateLimitedError, RegistryError
from pullahead.oci import Descriptor, Repository
from pullahead.ports import OpensBlobs, Wait

if TYPE_CHECKING:
    from pullahead.usecases.read_wide import Widening

_MAX_BREAKS = 5  # in a row, without a byte in between
_MAX_BREAKS_IN_ALL = 100
_LONGEST_WAIT_SECONDS = 60.0
_BYTES_FOR_ANOTHER_BREAK = 64 * 1024 * 1024  # the longer a blob takes, the more often its connection may break


class BlobSource(NamedTuple):
    """Where a blob is read, and whether several connections may be used for one blob."""

    upstream: OpensBlobs
    repository: Repository
    widening: "Widening | None" = None


Pieces = Generator[bytes, None, None]
"""Pieces of a blob in order. To be closed by whoever does not take them to their end."""


class Span(NamedTuple):
    """Bytes of a blob, the end excluded."""

    first: int
    end: int


def _never() -> bool:
    return False


class Mending(NamedTuple):
    """What is done about breaks: `wait` is told how many there were in a row; `must_stop` may end it instead."""

    wait: Wait
    must_stop: Callable[[], bool] = _never


class ReadingStoppedError(PullaheadError):
    """A break was not mended, because whoever reads has no time left."""


def read_on(blob: Descriptor, source: BlobSource, span: Span, mending: Mending, *, skips: bool = True) -> Pieces:
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
            if mending.must_stop():
                raise ReadingStoppedError(str(error)) from error
            mending.wait(breaks)


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
