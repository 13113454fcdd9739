"""One HTTP call as Lambda hands it over, bounded before anything reads it. Knows no sender.

AWS Lambda Developer Guide, "Invoking Lambda function URLs", "Request payload format" (version 2.0).

What a sender of webhooks is answered, and what its call is counted as. Decides no call.
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
    """What a call is counted as; each is a metric of its own, so there are few."""

    ACCEPTED = "accepted"
    MERGED = "merged"  # all that it names is being looked at already
    IGNORED = "ignored"  # an event that moves no tag that a rule follows
    UNKNOWN = "unknown"  # no such sender, or no rule follows the repository
    UNAUTHENTICATED = "unauthenticated"
    MALFORMED = "malformed"
    REPLAYED = "replayed"
    FAILED = "failed"  # AWS, or our rules, did not do as asked: the sender may try again


class WebhookResponse(NamedTuple):
    """One answer. `sender`, `mirrors` and `error` are for our log; the sender is told nothing of them."""

    status: int
    outcome: WebhookOutcome
    told: Mapping[str, object]
    headers: Mapping[str, str] = _NONE
    sender: str = ""
    mirrors: tuple[str, ...] = ()
    error: PullaheadError | None = None

    def to_event(self) -> dict[str, Any]:
        """Write it as a function URL wants it (AWS Lambda Developer Guide, "Response payload format")."""
        body = msgspec.json.encode(dict(self.told)).decode()
        return {"statusCode": self.status, "headers": {**_HEADERS, **self.headers}, "body": body}


class RefusedWebhookError(PullaheadError):
    """A call that is not acted upon, with the answer to it."""

    def __init__(self, answer: WebhookResponse) -> None:
        super().__init__(f"HTTP {answer.status}: {answer.told}")
        self.answer = answer


def refuse(status: int, outcome: WebhookOutcome, text: str, **headers: str) -> RefusedWebhookError:
    """Make the refusal of a call."""
    return RefusedWebhookError(WebhookResponse(status, outcome, {"error": text}, headers))


def bad_request(text: str) -> RefusedWebhookError:
    """Refuse a call that cannot be understood."""
    return refuse(400, WebhookOutcome.MALFORMED, text)


def unavailable(error: PullaheadError) -> WebhookResponse:
    """Ask for another try: it was not the sender's fault."""
    told = {"error": "the call could not be taken for now; send it again later"}
    return WebhookResponse(503, WebhookOutcome.FAILED, told, {"retry-after": str(RETRY_AFTER_SECONDS)}, error=error)


MAX_BODY_BYTES: Final = 256 * 1024
_MAX_PATH_CHARACTERS: Final = 1024


class WebhookRequest(NamedTuple):
    """A call: the parts of its path, its headers by lower-case name, and its body as it was signed."""

    method: str
    parts: tuple[str, ...]
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Give a header's value, "" where there is none."""
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

    Raises: InvalidEventError where it is none; RefusedCallError for a path or a body that is too long.
    """
    try:
        read = msgspec.convert(event, type=_Event)
    except msgspec.ValidationError as error:
        raise InvalidEventError(f"the event of a function URL: {error}") from error
    if len(read.raw_path) > _MAX_PATH_CHARACTERS:
        raise refuse(404, WebhookOutcome.UNKNOWN, "there is nothing here")
    parts = tuple(part for part in read.raw_path.split("/") if part)
    headers = {name.lower(): value for name, value in read.headers.items()}
    return WebhookRequest(read.request_context.http.method.upper(), parts, headers, _body(read))


def _body(event: _Event) -> bytes:
    text = event.body or ""
    # Base64 has four characters for three bytes; what is longer by that measure is too long before it is decoded.
    if len(text) > (MAX_BODY_BYTES * 4 // 3 + 4 if event.is_base64_encoded else MAX_BODY_BYTES):
        raise _too_large()
    try:
        body = base64.b64decode(text, validate=True) if event.is_base64_encoded else text.encode()
    except (binascii.Error, ValueError):  # no base64, or half of a surrogate pair
        raise bad_request("the body cannot be decoded") from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> Exception:
    return refuse(413, WebhookOutcome.MALFORMED, f"the body has more than {MAX_BODY_BYTES} bytes")
