"""Authentication of webhooks. Every comparison takes constant time.

A secret or signature must match exactly, also in case: a request that could be written in two ways could be replayed.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final

from pullahead.webhooks.http import WebhookRequest

Proof = Callable[[WebhookRequest, bytes], bool]
"""Whether a request proves that its sender knows a secret."""
_BEARER: Final = "Bearer "


def path_secret(request: WebhookRequest, secret: bytes) -> bool:
    """Compare the second part of the path, for senders that can neither sign nor set a header."""
    return len(request.parts) == 2 and _same(request.parts[1], secret)


def header_secret(name: str) -> Proof:
    """Compare a header, with or without `Bearer` in front."""

    def proves(request: WebhookRequest, secret: bytes) -> bool:
        return _same(request.header(name).removeprefix(_BEARER), secret)

    return proves


def signature(
    name: str, prefix: str = "", signed: Callable[[WebhookRequest], bytes] = lambda request: request.body
) -> Proof:
    """Compare a header with the hexadecimal HMAC-SHA256 of what is signed."""

    def proves(request: WebhookRequest, secret: bytes) -> bool:
        return _same(
            request.header(name), f"{prefix}{hmac.new(secret, signed(request), hashlib.sha256).hexdigest()}".encode()
        )

    return proves


def proves_any(request: WebhookRequest, proofs: Sequence[Proof], secrets: Sequence[bytes]) -> bool:
    """Whether any proof holds for any secret; all are tried, to take constant time."""
    results = [proof(request, secret) for proof in proofs for secret in secrets]
    return any(results)


def _same(offered: str, expected: bytes) -> bool:
    return hmac.compare_digest(offered.encode(errors="surrogatepass"), expected)
