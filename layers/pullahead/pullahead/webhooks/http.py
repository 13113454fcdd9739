"""HTTP requests to the webhook function URL, bounded before they are read, and the responses to them.

AWS Lambda Developer Guide, "Invoking Lambda function URLs", "Request payload format" (version 2.0).
"""

import base64
import binascii
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from pullahead.errors import InvalidEventError, PullaheadError

RETRY_AFTER_SECONDS: Final = 60
_HEADERS: Final = MappingProxyType({"content-type": "application/json", "cache-control": "no-store"})
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class WebhookOutcome(StrEnum):
    """What became of a request. Each is a value of a metric's dimension, so there are few."""

    ACCEPTED = "accepted"
    MERGED = "merged"  # checks of everything that it names are already queued
    IGNORED = "ignored"  # it moves no tag that a rule follows
    UNKNOWN = "unknown"  # no such sender, or no rule follows the repository
    UNAUTHENTICATED = "unauthenticated"
    MALFORMED = "malformed"
    REPLAYED = "replayed"
    LIMITED = "limited"  # the sender asks for too many checks
    FAILED = "failed"  # AWS failed, or the rules are invalid: the sender may retry


class WebhookResponse(NamedTuple):
    """A response. `sender`, `mirrors` and `error` are for the log only."""

    status: int
    outcome: WebhookOutcome
    body: Mapping[str, object]
    headers: Mapping[str, str] = _NONE
    sender: str = ""
    mirrors: tuple[str, ...] = ()
    error: PullaheadError | None = None

    def to_event(self) -> dict[str, Any]:
        """Write the event of the response (AWS Lambda Developer Guide, "Response payload format")."""
        text = msgspec.json.encode(dict(self.body)).decode()
        return {"statusCode": self.status, "headers": {**_HEADERS, **self.headers}, "body": text}


class RefusedWebhookError(PullaheadError):
    """A request that is refused, with the response to it."""

    def __init__(self, response: WebhookResponse) -> None:
        super().__init__(f"HTTP {response.status}: {response.body}")
        self.response = response


def refuse(status: int, outcome: WebhookOutcome, text: str, **headers: str) -> RefusedWebhookError:
    """Make a refusal."""
    return RefusedWebhookError(WebhookResponse(status, outcome, {"error": text}, headers))


def bad_request(text: str) -> RefusedWebhookError:
    """Refuse a malformed request."""
    return refuse(400, WebhookOutcome.MALFORMED, text)


def unavailable(error: PullaheadError) -> WebhookResponse:
    """Ask the sender to retry."""
    body = {"error": "the request could not be processed; retry later"}
    return WebhookResponse(503, WebhookOutcome.FAILED, body, {"retry-after": str(RETRY_AFTER_SECONDS)}, error=error)


MAX_BODY_BYTES: Final = 256 * 1024
_MAX_PATH_CHARACTERS: Final = 1024


class WebhookRequest(NamedTuple):
    """A request: the parts of its path, its headers by lower-case name, and its body as it was signed."""

    method: str
    parts: tuple[str, ...]
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's value, "" if it is not set."""
        return self.headers.get(name, "")


class _Http(msgspec.Struct, frozen=True):
    method: str


class _Context(msgspec.Struct, frozen=True):
    http: _Http


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    raw_path: str
    request_context: _Context
    headers: dict[str, str] = {}
    body: str | None = None
    is_base64_encoded: bool = False


def read_webhook_request(event: object) -> WebhookRequest:
    """Read the event of a function URL.

    Raises: InvalidEventError if it is none; RefusedWebhookError if the path or body is too long.
    """
    try:
        read = msgspec.convert(event, type=_Event)
    except msgspec.ValidationError as error:
        raise InvalidEventError(f"the event of a function URL: {error}") from error
    if len(read.raw_path) > _MAX_PATH_CHARACTERS:
        raise refuse(404, WebhookOutcome.UNKNOWN, "not found")
    parts = tuple(part for part in read.raw_path.split("/") if part)
    headers = {name.lower(): value for name, value in read.headers.items()}
    return WebhookRequest(read.request_context.http.method.upper(), parts, headers, _body(read))


def _body(event: _Event) -> bytes:
    text = event.body or ""
    # Base64 takes four characters for three bytes: a longer text is too long without decoding it.
    if len(text) > (MAX_BODY_BYTES * 4 // 3 + 4 if event.is_base64_encoded else MAX_BODY_BYTES):
        raise _too_large()
    try:
        body = base64.b64decode(text, validate=True) if event.is_base64_encoded else text.encode()
    except (binascii.Error, ValueError):  # not base64, or half of a surrogate pair
        raise bad_request("the body cannot be decoded") from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> Exception:
    return refuse(413, WebhookOutcome.MALFORMED, f"the body is larger than {MAX_BODY_BYTES} bytes")
