"""Manifests: what a tag or digest is, and the bytes, verified. Never guesses: what contradicts itself is an error.

Source: OCI distribution specification 1.1, "Pulling manifests" and "Checking if content exists in the registry".
"""

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    ResponseTooLargeError,
    UnsupportedMediaTypeError,
)
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
from pullahead.oci.manifest import AmbiguousManifestError, check_keys
from pullahead.registry.errors import GATEWAY_TROUBLE, failed_answer
from pullahead.registry.http import Response
from pullahead.registry.request import Inquiry, ReadResponse, Request, single_value
from pullahead.registry.session import MAX_TRIES, Session

_DENIED = (401, 403)
_GENERIC_TYPES = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
_ACCEPT = {"Accept": media_types.ACCEPT}


class _ManifestHeaders(NamedTuple):
    """What the headers of an answer say: media type ("" if they don't), digest and size (None if they don't)."""

    media_type: str
    digest: Digest | None
    size: int | None


class _MediaTypeField(msgspec.Struct, rename="camel"):
    media_type: str | None = None


def head_manifest(session: Session, url: str, reference: Reference, *, by_event: bool = False) -> Descriptor:
    """Resolve by HEAD; by GET if HEAD is refused or its answer lacks digest, size or media type.

    Registries and proxies refuse a method that they do not know by all kinds of statuses. A refusal is believed only if
    a GET is answered so, too.
    """
    try:
        described = _head(session, url, reference, by_event=by_event)
    except RegistryError as error:
        if not may_mean_head(error):
            raise
        tries = 1 if error.retryable else MAX_TRIES
        return get_manifest(session, url, reference, tries=tries, by_event=by_event).descriptor
    return described or get_manifest(session, url, reference, by_event=by_event).descriptor


def find_manifest(session: Session, url: str, reference: Reference) -> Descriptor | None:
    """Resolve what may well not exist by one HEAD, whose 404 is believed; by GET if HEAD is refused otherwise.

    For the tags of signatures and the like, of which most manifests have none: a GET for each would count as a pull.
    """
    try:
        described = _head(session, url, reference)
    except NotFoundError:
        return None
    except RegistryError as error:
        if not may_mean_head(error):
            raise
        described = None
    try:
        return described or get_manifest(session, url, reference).descriptor
    except NotFoundError:
        return None


def _head(session: Session, url: str, reference: Reference, *, by_event: bool = False) -> Descriptor | None:
    """Resolve by HEAD alone; None where its answer says too little, or denies without saying what it wants."""
    inquiry = Inquiry("HEAD manifest", str(reference))
    request = Request("HEAD", url, _ACCEPT, inquiry, by_event=by_event)

    def receive(response: Response, deadline: float) -> _ManifestHeaders | None:
        session.receive_body(response, request, 0, deadline)
        if response.status_code in _DENIED and "WWW-Authenticate" in response.headers:
            # The registry means us, and not HEAD: a wrong password is not to be tried twice.
            raise failed_answer(session.identified(request), ReadResponse(response.status_code, response.headers))
        is_answered = response.status_code == 200 and not response.coding and not _is_a_page(response)
        return _read_headers(inquiry, response) if is_answered else None

    answered = session.ask(request, receive, (200, *_DENIED))
    return None if answered is None else _describe(inquiry, answered, reference.digest)


def may_mean_head(error: RegistryError) -> bool:
    """Tell whether a registry may have refused the method, and not what was asked for, or us."""
    is_denied = isinstance(error, RateLimitedError | AccessDeniedError)
    return error.status is not None and not error.by_way_of and not is_denied and error.status not in GATEWAY_TROUBLE


def _is_a_page(response: Response) -> bool:
    """Tell whether an answer is no registry's: a proxy's page, for example."""
    media_type = _content_type(response.headers)
    return media_type != "" and not media_type.startswith("application/vnd.")


def get_manifest(
    session: Session, url: str, reference: Reference, *, tries: int = MAX_TRIES, by_event: bool = False
) -> RawManifest:
    """Read a manifest and verify its bytes."""
    inquiry = Inquiry("reading the manifest", str(reference))
    request = Request("GET", url, _ACCEPT, inquiry, by_event=by_event)

    def receive(response: Response, deadline: float) -> tuple[_ManifestHeaders, bytes]:
        with response:
            answered = _read_headers(request.inquiry, response)
            return answered, session.receive_body(response, request, MAX_MANIFEST_BYTES, deadline)

    answered, content = session.ask(request, receive, tries=tries)
    return _proven(request.inquiry, answered, content, reference.digest)


def received_manifest(inquiry: Inquiry, answer: ReadResponse) -> RawManifest:
    """Make the manifest that was answered for a tag, its bytes verified. Raises: as `get_manifest`."""
    answered = _ManifestHeaders(_content_type(answer.headers), header_digest(inquiry, answer.headers), len(answer.body))
    return _proven(inquiry, answered, answer.body, None)


def _proven(inquiry: Inquiry, answered: _ManifestHeaders, content: bytes, asked: Digest | None) -> RawManifest:
    media_type = media_type_of(inquiry, answered.media_type, content)
    digest = _verified_digest(inquiry, content, asked=asked, answered=answered.digest)
    return RawManifest(Descriptor(media_type, digest, len(content)), content)


def _describe(inquiry: Inquiry, answered: _ManifestHeaders, asked: Digest | None) -> Descriptor | None:
    """Make a descriptor of the headers alone; None if only the bytes can tell."""
    digest, size = answered.digest, answered.size
    if digest is None or not size or not answered.media_type:
        return None
    if asked is not None and algorithm_of(asked) != algorithm_of(digest):
        return None
    if asked is not None and asked != digest:
        raise inquiry.error(DigestMismatchError, f"the registry answers with {digest}")
    return Descriptor(answered.media_type, digest, size)


def _read_headers(inquiry: Inquiry, response: Response) -> _ManifestHeaders:
    size = response.length
    if size is not None and size > MAX_MANIFEST_BYTES:
        raise inquiry.error(ResponseTooLargeError, f"the response has {size} bytes, more than any manifest")
    media_type = _content_type(response.headers)
    if media_type and media_type not in media_types.INDEXES | media_types.MANIFESTS:
        raise inquiry.error(UnsupportedMediaTypeError, f"media type {media_type[:100]!r} cannot be copied")
    return _ManifestHeaders(media_type, header_digest(inquiry, response.headers), size)


def _content_type(headers: Mapping[str, str]) -> str:
    media_type = single_value(headers, "Content-Type").partition(";")[0].strip().lower()
    return "" if media_type in _GENERIC_TYPES or media_type.count("/") != 1 else media_type


def header_digest(inquiry: Inquiry, headers: Mapping[str, str]) -> Digest | None:
    """Read Docker-Content-Digest. What is no digest is as if absent: the bytes decide. Raises DigestMismatchError."""
    found: dict[str, Digest] = {}
    for text in headers.get("Docker-Content-Digest", "").split(","):
        with contextlib.suppress(InvalidDigestError):
            digest = parse_digest(text.strip().strip('"'))
            if found.setdefault(algorithm_of(digest), digest) != digest:
                cause = "the response has two different digests in Docker-Content-Digest"
                raise inquiry.error(DigestMismatchError, cause)
    return found.get("sha256") or next(iter(found.values()), None)


def media_type_of(inquiry: Inquiry, answered: str, content: bytes) -> str:
    """Tell the media type, from the headers or else the content, and refuse content that contradicts it.

    Content that one client takes for an index and another for a manifest is an attack (CVE-2021-41190). Both are to be
    equal by OCI distribution specification 1.1, "Pulling manifests", and ECR takes no others (API reference, PutImage).
    """
    try:
        check_keys(content)
        media_type = answered or sniff_media_type(content)
        declared = msgspec.json.decode(content, type=_MediaTypeField).media_type
    except AmbiguousManifestError as error:
        raise inquiry.error(UnsupportedMediaTypeError, f"the manifest has {error}") from None
    except (InvalidManifestError, msgspec.DecodeError, ValueError, RecursionError):
        raise inquiry.error(UnsupportedMediaTypeError, "the content is not a JSON manifest") from None
    if media_type not in media_types.INDEXES | media_types.MANIFESTS:
        raise inquiry.error(UnsupportedMediaTypeError, f"media type {media_type[:100]!r} cannot be copied")
    if declared and declared != media_type:
        cause = f"the content says media type {declared[:100]!r}, the registry {media_type!r}"
        raise inquiry.error(UnsupportedMediaTypeError, cause)
    return media_type


def _verified_digest(inquiry: Inquiry, content: bytes, *, asked: Digest | None, answered: Digest | None) -> Digest:
    for promised in filter(None, (asked, answered)):
        computed = digest_of(content, algorithm_of(promised))
        if computed != promised:
            raise inquiry.error(
                DigestMismatchError, f"the bytes have the digest {computed}, not the promised {promised}"
            )
    return asked or answered or digest_of(content)
