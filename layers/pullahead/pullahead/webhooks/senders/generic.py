"""Any sender that can sign: a pipeline that has just pushed, or a registry without a format of its own here.

    {"repository": "ghcr.io/org/app", "tags": ["v1"]}

`X-Pullahead-Signature: sha256=HEX` is the HMAC-SHA256 of the timestamp, a dot and the body; `X-Pullahead-Timestamp` is
in seconds since 1970, at most five minutes off.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from pullahead.webhooks.http import WebhookRequest
from pullahead.webhooks.payload import WebhookTags, decode, tags_named, upstream_at

SIGNATURE: Final = "x-pullahead-signature"
TIMESTAMP: Final = "x-pullahead-timestamp"
TOLERANCE: Final = timedelta(minutes=5)
_MAX_DIGITS: Final = 12


class _Payload(msgspec.Struct, frozen=True):
    repository: str
    tags: list[str]


def read(request: WebhookRequest) -> WebhookTags:
    """Read a payload. Raises RefusedWebhookError."""
    payload = decode(request, _Payload)
    return tags_named((upstream_at(payload.repository, tag) for tag in payload.tags), "the payload has no tags")


def signed(request: WebhookRequest) -> bytes:
    """Return what is signed."""
    return request.header(TIMESTAMP).encode(errors="surrogatepass") + b"." + request.body


def is_timely(request: WebhookRequest, now: datetime) -> bool:
    """Whether a request was signed within the tolerance."""
    text = request.header(TIMESTAMP)
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        return False
    return abs(now.timestamp() - int(text)) <= TOLERANCE.total_seconds()
