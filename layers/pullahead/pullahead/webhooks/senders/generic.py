"""Whoever can sign: a pipeline that has just pushed, or a registry that is not known here.

    {"repository": "ghcr.io/org/app", "tags": ["v1"]}

`X-Pullahead-Signature: sha256=HEX` is the HMAC-SHA256 of the timestamp, a dot and the body; `X-Pullahead-Timestamp` is
in seconds since 1970, and no more than five minutes off.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from pullahead.webhooks.http import WebhookRequest
from pullahead.webhooks.payload import NamedTags, decode, tags_named, upstream_at

SIGNATURE: Final = "x-pullahead-signature"
TIMESTAMP: Final = "x-pullahead-timestamp"
TOLERANCE: Final = timedelta(minutes=5)
_MAX_DIGITS: Final = 12


class _Payload(msgspec.Struct, frozen=True):
    repository: str
    tags: list[str]


def read(call: WebhookRequest) -> NamedTags:
    """Read a payload. Raises RefusedCallError."""
    payload = decode(call, _Payload)
    return tags_named((upstream_at(payload.repository, tag) for tag in payload.tags), "no tags are named")


def signed(call: WebhookRequest) -> bytes:
    """Say what the signature is over."""
    return call.header(TIMESTAMP).encode(errors="surrogatepass") + b"." + call.body


def is_timely(call: WebhookRequest, now: datetime) -> bool:
    """Tell whether a call was signed just now, by our clock."""
    text = call.header(TIMESTAMP)
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        return False
    return abs(now.timestamp() - int(text)) <= TOLERANCE.total_seconds()
