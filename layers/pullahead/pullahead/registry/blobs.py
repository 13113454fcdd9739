"""Blobs as streams that begin anywhere. Proves where they begin and how long they are; not what they hold.

Source: OCI distribution specification 1.1, "Pulling blobs"; RFC 9110 section 14 (range requests).
"""

import contextlib
import re
from collections.abc import Iterator

from pullahead.errors import DigestMismatchError, RangeIgnoredError, RegistryUnavailableError
from pullahead.oci import Descriptor
from pullahead.registry.exchange import Exchange
from pullahead.registry.failures import SOCKET_ERRORS, Inquiry, TransientError, broken_connection
from pullahead.registry.responses import Response
from pullahead.registry.transport import Request

_PIECE_BYTES = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


@contextlib.contextmanager
def open_blob(
    exchange: Exchange, url: str, reference: str, blob: Descriptor, first_byte: int
) -> Iterator[Iterator[bytes]]:
    """Open a blob at an offset and close it whatever happens; nothing is asked where nothing is left to read."""
    if not 0 <= first_byte <= blob.size:
        raise ValueError(f"a blob of {blob.size} bytes has no byte {first_byte}")
    if first_byte == blob.size:
        yield iter(())
        return
    inquiry = Inquiry("open_blob", reference)
    headers = {"Range": f"bytes={first_byte}-"} if first_byte else {}
    statuses = (200, 206, 416) if first_byte else (200,)
    with exchange.ask(Request("GET", url, headers, inquiry), lambda response, _: response, statuses) as response:
        if first_byte:
            _check_range(inquiry, response, blob.size, first_byte)
        _check_length(inquiry, response, blob.size - first_byte)
        yield _pieces(inquiry, response, blob.size - first_byte)


def _check_range(inquiry: Inquiry, response: Response, size: int, first_byte: int) -> None:
    if response.status_code == 416:
        raise inquiry.error(DigestMismatchError, f"it has no byte {first_byte} where {size} were promised", status=416)
    if response.status_code == 200:
        raise inquiry.error(RangeIgnoredError, "it ignores Range", status=200)
    content_range = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if content_range is None or int(content_range[1]) != first_byte:
        raise inquiry.error(RangeIgnoredError, f"it answers another range than from byte {first_byte}", status=206)
    if content_range[2] not in (str(size), "*"):
        cause = f"it has {content_range[2]} bytes where {size} were promised"
        raise inquiry.error(DigestMismatchError, cause, status=206)


def _check_length(inquiry: Inquiry, response: Response, expected: int) -> None:
    announced = response.length
    if announced is None or announced == expected:
        return
    # What it says of itself before it sends anything is no accident of the way: asking again would not help.
    raise inquiry.error(DigestMismatchError, f"it announces {announced} bytes where {expected} were promised")


def _pieces(inquiry: Inquiry, response: Response, expected: int) -> Iterator[bytes]:
    """Yield what comes as it comes, so that a reader whose time runs out is never held up by a slow registry."""
    while True:
        piece = _read(inquiry, response)
        if len(piece) > expected:
            raise inquiry.error(DigestMismatchError, "it goes on after the promised size")
        if not piece:
            break
        expected -= len(piece)
        yield piece
    if expected:
        raise inquiry.error(RegistryUnavailableError, f"it ends {expected} bytes too early")


def _read(inquiry: Inquiry, response: Response) -> bytes:
    try:
        # As sent: what a blob's digest covers is never decoded, whatever Content-Encoding says of it.
        piece: bytes = response.read1(_PIECE_BYTES)
    except SOCKET_ERRORS as error:
        failure = broken_connection(inquiry, error)
        raise (failure.error if isinstance(failure, TransientError) else failure) from None
    return piece
