"""What the refusals of an OCI registry mean to a copy that writes to it. Lets no URL and no raw body through.

Source: OCI distribution specification 1.1, "Error Codes"; and what registries answer beyond it, named below.
"""

import re

import msgspec

from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    ManifestRefusedError,
    MissingContentError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    TagImmutableError,
    UploadLostError,
)
from pullahead.registry.connections import Answer
from pullahead.registry.failures import Inquiry, TransientError, explain, retry_after_seconds

_TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
_ACCESS_ADVICE = "Check the credential for this registry, and that it may write there."
_IMMUTABLE_ADVICE = "Make the tag mutable in the registry, or write another tag."

# ECR and Quay say that the tag "is immutable", Harbor "configured as immutable", Artifactory "overwrite" and GitLab
# "protected"; each with a status of its own (400, 403, 405, 409, 412).
_IMMUTABLE = re.compile(r"immutab|overwrit|protected tag|tag is protected|already exists", re.IGNORECASE)

_CODES: dict[str, type[RegistryError]] = {
    "BLOB_UNKNOWN": MissingContentError,
    "BLOB_UPLOAD_INVALID": UploadLostError,
    "BLOB_UPLOAD_UNKNOWN": UploadLostError,
    "DENIED": AccessDeniedError,
    "DIGEST_INVALID": DigestMismatchError,
    "MANIFEST_BLOB_UNKNOWN": MissingContentError,
    "MANIFEST_INVALID": ManifestRefusedError,
    "MANIFEST_UNKNOWN": MissingContentError,
    "NAME_INVALID": NotFoundError,
    "NAME_UNKNOWN": NotFoundError,
    "RANGE_INVALID": UploadLostError,
    "SIZE_INVALID": DigestMismatchError,
    "TOOMANYREQUESTS": RateLimitedError,
    "UNAUTHORIZED": AccessDeniedError,
}
_STATUSES: dict[int, type[RegistryError]] = {
    400: ManifestRefusedError,
    401: AccessDeniedError,
    403: AccessDeniedError,
    404: NotFoundError,
    405: ManifestRefusedError,
    406: ManifestRefusedError,
    408: RegistryTimeoutError,
    409: ManifestRefusedError,
    411: ManifestRefusedError,
    412: ManifestRefusedError,
    413: ManifestRefusedError,
    414: ManifestRefusedError,
    415: ManifestRefusedError,
    416: UploadLostError,
    422: ManifestRefusedError,
    429: RateLimitedError,
    504: RegistryTimeoutError,
}
_CAUSES: dict[type[RegistryError], str] = {
    AccessDeniedError: "it refuses access",
    DigestMismatchError: "it finds other bytes than were promised",
    ManifestRefusedError: "it refuses what it was sent",
    MissingContentError: "it lacks what the manifest names",
    NotFoundError: "it has no such repository",
    RateLimitedError: "it limits the rate of requests",
    RegistryTimeoutError: "it did not finish in time",
    UploadLostError: "it no longer has this upload",
}


class _WireError(msgspec.Struct):
    code: str = ""


class _WireErrors(msgspec.Struct):
    errors: list[_WireError] = []


def refused(inquiry: Inquiry, answer: Answer) -> RegistryError | TransientError:
    """Tell what an answer means that is none of those hoped for."""
    kind = _kind_of(answer)
    if inquiry.by_way_of and kind is not AccessDeniedError and kind is not RateLimitedError:
        kind = RegistryUnavailableError  # what a token service lacks says nothing about the registry
    cause = f"{_CAUSES.get(kind, 'it gives an answer that is of no use')}{explain(answer.body)}"
    wait = retry_after_seconds(answer.headers)
    if kind is RateLimitedError:
        limited = inquiry.error(RateLimitedError, cause, status=answer.status, retry_after_seconds=wait)
        return TransientError(limited, wait)
    advice = _ACCESS_ADVICE if kind is AccessDeniedError else ""
    error = inquiry.error(kind, cause, status=answer.status, advice=advice)
    return TransientError(error, wait) if answer.status in _TRANSIENT_STATUSES else error


def refused_tag(inquiry: Inquiry, answer: Answer) -> RegistryError | TransientError:
    """Tell what an answer means to a manifest that was to get a tag."""
    explanation = explain(answer.body)
    if 400 <= answer.status < 500 and _IMMUTABLE.search(explanation):
        cause = f"the tag may not be moved{explanation}"
        return inquiry.error(TagImmutableError, cause, status=answer.status, advice=_IMMUTABLE_ADVICE)
    return refused(inquiry, answer)


def _kind_of(answer: Answer) -> type[RegistryError]:
    if answer.status >= 500:
        return _STATUSES.get(answer.status, RegistryUnavailableError)
    by_status = _STATUSES.get(answer.status, RegistryUnavailableError)
    # Where the status says that nobody is let in, or that it is too much, a code adds nothing.
    if answer.status in (401, 403, 408, 413, 429):
        return by_status
    return _CODES.get(_code_of(answer), by_status)


def _code_of(answer: Answer) -> str:
    try:
        errors = msgspec.json.decode(answer.body, type=_WireErrors).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return errors[0].code.upper() if errors else ""
