"""One HTTP request, and redirects followed by hand. Decides where a request may go; knows no manifests."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from pullahead.errors import AccessDeniedError, RegistryTimeoutError, RegistryUnavailableError, ResponseTooLargeError
from pullahead.registry.failures import SOCKET_ERRORS, Inquiry, TransientError, broken_connection
from pullahead.registry.responses import Response

if TYPE_CHECKING:
    from pullahead.registry.connections import Connections

MAX_REDIRECTS = 5
MAX_ERROR_BODY_BYTES = 64 * 1024

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIECE_BYTES = 64 * 1024
_MAX_URL_CHARACTERS = 16 * 1024
_DRAIN_SECONDS = 5.0
_HOST_AND_PORT = re.compile(r"(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)


class Timeouts(NamedTuple):
    """How long a registry may take, in seconds."""

    connect: float = 5.0
    read: float = 30.0  # without a single byte
    total: float = 120.0  # for everything but the body of a blob: all tries, waits and redirects together


class Request(NamedTuple):
    """What to send."""

    method: str
    url: str
    headers: Mapping[str, str]
    inquiry: Inquiry
    identified: bool = True  # whether we may say who we are: not after a redirect to another origin
    sent_by: str = ""  # the address at another origin that sent us here; "" where nobody did


class Transport:
    """Sends requests. May be used by several threads: all that it holds is a pool of connections."""

    def __init__(self, connections: "Connections", timeouts: Timeouts, clock: Callable[[], float]) -> None:
        self._connections, self._timeouts, self._clock = connections, timeouts, clock

    def deadline(self) -> float:
        """Tell by when something that begins now must have ended."""
        return self._clock() + self._timeouts.total

    def remaining(self, deadline: float, inquiry: Inquiry) -> float:
        """Tell how many seconds are left. Raises RegistryTimeoutError when there are none."""
        seconds = deadline - self._clock()
        if seconds <= 0:
            raise inquiry.error(RegistryTimeoutError, f"it took more than {self._timeouts.total:g} seconds")
        return seconds

    def send(self, request: Request, deadline: float, authorization: str | None = None) -> Response:
        """Send one request and return the answer with its body unread."""
        within = self.remaining(deadline, request.inquiry)
        if authorization is not None:
            request = request._replace(headers={**request.headers, "Authorization": authorization})
        return self._connections.open(request, within=within)

    def read(self, response: Response, inquiry: Inquiry, limit: int, deadline: float) -> bytes:
        """Read a small body to its end, so that the connection can be used again.

        Raises: TransientError, RegistryTimeoutError, ResponseTooLargeError.
        """
        body = bytearray()
        try:
            while piece := response.read1(_PIECE_BYTES):
                body += piece
                if len(body) > limit:
                    raise inquiry.error(ResponseTooLargeError, f"it sends more than {limit} bytes")
                self.remaining(deadline, inquiry)
        except SOCKET_ERRORS as error:
            raise broken_connection(inquiry, error) from None
        return bytes(body)

    def read_error(self, response: Response, inquiry: Inquiry, deadline: float) -> bytes:
        """Read the body of an answer of which the status says enough: b"" where it is too long or breaks off."""
        try:
            return self.read(response, inquiry, MAX_ERROR_BODY_BYTES, min(deadline, self._clock() + _DRAIN_SECONDS))
        except (TransientError, RegistryTimeoutError, RegistryUnavailableError, ResponseTooLargeError):
            return b""

    def follow(self, request: Request, deadline: float, ask: Callable[[Request, float], Response]) -> Response:
        """Ask, and ask again wherever the answer points, by the same method. Raises RegistryUnavailableError."""
        for _ in range(MAX_REDIRECTS + 1):
            response = ask(request, deadline)
            if response.status_code not in _REDIRECTS:
                return response
            with response:
                self.read_error(response, request.inquiry, deadline)
            url = redirected(request, response.headers.get("Location", ""))
            stays = origin_of(url) == origin_of(request.url)
            request = request._replace(
                url=url, identified=request.identified and stays, sent_by=sender_of(url, request)
            )
        raise request.inquiry.error(RegistryUnavailableError, f"it redirects more than {MAX_REDIRECTS} times")


def redirected(request: Request, location: str) -> str:
    """Decide where a redirect leads. Raises RegistryUnavailableError and AccessDeniedError for places not followed."""
    url = parse_url(location, base=request.url) if location else None
    if url is None:
        raise request.inquiry.error(RegistryUnavailableError, "it redirects to something that is no address")
    if url.scheme == "http" and request.url.startswith("https:"):
        raise request.inquiry.error(AccessDeniedError, "it redirects from https to http, which is refused")
    return url.geturl()


def sender_of(url: str, request: Request) -> str:
    """Name who is to blame for going to an address that the answer to a request named."""
    return request.sent_by if origin_of(url) == origin_of(request.url) else request.url


def parse_url(text: str, base: str = "") -> SplitResult | None:
    """Take an http or https URL apart, relative to a base if given; None where it is none or carries a user's name.

    A host is taken only as DNS and RFC 3986 section 3.2.2 spell it: every other spelling, such as with digits that
    are none of ASCII's, per cent signs or an IPv6 zone, is read differently by somebody.
    """
    if len(text) > _MAX_URL_CHARACTERS or re.search(r"[\x00-\x20\x7f]", text):
        return None
    try:
        url = urlsplit(urljoin(base, text))
        port = url.port  # raises where it is no number
    except ValueError:
        return None
    well_formed = url.scheme in ("http", "https") and _HOST_AND_PORT.fullmatch(url.netloc) and port != 0
    return url if well_formed else None


def origin_of(url: str) -> str:
    """Name scheme, host and port: what a token is for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"
