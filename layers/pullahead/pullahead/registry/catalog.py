"""The repositories of a registry below a path. Decides when a registry has to be taken for one that lists nothing.

Source: CNCF distribution, HTTP API V2, "Catalog". The OCI specification has no such listing. The great public
registries refuse it or answer it empty, so an empty answer is no wish to follow nothing.
"""

from collections.abc import Callable

import msgspec

from pullahead.errors import (
    AccessDeniedError,
    ListingRefusedError,
    NotFoundError,
    RegistryError,
    RegistryUnavailableError,
    ResponseTooLargeError,
)
from pullahead.oci import InvalidReferenceError, Reference, Repository, parse_reference
from pullahead.registry.exchange import Exchange
from pullahead.registry.failures import Inquiry
from pullahead.registry.paging import page_error, read_pages
from pullahead.registry.transport import Request

_PAGE = 1000
_MAX_REPOSITORIES = 10_000  # below the path
_ADVICE = "Name its repositories in the rules instead."
_REFUSALS = frozenset({400, 401, 403, 404, 405, 406, 501})
"""What registries answer that know no catalog, or keep it to themselves."""


class _Page(msgspec.Struct):
    repositories: list[str] | None = None


def list_repositories(
    exchange: Exchange, url: str, registry: str, prefix: str, now: Callable[[], float]
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
        return msgspec.json.decode(body, type=_Page).repositories or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise page_error(inquiry) from None
