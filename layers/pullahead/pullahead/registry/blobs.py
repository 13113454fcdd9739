"""Blobs as streams that begin anywhere. Verifies where they begin and how long they are; not what they hold.

Blobs that a manifest names by URL are read where the URL leads, by the rules for what a registry redirects to. Nobody
there gets credentials, and the guard judges the address as one that the registry has sent us to: so a public
registry's manifest leads nowhere within, and plain HTTP is spoken only to hosts for which that is allowed.

Source: OCI distribution specification 1.1, "Pulling blobs"; RFC 9110 section 14 (range requests).
"""

import contextlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from pullahead.errors import (
    DigestMismatchError,
    NotFoundError,
    RangeIgnoredError,
    RegistryError,
    RegistryUnavailableError,
    UnsupportedMediaTypeError,
)
from pullahead.oci import Descriptor
from pullahead.registry.content_coding import CodingError, decoded_pieces
from pullahead.registry.errors import TransientError
from pullahead.registry.http import Response
from pullahead.registry.request import Inquiry, Request, origin_of, parse_url, single_value
from pullahead.registry.session import Session

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_UNSATISFIED_RANGE = re.compile(r"bytes \*/([0-9]{1,18})")
_RANGE_REFUSALS = frozenset({400, 401, 403, 405, 406, 409, 411, 412, 415, 422, 501})
"""What may mean Range rather than the blob. Read whole, the blob's own answer counts."""

_RANGE_REFUSED = "the registry refuses Range"
_REDIRECT_SECONDS = 60.0
_MAX_REDIRECTS_KEPT = 100


class Redirects:
    """Where blobs were last found: a blob that is read by many Ranges is not looked up for each.

    Such an address often holds a signature that is good for minutes; it is kept for less, and never written anywhere.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._found: OrderedDict[str, _CachedRedirect] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, url: str) -> str | None:
        """Find where a blob's address led, if that is known and fresh."""
        with self._lock:
            found = self._found.get(url)
            return found.address if found is not None and self._clock() < found.until else None

    def keep(self, url: str, address: str) -> None:
        """Keep where an address led, if that is another server."""
        if origin_of(url) == origin_of(address):
            return
        with self._lock:
            self._found[url] = _CachedRedirect(address, self._clock() + _REDIRECT_SECONDS)
            self._found.move_to_end(url)
            while len(self._found) > _MAX_REDIRECTS_KEPT:
                self._found.popitem(last=False)

    def forget(self, url: str) -> None:
        """Forget an address that does not lead there any more."""
        with self._lock:
            self._found.pop(url, None)


class _CachedRedirect(NamedTuple):
    address: str
    until: float


class BlobLocation(NamedTuple):
    """A blob's address, its name in errors, and the address that named it if that is not its own registry's."""

    url: str
    reference: str
    named_by: str = ""


@contextlib.contextmanager
def open_blob(
    session: Session, redirects: Redirects, location: BlobLocation, blob: Descriptor, first_byte: int, end: int | None
) -> Iterator[Iterator[bytes]]:
    """Open a blob from an offset to another and close it whatever happens; for no bytes nothing is requested.

    The pieces are at most 256 KiB and belong to the reader.
    """
    span = _Span(first_byte, blob.size if end is None else end, blob.size)
    if not 0 <= span.first <= span.end <= span.size:
        raise ValueError(f"a blob of {blob.size} bytes has no bytes {first_byte} to {end}")
    if span.first == span.end:
        yield iter(())
        return
    inquiry = Inquiry("reading the blob", location.reference)
    with _answer(session, redirects, location, span, inquiry) as response:
        if span.is_part:
            _check_range(inquiry, response, span)
        _check_length(inquiry, response, span.end - span.first)
        yield _pieces(inquiry, response, span.end - span.first, session.piece_seconds)


class _Span(NamedTuple):
    first: int
    end: int
    size: int  # of the whole blob

    @property
    def is_part(self) -> bool:
        return self.first > 0 or self.end < self.size

    @property
    def header(self) -> dict[str, str]:
        if not self.is_part:
            return {}
        last = str(self.end - 1) if self.end < self.size else ""
        return {"Range": f"bytes={self.first}-{last}"}


def _answer(session: Session, redirects: Redirects, location: BlobLocation, span: _Span, inquiry: Inquiry) -> Response:
    statuses = (200, 206, 416) if span.is_part else (200,)
    url = location.url
    named_by = location.named_by
    request = Request(
        "GET", url, span.header, inquiry, identified=not named_by, sent_by=named_by, asked_first=named_by or url
    )
    if span.is_part and (address := redirects.of(url)) is not None:
        try:
            return session.ask(request._replace(url=address, identified=False, sent_by=url), _unread, statuses)
        except RegistryError:
            redirects.forget(url)  # its time has run out, or that server is in trouble: the registry names another
    try:
        response = session.ask(request, _unread, statuses)
    except RegistryError as error:
        if span.is_part and error.status in _RANGE_REFUSALS:
            raise inquiry.error(RangeIgnoredError, _RANGE_REFUSED, status=error.status) from None
        raise
    redirects.keep(url, response.url)
    return response


def _unread(response: Response, _deadline: float) -> Response:
    return response


def _check_range(inquiry: Inquiry, response: Response, span: _Span) -> None:
    if response.coding and response.length != span.end - span.first:
        # A part of what is encoded is no part of the blob.
        raise inquiry.error(RangeIgnoredError, "the registry encodes the answer to Range", status=response.status_code)
    if response.status_code == 416:
        size = _UNSATISFIED_RANGE.fullmatch(single_value(response.headers, "Content-Range"))
        if size is not None and int(size[1]) != span.size:
            cause = f"the blob has {size[1]} bytes, but {span.size} were promised"
            raise inquiry.error(DigestMismatchError, cause, status=416)
        # It has these bytes, or does not say: some answer so to every Range. Read whole, the size will tell.
        raise inquiry.error(RangeIgnoredError, _RANGE_REFUSED, status=416)
    if response.status_code == 200:
        raise inquiry.error(RangeIgnoredError, "the registry ignores Range", status=200)
    content_range = _CONTENT_RANGE.fullmatch(single_value(response.headers, "Content-Range"))
    if content_range is not None and content_range[3] not in (str(span.size), "*"):
        cause = f"the blob has {content_range[3]} bytes, but {span.size} were promised"
        raise inquiry.error(DigestMismatchError, cause, status=206)
    if content_range is None or (int(content_range[1]), int(content_range[2]) + 1) != (span.first, span.end):
        cause = f"the registry answers with another range than bytes {span.first} to {span.end}"
        raise inquiry.error(RangeIgnoredError, cause, status=206)


def _is_encoded(response: Response, expected: int) -> bool:
    """Tell whether a body has to be decoded.

    Not one of the blob's own length: there the header tells what the blob is, as storage services have it.
    """
    return response.coding != "" and response.length != expected


def _check_length(inquiry: Inquiry, response: Response, expected: int) -> None:
    announced = response.length
    if announced is None or announced == expected or _is_encoded(response, expected):
        return
    # What is announced before anything is sent is no accident of the connection: asking again would not help.
    raise inquiry.error(DigestMismatchError, f"the response has {announced} bytes, but {expected} were promised")


def _pieces(inquiry: Inquiry, response: Response, expected: int, seconds: float) -> Iterator[bytes]:
    """Yield blocks, or what came within a second: a slow registry does not hold up a reader that must end."""
    pieces = _pieces_as_sent(response, seconds)
    if _is_encoded(response, expected):
        pieces = _decoded(inquiry, pieces, response.coding)
    for piece in pieces:
        if len(piece) > expected:
            raise inquiry.error(DigestMismatchError, "the blob goes on after the promised size")
        expected -= len(piece)
        yield piece
    if expected:
        raise inquiry.error(RegistryUnavailableError, f"the blob ends {expected} bytes too early")


def _pieces_as_sent(response: Response, seconds: float) -> Iterator[bytes]:
    while True:
        try:
            piece = response.read_piece(seconds)
        except TransientError as transient:
            raise transient.error from None
        if not piece:
            return
        yield piece


def _decoded(inquiry: Inquiry, pieces: Iterator[bytes], coding: str) -> Iterator[bytes]:
    try:
        yield from filter(None, decoded_pieces(pieces, coding))
    except CodingError as error:
        raise inquiry.error(UnsupportedMediaTypeError, str(error)) from None


def open_foreign(
    session: Session,
    redirects: Redirects,
    named_by: str,
    url: str,
    blob: Descriptor,
    first_byte: int,
    end: int | None,
) -> AbstractContextManager[Iterator[bytes]]:
    """Open a blob by a URL; `named_by` is the address of the registry whose manifest names it.

    Raises: as `BlobReader.open_blob`.
    """
    address = parse_url(url)
    if address is None:
        cause = "the manifest names an invalid URL"
        raise Inquiry("reading the blob", str(blob.digest)).error(NotFoundError, cause)
    reference = f"{blob.digest} from {address.netloc}"  # a path or a query may hold a secret
    location = BlobLocation(address._replace(fragment="").geturl(), reference, named_by)
    return open_blob(session, redirects, location, blob, first_byte, end)
