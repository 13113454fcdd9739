"""Manifests: what a tag or digest is, and the bytes, proved. Refuses to guess: what contradicts itself is an error.

Source: OCI distribution specification 1.1, "Pulling manifests" and "Checking if content exists in the registry".
"""

import email.message
from typing import NamedTuple

import msgspec

from pullahead.errors import DigestMismatchError, ResponseTooLargeError, UnsupportedMediaTypeError
from pullahead.oci import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
    InvalidDigestError,
    InvalidManifestError,
    RawManifest,
    Reference,
    algorithm_of,
    digest_of,
    media_types,
    parse_digest,
    sniff_media_type,
)
from pullahead.registry.exchange import PullSession
from pullahead.registry.failures import Inquiry
from pullahead.registry.responses import Response
from pullahead.registry.transport import Request

_HEAD_REFUSED = (404, 405)
"""What a registry answers to a HEAD that it does not offer. A thing is missing only where a GET says so, too."""

_GENERIC_TYPES = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
_ACCEPT = {"Accept": media_types.ACCEPT}


class _Answered(NamedTuple):
    """What the headers of an answer say: media type ("" where they don't), digest and size (None where they don't)."""

    media_type: str
    digest: Digest | None
    size: int | None


class _Declared(msgspec.Struct, rename="camel"):
    media_type: str | None = None


def head_manifest(exchange: PullSession, url: str, reference: Reference) -> Descriptor:
    """Resolve by HEAD; by GET where HEAD is refused or its answer leaves digest, size or media type open."""
    inquiry = Inquiry("head_manifest", str(reference))
    request = Request("HEAD", url, _ACCEPT, inquiry)

    def receive(response: Response, deadline: float) -> _Answered | None:
        exchange.receive_body(response, request, 0, deadline)
        return None if response.status_code in _HEAD_REFUSED else _read_headers(inquiry, response)

    answered = exchange.ask(request, receive, (200, *_HEAD_REFUSED))
    described = _describe(inquiry, answered, reference.digest) if answered is not None else None
    return described or _fetch(exchange, Request("GET", url, _ACCEPT, inquiry), reference).descriptor


def get_manifest(exchange: PullSession, url: str, reference: Reference) -> RawManifest:
    """Read a manifest and prove its bytes."""
    return _fetch(exchange, Request("GET", url, _ACCEPT, Inquiry("get_manifest", str(reference))), reference)


def _fetch(exchange: PullSession, request: Request, reference: Reference) -> RawManifest:
    def receive(response: Response, deadline: float) -> tuple[_Answered, bytes]:
        with response:
            answered = _read_headers(request.inquiry, response)
            return answered, exchange.receive_body(response, request, MAX_MANIFEST_BYTES, deadline)

    answered, content = exchange.ask(request, receive)
    media_type = _media_type_of(request.inquiry, answered.media_type, content)
    digest = _proved_digest(request.inquiry, content, asked=reference.digest, answered=answered.digest)
    return RawManifest(Descriptor(media_type, digest, len(content)), content)


def _describe(inquiry: Inquiry, answered: _Answered, asked: Digest | None) -> Descriptor | None:
    """Make a descriptor of headers alone, or None where they leave something open that only the bytes can tell."""
    digest, size = answered.digest, answered.size
    if digest is None or size is None or not answered.media_type:
        return None
    if asked is not None and algorithm_of(asked) != algorithm_of(digest):
        return None
    if asked is not None and asked != digest:
        raise inquiry.error(DigestMismatchError, f"it answers {digest} instead")
    return Descriptor(answered.media_type, digest, size)


def _read_headers(inquiry: Inquiry, response: Response) -> _Answered:
    size = response.length
    if size is not None and size > MAX_MANIFEST_BYTES:
        raise inquiry.error(ResponseTooLargeError, f"it announces {size} bytes, more than any manifest has")
    media_type = _content_type(response.headers.get("Content-Type", ""))
    if media_type and media_type not in media_types.INDEXES | media_types.MANIFESTS:
        raise inquiry.error(UnsupportedMediaTypeError, f"it is of a kind that cannot be copied: {media_type[:100]!r}")
    return _Answered(media_type, _header_digest(inquiry, response.headers.get("Docker-Content-Digest")), size)


def _content_type(header: str) -> str:
    message = email.message.Message()
    message["Content-Type"] = header
    media_type = message.get_content_type() if header.strip() else ""
    return "" if media_type in _GENERIC_TYPES else media_type


def _header_digest(inquiry: Inquiry, header: str | None) -> Digest | None:
    if header is None:
        return None
    try:
        return parse_digest(header.strip())
    except InvalidDigestError:
        raise inquiry.error(DigestMismatchError, "its Docker-Content-Digest is no digest") from None


def _media_type_of(inquiry: Inquiry, answered: str, content: bytes) -> str:
    """Tell the media type, from the headers or else the content, and refuse content that says another of itself.

    Content that one client takes for an index and another for a manifest is an attack (CVE-2021-41190). Both are to be
    equal by OCI distribution specification 1.1, "Pulling manifests", and ECR takes no others (API reference, PutImage).
    """
    try:
        media_type = answered or sniff_media_type(content)
        declared = msgspec.json.decode(content, type=_Declared).media_type
    except (InvalidManifestError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise inquiry.error(UnsupportedMediaTypeError, "it is no JSON manifest") from None
    if media_type not in media_types.INDEXES | media_types.MANIFESTS:
        raise inquiry.error(UnsupportedMediaTypeError, f"it is of a kind that cannot be copied: {media_type[:100]!r}")
    if declared and declared != media_type:
        cause = f"its content says {declared[:100]!r} where the registry says {media_type!r}"
        raise inquiry.error(UnsupportedMediaTypeError, cause)
    return media_type


def _proved_digest(inquiry: Inquiry, content: bytes, *, asked: Digest | None, answered: Digest | None) -> Digest:
    for promised in filter(None, (asked, answered)):
        computed = digest_of(content, algorithm_of(promised))
        if computed != promised:
            raise inquiry.error(
                DigestMismatchError, f"its bytes have the digest {computed}, not the promised {promised}"
            )
    return asked or answered or digest_of(content)
