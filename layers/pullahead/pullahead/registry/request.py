"""What is sent to a registry and what comes back, and which addresses may be asked. Sends nothing.

Sources: RFC 9110 (HTTP semantics), section 15.4 (redirects); RFC 3986, section 3.2.2 (host).
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from pullahead.errors import AccessDeniedError, RegistryError, RegistryUnavailableError, Side

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})

_MAX_URL_CHARACTERS = 16 * 1024
_HOST_AND_PORT = re.compile(r"(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)

_Error = TypeVar("_Error", bound=RegistryError)


class Timeouts(NamedTuple):
    """How long a registry may take, in seconds."""

    connect: float = 5.0
    read: float = 30.0  # without a single byte
    total: float = 120.0  # for everything but the body of a blob: all tries, waits and redirects together


class Sent(NamedTuple):
    """The credential that a request was sent with, as messages name it; "" for none. `unused`: one that the registry
    did not ask for."""

    credential: str = ""
    unused: str = ""

    def __str__(self) -> str:
        if self.credential:
            return f"sent as {self.credential}"
        without = "sent without a credential"
        return f"{without}, as the registry did not ask for that of {self.unused}" if self.unused else without


class Inquiry(NamedTuple):
    """What a request is for, so that errors can say it: operation, reference, intermediary ("" for none), side.

    `sent`: with which credential it was sent, where that is known.
    """

    operation: str
    reference: str
    by_way_of: str = ""
    side: Side = Side.UPSTREAM
    sent: Sent | None = None

    def error(
        self, kind: type[_Error], cause: str, *, status: int | None = None, advice: str = "", **details: float | None
    ) -> _Error:
        """Make an error about this operation; `details` are the error class's own arguments."""
        return kind(
            f"{self.by_way_of}: {cause}" if self.by_way_of else cause,
            operation=self.operation,
            side=self.side,
            reference=self.reference,
            status=status,
            advice=advice,
            sent=str(self.sent or ""),
            **details,
        )


class Request(NamedTuple):
    """What to send."""

    method: str
    url: str
    headers: Mapping[str, str]
    inquiry: Inquiry
    identified: bool = True  # whether a credential may be used: not after a redirect to another origin
    sent_by: str = ""  # the address at another origin that led here; "" for none
    resource: str = ""  # an address that names the repository, where `url` (of an upload) does not; "" for `url`


class Body(NamedTuple):
    """What to send: pieces that have `size` bytes together."""

    pieces: Iterable[bytes | memoryview]
    size: int


class Answer(NamedTuple):
    """A response whose body was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def redirected(request: Request, location: str) -> str:
    """Decide where a redirect leads. Raises RegistryUnavailableError, AccessDeniedError."""
    url = parse_url(location, base=request.url) if location else None
    if url is None:
        raise request.inquiry.error(RegistryUnavailableError, "redirected to an invalid address")
    if url.scheme == "http" and request.url.startswith("https:"):
        raise request.inquiry.error(AccessDeniedError, "a redirect from https to http is refused")
    return url.geturl()


def sender_of(url: str, request: Request) -> str:
    """Name the address to blame for going to an address that the answer to a request named."""
    return request.sent_by if origin_of(url) == origin_of(request.url) else request.url


def parse_url(text: str, base: str = "") -> SplitResult | None:
    """Parse an http or https URL, relative to `base` if given; None if it is invalid or has a user name.

    A host is taken only as DNS and RFC 3986 section 3.2.2 spell it: other spellings (non-ASCII digits, per cent signs,
    IPv6 zones) are read differently by different clients.
    """
    if len(text) > _MAX_URL_CHARACTERS or re.search(r"[\x00-\x20\x7f]", text):
        return None
    try:
        url = urlsplit(urljoin(base, text))
        port = url.port  # raises if it is not a number
    except ValueError:
        return None
    well_formed = url.scheme in ("http", "https") and _HOST_AND_PORT.fullmatch(url.netloc) and port != 0
    return url if well_formed else None


def origin_of(url: str) -> str:
    """Name scheme, host and port: what a token is for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def port_of(url: SplitResult) -> int:
    """Name the port of an address, by its scheme if it names none."""
    return url.port or (443 if url.scheme == "https" else 80)
