"""One HTTP request, and redirects followed by hand. Decides where a request may go; knows no manifests."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from pullahead.errors import RegistryTimeoutError, RegistryUnavailableError, ResponseTooLargeError
from pullahead.registry.failures import HTTP_LIBRARY_ERRORS, Inquiry, TransientError, broken_connection

MAX_REDIRECTS = 5
MAX_ERROR_BODY_BYTES = 64 * 1024

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIECE_BYTES = 64 * 1024
_MAX_URL_CHARACTERS = 16 * 1024
_DRAIN_SECONDS = 5.0
_COMMON_HEADERS = {"User-Agent": "pullahead", "Accept-Encoding": "identity"}


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


class Transport:
    """Sends requests. May be used by several threads: the session keeps no state but its pool of connections."""

    def __init__(self, session: requests.Session, timeouts: Timeouts, clock: Callable[[], float]) -> None:
        self._session, self._timeouts, self._clock = session, timeouts, clock

    def deadline(self) -> float:
        """Tell by when something that begins now must have ended."""
        return self._clock() + self._timeouts.total

    def remaining(self, deadline: float, inquiry: Inquiry) -> float:
        """Tell how many seconds are left. Raises RegistryTimeoutError when there are none."""
        seconds = deadline - self._clock()
        if seconds <= 0:
            raise inquiry.error(RegistryTimeoutError, f"it took more than {self._timeouts.total:g} seconds")
        return seconds

    def send(self, request: Request, deadline: float, authorization: str | None = None) -> requests.Response:
        """Send one request and return the answer with its body unread."""
        remaining = self.remaining(deadline, request.inquiry)
        timeouts = (min(self._timeouts.connect, remaining), min(self._timeouts.read, remaining))
        headers = {**_COMMON_HEADERS, **request.headers}
        # Also when there is no token: else requests would send what it finds in ~/.netrc or in the URL.
        bare = requests.Request(request.method, request.url, headers=headers, auth=_Authorization(authorization))
        try:
            return self._send_once(self._session.prepare_request(bare), timeouts)
        except HTTP_LIBRARY_ERRORS as error:
            raise broken_connection(request.inquiry, error) from None

    def _send_once(self, prepared: requests.PreparedRequest, timeouts: tuple[float, float]) -> requests.Response:
        # Not by Session.send: even where it is not to follow a redirect it reads that answer's whole body into memory,
        # parses its Location without care, and remembers cookies for the other threads.
        url = str(prepared.url)
        found = self._session.merge_environment_settings(url, {}, True, None, None)
        return self._session.get_adapter(url).send(
            prepared,
            stream=True,
            timeout=timeouts,
            verify=True if found["verify"] is None else found["verify"],
            cert=found["cert"],
            proxies=found["proxies"],
        )

    def read(self, response: requests.Response, inquiry: Inquiry, limit: int, deadline: float) -> bytes:
        """Read a small body to its end, so that the connection can be used again.

        Raises: TransientError, RegistryTimeoutError, ResponseTooLargeError.
        """
        body = bytearray()
        try:
            while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
                body += piece
                if len(body) > limit:
                    raise inquiry.error(ResponseTooLargeError, f"it sends more than {limit} bytes")
                self.remaining(deadline, inquiry)
        except HTTP_LIBRARY_ERRORS as error:
            raise broken_connection(inquiry, error) from None
        return bytes(body)

    def read_error(self, response: requests.Response, inquiry: Inquiry, deadline: float) -> bytes:
        """Read the body of an answer of which the status says enough: b"" where it is too long or breaks off."""
        try:
            return self.read(response, inquiry, MAX_ERROR_BODY_BYTES, min(deadline, self._clock() + _DRAIN_SECONDS))
        except (TransientError, RegistryTimeoutError, RegistryUnavailableError, ResponseTooLargeError):
            return b""

    def follow(
        self, request: Request, deadline: float, ask: Callable[[Request, float], requests.Response]
    ) -> requests.Response:
        """Ask, and ask again wherever the answer points, by the same method. Raises RegistryUnavailableError."""
        for _ in range(MAX_REDIRECTS + 1):
            response = ask(request, deadline)
            if response.status_code not in _REDIRECTS:
                return response
            with response:
                self.read_error(response, request.inquiry, deadline)
            url = redirected(request, response.headers.get("Location", ""))
            stays = origin_of(url) == origin_of(request.url)
            request = request._replace(url=url, identified=request.identified and stays)
        raise request.inquiry.error(RegistryUnavailableError, f"it redirects more than {MAX_REDIRECTS} times")


class _Authorization(requests.auth.AuthBase):
    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value is not None:
            request.headers["Authorization"] = self._value
        return request


def redirected(request: Request, location: str) -> str:
    """Decide where a redirect leads. Raises RegistryUnavailableError where it leads to no place that we follow."""
    url = parse_url(location, base=request.url) if location else None
    if url is None:
        raise request.inquiry.error(RegistryUnavailableError, "it redirects to something that is no address")
    if url.scheme == "http" and request.url.startswith("https:"):
        raise request.inquiry.error(RegistryUnavailableError, "it redirects from https to http, which is refused")
    return url.geturl()


def parse_url(text: str, base: str = "") -> SplitResult | None:
    """Take an http or https URL apart, relative to a base if given; None where it is none or carries a user's name."""
    if len(text) > _MAX_URL_CHARACTERS or re.search(r"[\x00-\x20\x7f]", text):
        return None
    try:
        url = urlsplit(urljoin(base, text))
        _ = url.port  # raises where it is no number
    except ValueError:
        return None
    well_formed = url.scheme in ("http", "https") and bool(url.hostname) and "@" not in url.netloc
    return url if well_formed else None


def announced_length(response: requests.Response) -> int | None:
    """Read Content-Length; None where there is none that can be true."""
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def origin_of(url: str) -> str:
    """Name scheme, host and port: what a token is for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"
