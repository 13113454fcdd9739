"""The tags of a repository, all of them. Decides nothing about which matter.

Source: OCI distribution specification 1.1, "Listing Tags".
"""

from collections.abc import Callable

import msgspec

from pullahead.errors import RegistryUnavailableError, ResponseTooLargeError
from pullahead.oci import Repository
from pullahead.oci.reference import is_tag
from pullahead.registry.exchange import Exchange
from pullahead.registry.failures import Inquiry
from pullahead.registry.paging import page_error, read_pages
from pullahead.registry.transport import Request

_PAGE_TAGS = 1000  # the most that ECR and distribution 3 allow; registries with smaller pages answer with fewer
_MAX_TAGS = 200_000
_MAX_IDLE_PAGES = 10
"""Pages in a row without a new tag. Some registries filter after paging, so that a page may be empty."""


class _Page(msgspec.Struct):
    tags: list[str] | None = None  # null where there are none: distribution before 2.7


def list_tags(exchange: Exchange, url: str, repository: Repository, now: Callable[[], float]) -> tuple[str, ...]:
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
        tags = msgspec.json.decode(body, type=_Page).tags or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise page_error(inquiry) from None
    if not all(map(is_tag, tags)):
        # What is shown on a terminal must not be able to steer it.
        raise inquiry.error(RegistryUnavailableError, "it lists a name that is no tag")
    return tags
