"""Which of our errors an HTTP response or a broken connection is, for reading and for writing.

Never lets a URL, a header or a raw body through. An exception from below may quote what it was busy with, such as a URL
whose query is a signature. So our errors are raised `from None`: the chained traceback in a log would print it.

Source: OCI distribution specification 1.1, "Error Codes"; and what registries answer beyond it, named below.
"""

import email.utils
import http.client
import re
import socket
import ssl
from collections.abc import Mapping

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
    Side,
    SigningDeniedError,
    TagImmutableError,
    UnsupportedMediaTypeError,
    UploadLostError,
)
from pullahead.registry import go_json
from pullahead.registry.request import Inquiry, ReadResponse, SentCredential, single_value

SOCKET_ERRORS = (OSError, http.client.HTTPException, UnicodeError)
"""What http.client and the sockets below it raise; UnicodeError for a host name that DNS cannot hold."""

_LASTING = frozenset({501, 505})
"""Server errors that a retry does not fix; all others may pass."""

GATEWAY_TROUBLE = frozenset({502, 503, 504})
"""What is said of a server's load or absence, whatever it was asked."""

_PASSING = frozenset({408, 425})
"""The same request may be sent again: RFC 9110, section 15.5.9 (it did not come in time); RFC 8470 (too early)."""

_MAX_EXPLANATION_CHARACTERS = 200
_NOT_ACCEPTED = "It does not accept this user name, password or token: mistyped, expired or revoked?"
_ANONYMOUS_ADVICE = {
    Side.UPSTREAM: (
        "Check the name: many registries answer so for what does not exist. If it is private, name a secret in "
        "`credentials` of {host} in the rules, or for a command run `docker login {host}`."
    ),
    Side.TARGET: "Run `docker login {host}`.",
}
_DENIED_ADVICE = {
    Side.UPSTREAM: "Check that its password or token is still valid, and that the name exists for this user.",
    Side.TARGET: "Check that its password or token is still valid, and that this user may write there.",
}
_IMMUTABLE_ADVICE = "Make the tag mutable in the registry, or write another tag."
_TRUST_ADVICE = (
    "If its authority is private, trust it: `ca` of this host in the rules, or --ca FILE for a command "
    "(--insecure HOST skips the verification)."
)
_NO_TLS_ADVICE = "If plain HTTP is meant, allow it: --insecure {host}, or `plain_http: true` of this host in the rules."

NO_TLS = "the host does not speak TLS"
_PLAIN_REASONS = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
"""What OpenSSL says of an answer in plain HTTP."""

# ECR and Quay say that the tag "is immutable", Harbor "configured as immutable", Artifactory "overwrite" and GitLab
# "protected"; each with a status of its own (400, 403, 405, 409, 412).
_IMMUTABLE = re.compile(r"immutab|overwrit|protected tag|tag is protected|already exists", re.IGNORECASE)

_READ_STATUSES: Mapping[int, tuple[type[RegistryError], str]] = {
    401: (AccessDeniedError, "access denied"),
    403: (AccessDeniedError, "access denied"),
    404: (NotFoundError, "not found"),
    406: (UnsupportedMediaTypeError, "not available in a media type that can be copied"),
    408: (RegistryTimeoutError, "the registry timed out waiting for the request"),
    410: (NotFoundError, "gone"),
    429: (RateLimitedError, "too many requests"),
    504: (RegistryTimeoutError, "gateway timeout"),
}
_WRITE_CODES: Mapping[str, type[RegistryError]] = {
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
_WRITE_STATUSES: Mapping[int, type[RegistryError]] = {
    **dict.fromkeys((400, 405, 406, 409, 411, 412, 413, 414, 415, 422), ManifestRefusedError),
    401: AccessDeniedError,
    403: AccessDeniedError,
    404: NotFoundError,
    408: RegistryTimeoutError,
    416: UploadLostError,
    429: RateLimitedError,
    504: RegistryTimeoutError,
}
_WRITE_CAUSES: Mapping[type[RegistryError], str] = {
    AccessDeniedError: "access denied",
    DigestMismatchError: "the registry computed another digest or size than promised",
    ManifestRefusedError: "refused",
    MissingContentError: "the registry lacks content that the manifest names",
    NotFoundError: "no such repository",
    RateLimitedError: "too many requests",
    RegistryTimeoutError: "the registry did not finish in time",
    UploadLostError: "the registry no longer knows this upload",
}
_TOO_LARGE = "the request is too large for the registry, or for a proxy before it"
_UNEXPECTED = "unexpected response"


class TransientError(Exception):
    """Never leaves this package: an error that a retry may fix, and how long the registry asks us to wait."""

    def __init__(self, error: RegistryError, retry_after_seconds: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.retry_after_seconds = error, retry_after_seconds


def failed_answer(inquiry: Inquiry, answer: ReadResponse) -> RegistryError | TransientError:
    """Make the error for a response whose status is not one of those expected."""
    kind, cause = _read_failure(answer) if inquiry.side is Side.UPSTREAM else _write_failure(answer)
    if inquiry.by_way_of and kind not in (AccessDeniedError, RateLimitedError):
        # What a token service lacks says nothing about the registry.
        kind, cause = RegistryUnavailableError, cause if kind is not RegistryUnavailableError else _UNEXPECTED
    advice = _access_advice(inquiry, answer.status) if kind is AccessDeniedError else ""
    if any(SigningDeniedError.is_reported_by(message) for _, message in _errors_in(answer.body)):
        kind, advice = SigningDeniedError, SigningDeniedError.ADVICE
    cause, code = f"{cause}{explain(answer.body)}", error_code(answer)
    wait = retry_after_seconds(answer.headers)
    if kind is RateLimitedError:
        limited = inquiry.error(RateLimitedError, cause, status=answer.status, code=code, retry_after_seconds=wait)
        return TransientError(limited, wait)
    error = inquiry.error(kind, cause, status=answer.status, advice=advice, code=code)
    may_pass = answer.status in _PASSING or (answer.status >= 500 and answer.status not in _LASTING)
    return TransientError(error, wait) if may_pass else error


def _access_advice(inquiry: Inquiry, status: int) -> str:
    sent = inquiry.sent or SentCredential()
    if not sent.credential and not sent.unused:
        return _ANONYMOUS_ADVICE[inquiry.side].format(host=inquiry.reference.partition("/")[0])
    return _NOT_ACCEPTED if status == 401 and inquiry.by_way_of else _DENIED_ADVICE[inquiry.side]


def refused_tag(inquiry: Inquiry, answer: ReadResponse) -> RegistryError | TransientError:
    """Make the error for a manifest that was refused under a tag."""
    explanation = explain(answer.body)
    if 400 <= answer.status < 500 and _IMMUTABLE.search(explanation):
        cause = f"the tag is immutable{explanation}"
        return inquiry.error(TagImmutableError, cause, status=answer.status, advice=_IMMUTABLE_ADVICE)
    return failed_answer(inquiry, answer)


def broken_connection(
    inquiry: Inquiry, error: BaseException, *, connecting: bool = False
) -> RegistryError | TransientError:
    """Make the error for an exception of a socket, in words that hold nothing of the URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        cause = "the TLS certificate is not trusted"
        return inquiry.error(RegistryUnavailableError, cause, advice=_TRUST_ADVICE)
    if isinstance(error, ssl.SSLError) and error.reason in _PLAIN_REASONS:
        host = "HOST" if inquiry.by_way_of else inquiry.reference.partition("/")[0]
        return inquiry.error(RegistryUnavailableError, NO_TLS, advice=_NO_TLS_ADVICE.format(host=host))
    if isinstance(error, UnicodeError):
        return inquiry.error(RegistryUnavailableError, "the host name is invalid")
    if isinstance(error, TimeoutError):
        if connecting:
            return TransientError(inquiry.error(RegistryTimeoutError, "connection timed out"))
        return inquiry.error(RegistryTimeoutError, "timed out")
    if isinstance(error, OSError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return TransientError(inquiry.error(RegistryUnavailableError, _connection_cause(error)))
    return inquiry.error(RegistryUnavailableError, f"the response is not valid HTTP ({type(error).__name__})")


def is_without_tls(error: BaseException | None) -> bool:
    """Tell whether a TLS handshake failed because the other end speaks something else, or hangs up on it."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, ssl.SSLEOFError) or error.reason in _PLAIN_REASONS
    return isinstance(error, ConnectionError)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After (RFC 9110 section 10.2.3); a date is compared with the response's own Date."""
    text = single_value(headers, "Retry-After")
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
        answered = email.utils.parsedate_to_datetime(single_value(headers, "Date"))
        return max(0.0, (until - answered).total_seconds())
    except (TypeError, ValueError, LookupError, ArithmeticError):  # not a date: as if absent
        return None


def explain(body: bytes) -> str:
    """Put the registry's own words (OCI distribution specification 1.1, "Error Codes") into one safe, short line.

    A body of any other form is left out: storage services put the signature that they refuse into theirs.
    """
    words = "; ".join(" ".join(filter(None, each)) for each in _errors_in(body))
    safe = re.sub(r"\?\S*", "?…", re.sub(r"[^ -~]+", " ", words)).strip()
    return f" ({safe[:_MAX_EXPLANATION_CHARACTERS]})" if safe else ""


def error_code(answer: ReadResponse) -> str:
    """Read the first error code of a response; "" if it has none."""
    return next((code.upper() for code, _ in _errors_in(answer.body) if code), "")


def _errors_in(body: bytes) -> list[tuple[str, str]]:
    """List the code and the message of each error; what is no text is ""."""
    try:
        entries = msgspec.json.decode(go_json.members(body).get("errors", b"[]"), type=list[msgspec.Raw])
        errors = [go_json.members(entry) for entry in entries if bytes(entry).startswith(b"{")]
        return [(_text(error.get("code")), _text(error.get("message"))) for error in errors]
    except go_json.INVALID:
        return []


def _text(member: msgspec.Raw | None) -> str:
    is_text = member is not None and bytes(member).startswith(b'"')
    return msgspec.json.decode(member, type=str) if member is not None and is_text else ""


def _read_failure(answer: ReadResponse) -> tuple[type[RegistryError], str]:
    return _READ_STATUSES.get(answer.status, (RegistryUnavailableError, _UNEXPECTED))


def _write_failure(answer: ReadResponse) -> tuple[type[RegistryError], str]:
    kind = _WRITE_STATUSES.get(answer.status, RegistryUnavailableError)
    # A 5xx is trouble of the registry whatever its code; and for these statuses a code adds nothing.
    if answer.status < 500 and answer.status not in (401, 403, 408, 413, 429):
        kind = _WRITE_CODES.get(error_code(answer), kind)
    return kind, _TOO_LARGE if answer.status == 413 else _WRITE_CAUSES.get(kind, _UNEXPECTED)


def _connection_cause(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended in the middle of a response"
    return "the connection broke"
