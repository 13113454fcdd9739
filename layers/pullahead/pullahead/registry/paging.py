"""Listings that come in pages. Decides where the next page is and when a listing has gone on for too long.

A link to the next page is taken for its query alone, which is put to the address that was asked first: so no listing
leads to another host or from https to http, and Artifactory's links, which lack a virtual repository's prefix, work.

Source: OCI distribution specification 1.1, "Listing Tags" and "Listing Referrers"; RFC 8288 (Link).
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from pullahead.errors import RegistryTimeoutError, RegistryUnavailableError, ResponseTooLargeError
from pullahead.registry.exchange import Exchange
from pullahead.registry.failures import Inquiry
from pullahead.registry.responses import Response
from pullahead.registry.transport import Request, parse_url

_MAX_PAGES = 1000
_MAX_BYTES = 64 * 1024 * 1024  # in all pages; gcr.io puts every manifest of a repository beside its tags
_MAX_SECONDS = 600.0
_MAX_HEADER_CHARACTERS = 8 * 1024

_LINK = re.compile(r'<([^<>]*)>((?:[^,"]|"(?:[^"\\]|\\.)*")*)')
_NEXT = re.compile(r';\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next)\s*(?=[;,]|$)', re.IGNORECASE)


class Page(NamedTuple):
    """One answer: its status, media type as sent, and body."""

    status: int
    content_type: str
    body: bytes


def read_pages(
    exchange: Exchange, request: Request, now: Callable[[], float], statuses: Collection[int] = (200,)
) -> Iterator[Page]:
    """Yield the pages of a listing one by one, and follow it only as long as it may still be honest.

    Raises: as `Exchange.ask`, and RegistryUnavailableError, ResponseTooLargeError or RegistryTimeoutError for a listing
    that goes round in a circle, elsewhere, or on without end.
    """
    until = now() + _MAX_SECONDS
    room, seen = _MAX_BYTES, {request.url}
    for _ in range(_MAX_PAGES):
        page, link = _read_page(exchange, request, room, statuses)
        room -= len(page.body)
        yield page
        if link is None:
            return
        request = request._replace(url=_next_url(request, link))
        if request.url in seen:
            raise request.inquiry.error(RegistryUnavailableError, "its listing goes round in a circle")
        seen.add(request.url)
        if now() >= until:
            raise request.inquiry.error(RegistryTimeoutError, f"its listing takes more than {_MAX_SECONDS:g} seconds")
    raise request.inquiry.error(ResponseTooLargeError, f"its listing has more than {_MAX_PAGES} pages")


def find_next(header: str) -> str | None:
    """Find the target of the link whose relation is `next`, in one or several Link headers joined by commas."""
    links = _LINK.finditer(header[:_MAX_HEADER_CHARACTERS])
    return next((link[1] for link in links if _NEXT.search(link[2])), None)


def _read_page(exchange: Exchange, request: Request, room: int, statuses: Collection[int]) -> tuple[Page, str | None]:
    def receive(response: Response, deadline: float) -> tuple[Page, str | None]:
        body = exchange.receive_body(response, request, room, deadline)
        page = Page(response.status_code, response.headers.get("Content-Type", ""), body)
        return page, find_next(response.headers.get("Link", "")) if page.status == 200 else None

    return exchange.ask(request, receive, statuses)


def _next_url(request: Request, link: str) -> str:
    found = parse_url(link, base=request.url)
    asked = urlsplit(request.url)
    if found is None or not found.query:
        raise request.inquiry.error(RegistryUnavailableError, "its listing goes on at something that is no address")
    if found.hostname != asked.hostname:
        raise request.inquiry.error(RegistryUnavailableError, "its listing goes on at another host, which is not asked")
    return urljoin(request.url, asked._replace(query=found.query, fragment="").geturl())


def page_error(inquiry: Inquiry) -> RegistryUnavailableError:
    """Make the error for a page that cannot be read."""
    return inquiry.error(RegistryUnavailableError, "its listing makes no sense")
