"""Which of our errors an HTTP answer or a broken connection is. Never lets a URL, a header or a raw body through.

An exception of the HTTP library quotes the URL that it was busy with, whose query may be a signature. So our errors are
raised `from None`: the chained traceback in a log would print it.
"""

import email.utils
import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec
import requests
import urllib3.exceptions

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

HTTP_LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)
_BREAKS = (requests.ConnectionError, urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError)

_TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
_ANONYMOUS_ADVICE = "Check that it exists and may be read without credentials."
_MAX_EXPLANATION_CHARACTERS = 200

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
    """What is being asked, for the sake of errors: operation, reference, who else is asked on the way, and which end."""

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
    advice = _ANONYMOUS_ADVICE if kind is AccessDeniedError else ""
    error = inquiry.error(kind, f"{cause}{explanation}", status=status, advice=advice)
    return TransientError(error, retry_after_seconds(headers)) if status in _TRANSIENT_STATUSES else error


def broken_connection(inquiry: Inquiry, error: Exception) -> RegistryError | TransientError:
    """Tell what an exception of the HTTP library means, in words that hold nothing of the URL."""
    if isinstance(error, requests.ConnectTimeout):
        return TransientError(inquiry.error(RegistryTimeoutError, "it takes no connection in time"))
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return inquiry.error(RegistryTimeoutError, "it sends nothing for too long")
    if "CERTIFICATE_VERIFY_FAILED" in repr(error):
        return inquiry.error(RegistryUnavailableError, "its TLS certificate is not to be trusted")
    if isinstance(error, _BREAKS):
        return TransientError(inquiry.error(RegistryUnavailableError, _connection_cause(error)))
    return inquiry.error(RegistryUnavailableError, f"it cannot be asked ({type(error).__name__})")


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
    text = repr(error)  # only searched for names, never shown
    if "NameResolutionError" in text:
        return "its name cannot be resolved"
    if "NewConnectionError" in text:
        return "it takes no connection"
    if "IncompleteRead" in text:
        return "the connection ended in the middle of an answer"
    return "the connection broke"
