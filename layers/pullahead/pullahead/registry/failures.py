"""Which of our errors an HTTP answer or a broken connection is. Never lets a URL, a header or a raw body through.

An exception from below may quote what it was busy with, such as a URL whose query is a signature. So our errors are
raised `from None`: the chained traceback in a log would print it.
"""

import email.utils
import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec

from pullahead.errors import (
    AccessDeniedError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    Side,
    UnsupportedMediaTypeError,
)

SOCKET_ERRORS = (OSError, http.client.HTTPException, UnicodeError)
"""What http.client and the sockets below it raise; UnicodeError for a host's name that DNS cannot hold."""

_TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
_ACCESS_ADVICE = "Check that it exists, and that it may be read without credentials or with those that are configured."
_MAX_EXPLANATION_CHARACTERS = 200

NO_TLS = "it speaks no TLS, and plain HTTP is not allowed for this host"

_STATUSES: Mapping[int, tuple[type[RegistryError], str]] = {
    401: (AccessDeniedError, "it refuses access"),
    403: (AccessDeniedError, "it refuses access"),
    404: (NotFoundError, "it has no such thing"),
    406: (UnsupportedMediaTypeError, "it has it only as a kind that cannot be copied"),
    408: (RegistryTimeoutError, "it waited too long for the request"),
    410: (NotFoundError, "it has no such thing any more"),
    504: (RegistryTimeoutError, "its gateway waited too long for an answer"),
}

_Error = TypeVar("_Error", bound=RegistryError)


class Inquiry(NamedTuple):
    """What is being asked, for the sake of errors: operation, reference, who else is asked on the way, which end."""

    operation: str
    reference: str
    by_way_of: str = ""
    side: Side = Side.UPSTREAM

    def error(
        self, kind: type[_Error], cause: str, *, status: int | None = None, advice: str = "", **details: float | None
    ) -> _Error:
        """Make an error about this inquiry; the error may have details of its own."""
        return kind(
            f"{self.by_way_of}: {cause}" if self.by_way_of else cause,
            operation=self.operation,
            side=self.side,
            reference=self.reference,
            status=status,
            advice=advice,
            **details,
        )


class TransientError(Exception):
    """Never leaves this package: an error that another try may mend, and how long the registry asks us to wait."""

    def __init__(self, error: RegistryError, retry_after_seconds: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.retry_after_seconds = error, retry_after_seconds


def failed_answer(
    inquiry: Inquiry, status: int, headers: Mapping[str, str], body: bytes
) -> RegistryError | TransientError:
    """Tell what an answer means that is none of those hoped for."""
    explanation = explain(body)
    if status == 429:
        wait = retry_after_seconds(headers)
        cause = f"it limits the rate of requests{explanation}"
        limited = inquiry.error(RateLimitedError, cause, status=status, retry_after_seconds=wait)
        return TransientError(limited, wait)
    kind, cause = _STATUSES.get(status, (RegistryUnavailableError, "it gives an answer that is of no use"))
    if inquiry.by_way_of and kind is not AccessDeniedError:
        kind = RegistryUnavailableError  # what somebody else does not have says nothing about the reference
    advice = _ACCESS_ADVICE if kind is AccessDeniedError else ""
    error = inquiry.error(kind, f"{cause}{explanation}", status=status, advice=advice)
    return TransientError(error, retry_after_seconds(headers)) if status in _TRANSIENT_STATUSES else error


def broken_connection(
    inquiry: Inquiry, error: Exception, *, connecting: bool = False
) -> RegistryError | TransientError:
    """Tell what an exception of a socket means, in words that hold nothing of the URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return inquiry.error(RegistryUnavailableError, "its TLS certificate is not to be trusted")
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return inquiry.error(RegistryUnavailableError, NO_TLS)
    if isinstance(error, UnicodeError):
        return inquiry.error(RegistryUnavailableError, "its name is none that could be resolved")
    if isinstance(error, TimeoutError):
        if connecting:
            return TransientError(inquiry.error(RegistryTimeoutError, "it takes no connection in time"))
        return inquiry.error(RegistryTimeoutError, "it neither takes nor sends anything for too long")
    if isinstance(error, OSError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return TransientError(inquiry.error(RegistryUnavailableError, _connection_cause(error)))
    return inquiry.error(RegistryUnavailableError, f"it does not speak HTTP as it should ({type(error).__name__})")


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After (RFC 9110 section 10.2.3), whose date is taken against the answer's own Date."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
        answered = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (until - answered).total_seconds())
    except (TypeError, ValueError):  # one of them is missing or no date: then nothing was asked of us
        return None


class _WireError(msgspec.Struct):
    code: str = ""
    message: str = ""


class _WireErrors(msgspec.Struct):
    errors: list[_WireError] = []


def explain(body: bytes) -> str:
    """Put the registry's own words (OCI distribution specification 1.1, "Error Codes") into one safe, short line.

    A body of any other form is left out: storage services put the signature that they refuse into theirs.
    """
    try:
        errors = msgspec.json.decode(body, type=_WireErrors).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    words = "; ".join(f"{error.code} {error.message}".strip() for error in errors)
    safe = re.sub(r"\?\S*", "?…", re.sub(r"[^ -~]+", " ", words)).strip()
    return f" ({safe[:_MAX_EXPLANATION_CHARACTERS]})" if safe else ""


def _connection_cause(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "it takes no connection"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended in the middle of an answer"
    return "the connection broke"
