"""Listings, page by page: tags, repositories, referrers. Decides where the next page is, and when one goes on too long.

A link to the next page is taken for its query alone, which is put to the address that was asked first: so no listing
leads to another host or from https to http, and Artifactory's links, which lack a virtual repository's prefix, work. A
link that cannot be understood is an error: a listing that ends early would silently lack what follows. An entry that is
no tag, repository or digest is left out, and logged once.

The great public registries refuse the catalog or answer it empty, so an empty one is not a wish to follow nothing.

Sources: OCI distribution specification 1.1, "Listing Tags", "Listing Referrers" and "Referrers Tag Schema"; RFC 8288
(Link); CNCF distribution, HTTP API V2, "Catalog".
"""

import logging
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from pullahead.errors import (
    AccessDeniedError,
    ListingRefusedError,
    NotFoundError,
    RateLimitedError,
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
from pullahead.oci.referrers import Referrer, fallback_tag, kinds_of
from pullahead.registry import go_json, manifests
from pullahead.registry.errors import GATEWAY_TROUBLE, explain
from pullahead.registry.http import Response
from pullahead.registry.request import Inquiry, Request, parse_url, single_value
from pullahead.registry.session import Session

_LOG = logging.getLogger(__name__)

_MAX_PAGES = 1000
MAX_LISTING_BYTES = 64 * 1024 * 1024
"""Of all pages; gcr.io puts every manifest of a repository beside its tags."""
_MAX_SECONDS = 600.0
_MAX_HEADER_CHARACTERS = 8 * 1024

_PAGE_SIZES = (1000, 100, None)
"""How many entries a page is asked to have: the most that ECR and distribution 3 allow; less where that is refused."""

_TOO_LARGE = frozenset({400, 413, 416, 422})
_NOT_ABOUT_SIZE = frozenset({"DENIED", "NAME_INVALID", "NAME_UNKNOWN", "NOT_FOUND", "UNAUTHORIZED", "UNSUPPORTED"})
"""Error codes by which a registry says what else than the size of a page it refuses."""

# A link is taken with or without angle brackets: some registries leave them out.
_TARGET = re.compile(r"""(?:<([^<>]*)>|([^<>;,\s"']+))\s*""")
_LAST_SEMICOLON = re.compile(r";\s*")
_NOTHING = re.compile(r"[\s,]*")  # RFC 9110, section 5.6.1.2: elements of a list may be empty
_PARAMETER = re.compile(r""";\s*([^\s=;,"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*)))?\s*""")


class Page(NamedTuple):
    """One answer: its status, media type as sent, and body."""

    status: int
    content_type: str
    body: bytes


def read_pages(
    session: Session, request: Request, now: Callable[[], float], statuses: Collection[int] = (200,)
) -> Iterator[Page]:
    """Yield the pages of a listing one by one, and follow it only as long as it may still be honest.

    Raises: as `Session.ask`, and RegistryUnavailableError, ResponseTooLargeError or RegistryTimeoutError for a listing
    that goes in a circle, elsewhere, or on without end.
    """
    until = now() + _MAX_SECONDS
    room, seen = MAX_LISTING_BYTES, {request.url}
    for _ in range(_MAX_PAGES):
        page, link = _read_page(session, request, room, statuses)
        room -= len(page.body)
        yield page
        if link is None:
            return
        request = request._replace(url=_next_url(request, link), continues=True)
        if request.url in seen:
            raise request.inquiry.error(RegistryUnavailableError, "the listing goes in a circle")
        seen.add(request.url)
        if now() >= until:
            raise request.inquiry.error(RegistryTimeoutError, f"the listing takes more than {_MAX_SECONDS:g} seconds")
    raise request.inquiry.error(ResponseTooLargeError, f"the listing has more than {_MAX_PAGES} pages")


def find_next(header: str) -> str | None:
    """Find the target of the link to the next page, in one or several Link headers joined by commas.

    A link without a relation leads to the next page: registries have no use for others. None if there is no link, or
    none to a next page. Raises ValueError for what is not understood.
    """
    if len(header) > _MAX_HEADER_CHARACTERS:
        raise ValueError("it is too long")
    found = {target for target, relation in _links(header) if "next" in relation.lower().split()}
    if "" in found:
        raise ValueError("it has an empty link")
    if len(found) > 1:
        raise ValueError("it has two different links to the next page")
    return found.pop() if found else None


def _links(header: str) -> Iterator[tuple[str, str]]:
    """Yield the target and the relation of each link. Raises ValueError."""
    position = _end_of(_NOTHING, header, 0)
    while position < len(header):
        target = _TARGET.match(header, position)
        if target is None:
            raise ValueError("it has no link where one should be")
        if target[2] and header[target.end() : target.end() + 1] == ",":
            raise ValueError("it has a link without brackets whose end is not clear")
        position, relation = target.end(), "next"
        while parameter := _PARAMETER.match(header, position):
            position = parameter.end()
            if parameter[1].lower() == "rel":
                relation = parameter[2] or (parameter[3] or "").strip("'")
        position = _end_of(_LAST_SEMICOLON, header, position)
        if not relation or header[position : position + 1] not in ("", ","):
            raise ValueError("it has a link whose parameters are malformed")
        yield target[1] or target[2] or "", relation
        position = _end_of(_NOTHING, header, position)


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _read_page(session: Session, request: Request, room: int, statuses: Collection[int]) -> tuple[Page, str | None]:
    def receive(response: Response, deadline: float) -> tuple[Page, str | None]:
        body = session.receive_body(response, request, room, deadline)
        page = Page(response.status_code, single_value(response.headers, "Content-Type"), body)
        if page.status != 200:
            return page, None
        try:
            return page, find_next(response.headers.get("Link", ""))
        except ValueError as error:
            cause = f"the Link header to the next page cannot be read: {error}"
            raise request.inquiry.error(RegistryUnavailableError, cause) from None

    return session.ask(request, receive, statuses)


def _first_page_fits(session: Session, request: Request, now: Callable[[], float]) -> Iterator[Page]:
    """Yield the pages of a listing; in smaller pages where the registry refuses the size that is asked for."""
    sizes = list(_PAGE_SIZES)
    while sizes:
        size = sizes.pop(0)
        sized = request if size is None else request._replace(url=f"{request.url}?n={size}")
        pages = read_pages(session, sized, now)
        try:
            first = next(pages)
        except RegistryError as error:
            if size is None or not _may_mean_size(error):
                raise
            if error.status not in _TOO_LARGE:
                sizes = [None]
            continue
        yield first
        yield from pages
        return


def _may_mean_size(error: RegistryError) -> bool:
    """Tell whether a registry may have refused the size of a page, and not what was asked for, or us."""
    if error.status is None or error.by_way_of or isinstance(error, RateLimitedError) or error.status == 401:
        return False
    return error.code not in _NOT_ABOUT_SIZE and error.status not in GATEWAY_TROUBLE


def _next_url(request: Request, link: str) -> str:
    found = parse_url(link, base=request.url)
    asked = urlsplit(request.url)
    if found is None or not found.query:
        raise request.inquiry.error(RegistryUnavailableError, "the listing goes on at an invalid address")
    if found.hostname != asked.hostname:
        raise request.inquiry.error(RegistryUnavailableError, "the listing goes on at another host, which is refused")
    return urljoin(request.url, asked._replace(query=found.query, fragment="").geturl())


def page_error(inquiry: Inquiry) -> RegistryUnavailableError:
    """Make the error for a page that cannot be read."""
    return inquiry.error(RegistryUnavailableError, "the listing is not the JSON that is specified")


_Listing = TypeVar("_Listing", "_TagsPage", "_CatalogPage")


def _listed(inquiry: Inquiry, body: bytes, page: _Listing) -> _Listing:
    """Return a page that lists something, or nothing, but no errors: some registries send these with 200."""
    if page.errors:
        cause = f"the answer is no listing, but an error{explain(body)}"
        raise inquiry.error(RegistryUnavailableError, cause, status=200)
    return page


def _entry(content: msgspec.Raw) -> Any:
    """Read one entry; None for one that cannot be read, such as half a surrogate pair or a number without end."""
    try:
        return msgspec.json.decode(content)
    except go_json.INVALID:
        return None


def _log_left_out(inquiry: Inquiry, count: int, what: str) -> None:
    if count:
        _LOG.warning(
            "%s of %s: %d entries left out, which are no %s", inquiry.operation, inquiry.reference, count, what
        )


_MAX_TAGS = 200_000
_MAX_IDLE_PAGES = 10
"""Pages in a row without a new tag. Some registries filter after paging, so that a page may be empty."""


class _TagsPage(msgspec.Struct):
    tags: list[msgspec.Raw] = []  # each is read alone; null if there are none: distribution before 2.7
    errors: Any = None


def list_tags(session: Session, url: str, repository: Repository, now: Callable[[], float]) -> tuple[str, ...]:
    """List every tag once, in the registry's order."""
    inquiry = Inquiry("listing tags", str(repository))
    request = Request("GET", url, {"Accept": "application/json"}, inquiry)
    found: dict[str, None] = {}
    idle = left_out = 0
    for page in _first_page_fits(session, request, now):
        before = len(found)
        entries = _tags_of(inquiry, page.body)
        tags = [each for each in entries if isinstance(each, str) and is_tag(each)]
        left_out += len(entries) - len(tags)
        found.update(dict.fromkeys(tags))
        idle = idle + 1 if len(found) == before else 0
        if idle >= _MAX_IDLE_PAGES:
            raise inquiry.error(RegistryUnavailableError, f"the listing has nothing new in {idle} pages")
        if len(found) > _MAX_TAGS:
            raise inquiry.error(ResponseTooLargeError, f"the repository has more than {_MAX_TAGS} tags")
    _log_left_out(inquiry, left_out, "tags")
    return tuple(found)


def _tags_of(inquiry: Inquiry, body: bytes) -> list[Any]:
    try:
        return [_entry(each) for each in _listed(inquiry, body, go_json.decode(body, _TagsPage)).tags]
    except go_json.INVALID:
        raise page_error(inquiry) from None


_MAX_REPOSITORIES = 10_000  # below the path
_ADVICE = "Name its repositories in the rules instead."
_REFUSALS = frozenset({400, 401, 403, 404, 405, 406, 501})
"""What registries answer that have no catalog, or do not show it."""


class _CatalogPage(msgspec.Struct):
    repositories: list[msgspec.Raw] = []
    errors: Any = None


def list_repositories(
    session: Session, url: str, registry: str, prefix: str, now: Callable[[], float]
) -> tuple[str, ...]:
    """List the paths of repositories below a prefix once, in the registry's order."""
    inquiry = Inquiry("listing repositories", f"{registry}/{prefix}/*")
    # The credential is that for what is below the prefix.
    request = Request("GET", url, {"Accept": "application/json"}, inquiry, resource=f"{url}/{quote(prefix)}/*")
    found: dict[str, None] = {}
    left_out = 0
    try:
        for page in _first_page_fits(session, request, now):
            entries = _paths_of(inquiry, page.body)
            below = [each for each in entries if not isinstance(each, str) or each.startswith(f"{prefix}/")]
            names = [each for each in below if isinstance(each, str) and _is_name(registry, each)]
            left_out += len(below) - len(names)
            found.update(dict.fromkeys(names))
            if len(found) > _MAX_REPOSITORIES:
                raise inquiry.error(ResponseTooLargeError, f"there are more than {_MAX_REPOSITORIES} repositories")
    except RegistryError as error:
        if isinstance(error, AccessDeniedError | NotFoundError) or error.status in _REFUSALS:
            cause = f"this registry does not list its repositories ({error.cause})"
            refused = inquiry.error(ListingRefusedError, cause, status=error.status, advice=_ADVICE)
            refused.sent = error.sent
            raise refused from None
        raise
    _log_left_out(inquiry, left_out, "repositories")
    if not found:
        raise inquiry.error(ListingRefusedError, "this registry lists no repository there", advice=_ADVICE)
    return tuple(found)


def _is_name(registry: str, path: str) -> bool:
    """Tell whether a path is a repository's: it will be put into URLs, logs and messages."""
    try:
        return parse_reference(f"{registry}/{path}", default_tag=None) == Reference(Repository(registry, path), None)
    except InvalidReferenceError:
        return False


def _paths_of(inquiry: Inquiry, body: bytes) -> list[Any]:
    try:
        return [_entry(each) for each in _listed(inquiry, body, go_json.decode(body, _CatalogPage)).repositories]
    except go_json.INVALID:
        raise page_error(inquiry) from None


_MAX_REFERRERS = 10_000
NO_REFERRERS_API = frozenset({400, 404, 405, 406, 501})
"""What registries without the API for referrers answer. The specification names 404 only; some say that the path is
wrong."""


class _WireReferrer(msgspec.Struct, rename="lower"):
    mediatype: str
    digest: str
    size: int
    artifacttype: str = ""
    annotations: dict[str, Any] = {}


class _Index(msgspec.Struct):
    manifests: list[msgspec.Raw] = []


def list_referrers(
    session: Session,
    base_url: str,
    subject: Reference,
    digest: Digest,
    now: Callable[[], float],
) -> tuple[Referrer, ...]:
    """List the referrers of a manifest: by the API, or by the fallback tag if the registry has no such API."""
    inquiry = Inquiry("listing referrers", str(subject.at(digest)))
    request = Request("GET", f"{base_url}/referrers/{digest}", {"Accept": media_types.OCI_INDEX}, inquiry)
    found: dict[Digest, Referrer] = {}
    for page in read_pages(session, request, now, (200, *NO_REFERRERS_API)):
        if not is_listing(page):
            return _by_tag(session, base_url, subject, digest)
        found.update((referrer.descriptor.digest, referrer) for referrer in referrers_in(inquiry, page.body))
        if len(found) > _MAX_REFERRERS:
            raise inquiry.error(ResponseTooLargeError, f"there are more than {_MAX_REFERRERS} referrers")
    return tuple(found.values())


def is_listing(page: Page) -> bool:
    """Tell whether an answer is a listing of referrers, and so whether the registry has the API."""
    return page.status == 200 and page.content_type.partition(";")[0].strip().lower() == media_types.OCI_INDEX


def _by_tag(session: Session, base_url: str, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
    reference = Reference(subject.repository, fallback_tag(digest))
    try:
        raw = manifests.get_manifest(session, f"{base_url}/manifests/{reference.tag}", reference)
    except NotFoundError:
        return ()
    if raw.descriptor.digest == digest:  # a registry that has no such tag, and takes its name for the digest
        return ()
    return tuple(referrers_in(Inquiry("listing referrers", str(reference)), raw.content))


def referrers_in(inquiry: Inquiry, content: bytes) -> list[Referrer]:
    """Read the referrers that an index lists; entries that are none are left out. Raises RegistryUnavailableError."""
    try:
        entries = go_json.decode(content, _Index).manifests
    except go_json.INVALID:
        raise page_error(inquiry) from None
    found = [referrer for entry in entries if (referrer := _referrer(entry)) is not None]
    _log_left_out(inquiry, len(entries) - len(found), "referrers")
    return found


def _referrer(content: msgspec.Raw) -> Referrer | None:
    try:
        entry = go_json.decode(content, _WireReferrer)
        descriptor = Descriptor(entry.mediatype, parse_digest(entry.digest), entry.size)
    except (*go_json.INVALID, InvalidDigestError):
        return None
    return Referrer(descriptor, entry.artifacttype, kinds_of((entry.artifacttype,), (entry.annotations,)))
