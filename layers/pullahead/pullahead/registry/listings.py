"""Listings that come in pages. Decides where the next page is and when a listing has gone on for too long.

A link to the next page is taken for its query alone, which is put to the address that was asked first: so no listing
leads to another host or from https to http, and Artifactory's links, which lack a virtual repository's prefix, work.

Source: OCI distribution specification 1.1, "Listing Tags" and "Listing Referrers"; RFC 8288 (Link).

The tags of a repository, all of them. Decides nothing about which matter.

Source: OCI distribution specification 1.1, "Listing Tags".

The repositories of a registry below a path. Decides when a registry has to be taken for one that lists nothing.

Source: CNCF distribution, HTTP API V2, "Catalog". The OCI specification has no such listing. The great public
registries refuse it or answer it empty, so an empty answer is no wish to follow nothing.

Who refers to a manifest: signatures, attestations, SBOMs. Decides where that is to be read; trusts none of it.

Source: OCI distribution specification 1.1, "Listing Referrers" and "Referrers Tag Schema".
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import msgspec

from pullahead.errors import (
    AccessDeniedError,
    ListingRefusedError,
    NotFoundError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    ResponseTooLargeError,
)
from pullahead.oci import (
    Descriptor,
    Digest,
    InvalidDigestError,
    InvalidReferenceError,
    Reference,
    Repository,
    media_types,
    parse_digest,
    parse_reference,
)
from pullahead.oci.reference import is_tag
from pullahead.registry import manifests
from pullahead.registry.exchange import PullSession
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
    exchange: PullSession, request: Request, now: Callable[[], float], statuses: Collection[int] = (200,)
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


def _read_page(
    exchange: PullSession, request: Request, room: int, statuses: Collection[int]
) -> tuple[Page, str | None]:
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


_PAGE_TAGS = 1000  # the most that ECR and distribution 3 allow; registries with smaller pages answer with fewer
_MAX_TAGS = 200_000
_MAX_IDLE_PAGES = 10
"""Pages in a row without a new tag. Some registries filter after paging, so that a page may be empty."""


class _TagsPage(msgspec.Struct):
    tags: list[str] | None = None  # null where there are none: distribution before 2.7


def list_tags(exchange: PullSession, url: str, repository: Repository, now: Callable[[], float]) -> tuple[str, ...]:
    """List every tag once, in the registry's order."""
    inquiry = Inquiry("list_tags", str(repository))
    request = Request("GET", f"{url}?n={_PAGE_TAGS}", {"Accept": "application/json"}, inquiry)
    found: dict[str, None] = {}
    idle = 0
    for page in read_pages(exchange, request, now):
        before = len(found)
        found.update(dict.fromkeys(_tags_of(inquiry, page.body)))
        idle = idle + 1 if len(found) == before else 0
        if idle >= _MAX_IDLE_PAGES:
            raise inquiry.error(RegistryUnavailableError, f"its listing brings nothing new in {idle} pages")
        if len(found) > _MAX_TAGS:
            raise inquiry.error(ResponseTooLargeError, f"it lists more than {_MAX_TAGS} tags")
    return tuple(found)


def _tags_of(inquiry: Inquiry, body: bytes) -> list[str]:
    try:
        tags = msgspec.json.decode(body, type=_TagsPage).tags or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise page_error(inquiry) from None
    if not all(map(is_tag, tags)):
        # What is shown on a terminal must not be able to steer it.
        raise inquiry.error(RegistryUnavailableError, "it lists a name that is no tag")
    return tags


_PAGE = 1000
_MAX_REPOSITORIES = 10_000  # below the path
_ADVICE = "Name its repositories in the rules instead."
_REFUSALS = frozenset({400, 401, 403, 404, 405, 406, 501})
"""What registries answer that know no catalog, or keep it to themselves."""


class _CatalogPage(msgspec.Struct):
    repositories: list[str] | None = None


def list_repositories(
    exchange: PullSession, url: str, registry: str, prefix: str, now: Callable[[], float]
) -> tuple[str, ...]:
    """List the paths of repositories below a prefix once, in the registry's order."""
    inquiry = Inquiry("list_repositories", f"{registry}/{prefix}/*")
    request = Request("GET", f"{url}?n={_PAGE}", {"Accept": "application/json"}, inquiry)
    found: dict[str, None] = {}
    try:
        for page in read_pages(exchange, request, now):
            below = [path for path in _paths_of(inquiry, page.body) if path.startswith(f"{prefix}/")]
            _check_names(inquiry, registry, below)
            found.update(dict.fromkeys(below))
            if len(found) > _MAX_REPOSITORIES:
                raise inquiry.error(ResponseTooLargeError, f"it lists more than {_MAX_REPOSITORIES} repositories")
    except RegistryError as error:
        if isinstance(error, AccessDeniedError | NotFoundError) or error.status in _REFUSALS:
            cause = f"this registry does not list its repositories ({error.cause})"
            raise inquiry.error(ListingRefusedError, cause, status=error.status, advice=_ADVICE) from None
        raise
    if not found:
        raise inquiry.error(ListingRefusedError, "this registry lists no repository there", advice=_ADVICE)
    return tuple(found)


def _check_names(inquiry: Inquiry, registry: str, paths: list[str]) -> None:
    """Refuse what is no name: it would be put into URLs, logs and messages."""
    if not all(_is_name(registry, path) for path in paths):
        raise inquiry.error(RegistryUnavailableError, "it lists a name that is no repository's")


def _is_name(registry: str, path: str) -> bool:
    try:
        return parse_reference(f"{registry}/{path}", default_tag=None) == Reference(Repository(registry, path), None)
    except InvalidReferenceError:
        return False


def _paths_of(inquiry: Inquiry, body: bytes) -> list[str]:
    try:
        return msgspec.json.decode(body, type=_CatalogPage).repositories or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise page_error(inquiry) from None


_MAX_REFERRERS = 10_000
_NOT_OFFERED = frozenset({400, 404, 405, 501})
"""Of these the specification names 404 only; registries without the API also say that the path is wrong."""


class Referrer(NamedTuple):
    """A manifest that names another one as its subject, and what kind of artifact it says that it is."""

    descriptor: Descriptor
    artifact_type: str


class _Entry(msgspec.Struct, rename="camel"):
    media_type: str
    digest: str
    size: int
    artifact_type: str = ""


class _Index(msgspec.Struct):
    manifests: list[_Entry] = []


def list_referrers(
    exchange: PullSession, base_url: str, subject: Reference, digest: Digest, now: Callable[[], float]
) -> tuple[Referrer, ...]:
    """List the referrers of a manifest: by the API, or by the fallback tag where the registry has no such API."""
    inquiry = Inquiry("list_referrers", str(subject.at(digest)))
    request = Request("GET", f"{base_url}/referrers/{digest}", {"Accept": media_types.OCI_INDEX}, inquiry)
    found: dict[Digest, Referrer] = {}
    for page in read_pages(exchange, request, now, (200, *_NOT_OFFERED)):
        if not _is_listing(page):
            return _by_tag(exchange, base_url, subject, digest)
        found.update((referrer.descriptor.digest, referrer) for referrer in _entries(inquiry, page.body))
        if len(found) > _MAX_REFERRERS:
            raise inquiry.error(ResponseTooLargeError, f"it lists more than {_MAX_REFERRERS} referrers")
    return tuple(found.values())


def fallback_tag(digest: Digest) -> str:
    """Name the tag under which clients keep referrers where the registry has no API for them."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def _is_listing(page: Page) -> bool:
    return page.status == 200 and page.content_type.partition(";")[0].strip().lower() == media_types.OCI_INDEX


def _by_tag(exchange: PullSession, base_url: str, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
    reference = Reference(subject.repository, fallback_tag(digest))
    try:
        raw = manifests.get_manifest(exchange, f"{base_url}/manifests/{reference.tag}", reference)
    except NotFoundError:
        return ()
    return tuple(_entries(Inquiry("list_referrers", str(reference)), raw.content))


def _entries(inquiry: Inquiry, content: bytes) -> list[Referrer]:
    try:
        entries = msgspec.json.decode(content, type=_Index).manifests
        return [
            Referrer(Descriptor(entry.media_type, parse_digest(entry.digest), entry.size), entry.artifact_type)
            for entry in entries
        ]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise page_error(inquiry) from None
    except InvalidDigestError:
        raise inquiry.error(RegistryUnavailableError, "it lists a referrer whose digest is none") from None
