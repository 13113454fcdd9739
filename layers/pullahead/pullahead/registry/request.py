"""What is sent to a registry and what comes back, and which addresses may be asked. Sends nothing.

Sources: RFC 9110 (HTTP semantics), section 15.4 (redirects); RFC 3986, section 3.2.2 (host).
"""

import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from pullahead.errors import AccessDeniedError, RegistryError, RegistryUnavailableError, Side
from pullahead.text import one_line

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})

_MAX_CAUSE_CHARACTERS = 1000
_MAX_URL_CHARACTERS = 16 * 1024
_HOST_AND_PORT = re.compile(r"(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)

_MAX_EQUAL_HEADERS = 4
_LATEST_ADDRESSES = 64  # the address of one request is looked at several times
_USUAL_PORTS = {"http": ":80", "https": ":443"}

_Error = TypeVar("_Error", bound=RegistryError)


class Timeouts(NamedTuple):
    """How long a registry may take, in seconds."""

    connect: float = 5.0
    read: float = 30.0  # without a single byte
    total: float = 120.0  # for everything but the body of a blob: all tries, waits and redirects together


class SentCredential(NamedTuple):
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
    sent: SentCredential | None = None

    def error(
        self,
        kind: type[_Error],
        cause: str,
        *,
        status: int | None = None,
        advice: str = "",
        code: str = "",
        **details: float | None,
    ) -> _Error:
        """Make an error about this operation; `details` are the error class's own arguments.

        What the cause quotes of a registry is made one safe line of limited length.
        """
        cause = one_line(cause, _MAX_CAUSE_CHARACTERS)
        return kind(
            f"{self.by_way_of}: {cause}" if self.by_way_of else cause,
            operation=self.operation,
            side=self.side,
            reference=self.reference,
            status=status,
            advice=advice,
            sent=str(self.sent or ""),
            code=code,
            by_way_of=self.by_way_of,
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
    asked_first: str = ""  # the address that we asked ourselves, where an answer led here; "" for `url`
    resource: str = ""  # an address that names the repository, where `url` (of an upload) does not; "" for `url`
    continues: bool = False  # a further page: whoever does not wait for its turn has read the others in vain
    by_event: bool = False  # whether something happened, rather than that it is time to ask


class Body(NamedTuple):
    """What to send: pieces that have `size` bytes together."""

    pieces: Iterable[bytes | memoryview]
    size: int


class ReadResponse(NamedTuple):
    """A response whose body was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def single_value(headers: Mapping[str, str], name: str) -> str:
    """Read a header that may stand once: what several headers say alike is one value, and quotes are no part of it.

    Servers and the proxies before them each add their own. Headers of one name are joined by commas (RFC 9110, section
    5.3), which a value may hold, too. Returns "" for a header that is missing or empty.
    """
    text = said_once(headers.get(name, "").strip())
    quoted = re.fullmatch(r'"([^"]*)"', text) if text.startswith('"') else None
    return text if quoted is None else quoted[1].strip()


def said_once(text: str) -> str:
    """Take what several headers of one name say alike for one value."""
    if "," not in text:
        return text
    for separator, count in itertools.product((", ", ","), range(_MAX_EQUAL_HEADERS, 1, -1)):
        length, rest = divmod(len(text) - (count - 1) * len(separator), count)
        if length > 0 and not rest and separator.join([text[:length]] * count) == text:
            return text[:length]
    return text


def may_be_repeated(method: str, status: int) -> bool:
    """Tell whether a redirect by a status wants the same request again: 303 names what is only to be read."""
    return status != 303 or method in ("GET", "HEAD")


def moved(request: Request, headers: Mapping[str, str]) -> Request:
    """Make the request that a redirect wants. Raises RegistryUnavailableError, AccessDeniedError."""
    url = redirected(request, single_value(headers, "Location"))
    stays = origin_of(url) == origin_of(request.url)
    resource = request.resource if stays else ""
    if stays and not resource and not urlsplit(url).path.startswith("/v2/"):
        resource = request.url  # the path names no repository: the token is the one of where the redirect came from
    identified = request.identified and stays
    return led_to(request, url)._replace(resource=resource, identified=identified)


def led_to(request: Request, url: str) -> Request:
    """Send a request to an address that an answer to it named, and keep who is to blame for that."""
    return request._replace(url=url, sent_by=sender_of(url, request), asked_first=first_of(request))


def first_of(request: Request) -> str:
    """Name the address that we asked ourselves, of our own accord."""
    return request.asked_first or request.url


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
    IPv6 zones) are read differently by different clients. Spaces are encoded, as browsers and Go do.
    """
    text = text.strip(" ").replace(" ", "%20")
    if len(text) > _MAX_URL_CHARACTERS or re.search(r"[\x00-\x20\x7f]", text):
        return None
    try:
        url = urlsplit(urljoin(base, text))
        port = url.port  # raises if it is not a number
    except ValueError:
        return None
    well_formed = url.scheme in ("http", "https") and _HOST_AND_PORT.fullmatch(url.netloc) and port != 0
    return url if well_formed else None


@functools.lru_cache(maxsize=_LATEST_ADDRESSES)
def origin_of(url: str) -> str:
    """Name scheme, host and port: what a token is for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{host_of(parts)}"


def host_of(url: SplitResult) -> str:
    """Name host and port, the port only where it is not that of the scheme."""
    host = url.netloc.lower().removesuffix(":")
    return host.removesuffix(_USUAL_PORTS.get(url.scheme, ""))


def port_of(url: SplitResult) -> int:
    """Name the port of an address, by its scheme if it names none."""
    return url.port or (443 if url.scheme == "https" else 80)
