"""Which of our errors an HTTP answer or a broken connection is. Never lets a URL, a header or a raw body through.

An exception of the HTTP library quotes the URL that it was busy with, whose query may be a signature. So errors are raised
`from None`: a chained traceback in a log would print it.
"""

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

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

_TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
_ANONYMOUS_ADVICE = "Check that it exists and may be read without credentials."
_MAX_EXPLANATION_CHARACTERS = 200

_STATUSES: Mapping[int, tuple[type[RegistryError], str]] = {
    401: (AccessDeniedError, "it refuses access"),
    403: (AccessDeniedError, "it refuses access"),
    404: (NotFoundError, "it has no such thing"),
    410: (NotFoundError, "it has no such thing any more"),
    406: (UnsupportedMediaTypeError, "it has it only as a kind that cannot be copied"),
    408: (RegistryTimeoutError, "it waited too long for the request"),
    429: (RateLimitedError, "it limits the rate of requests"),
    504: (RegistryTimeoutError, "its gateway waited too long"),
}


class Inquiry(NamedTuple):
    """What is asked, for the sake of errors: the operation, the reference, and who else had to be asked on the way."""

    operation: str
    reference: str
    by_way_of: str = ""

    def error[E: RegistryError](self, kind: type[E], cause: str, *, status: int | None = None, advice: str = "") -> E:
        """Make an error about this inquiry."""
        cause = f"{self.by_way_of}: {cause}" if self.by_way_of else cause
        return kind(
            cause,
            operation=self.operation,
            side=Side.UPSTREAM,
            reference=self.reference,
            status=status,
            advice=advice,
        )


class TransientError(Exception):
    """Never leaves this package: an error that another try may mend, and how long the registry asks us to wait."""

    def __init__(self, error: RegistryError, retry_after_seconds: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.retry_after_seconds = error, retry_after_seconds
