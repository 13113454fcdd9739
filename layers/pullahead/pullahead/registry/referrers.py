"""Who refers to a manifest: signatures, attestations, SBOMs. Decides where that is to be read; trusts none of it.

Source: OCI distribution specification 1.1, "Listing Referrers" and "Referrers Tag Schema".
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pullahead.errors import NotFoundError, RegistryUnavailableError, ResponseTooLargeError
from pullahead.oci import Descriptor, Digest, InvalidDigestError, Reference, media_types, parse_digest
from pullahead.registry import manifests
from pullahead.registry.exchange import Exchange
from pullahead.registry.failures import Inquiry
from pullahead.registry.paging import Page, page_error, read_pages
from pullahead.registry.transport import Request

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
    exchange: Exchange, base_url: str, subject: Reference, digest: Digest, now: Callable[[], float]
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


def _by_tag(exchange: Exchange, base_url: str, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
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
