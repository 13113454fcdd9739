"""How a call proves that its sender knows the secret. Every comparison takes the same time, whatever is offered.

What is offered must be exactly what is expected, also in upper and lower case: a call that could be written in two ways
could be sent twice.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final

from pullahead.webhooks.http import WebhookRequest

Proof = Callable[[WebhookRequest, bytes], bool]
"""Tells whether a call proves that its sender knows a secret."""
_BEARER: Final = "Bearer "


def path_secret(call: WebhookRequest, secret: bytes) -> bool:
    """Compare the second part of the path: for senders that can neither sign nor send a header of their own."""
    return len(call.parts) == 2 and _same(call.parts[1], secret)


def header_secret(name: str) -> Proof:
    """Compare a header, with or without `Bearer` before the secret."""

    def proves(call: WebhookRequest, secret: bytes) -> bool:
        return _same(call.header(name).removeprefix(_BEARER), secret)

    return proves


def signature(name: str, prefix: str = "", signed: Callable[[WebhookRequest], bytes] = lambda call: call.body) -> Proof:
    """Compare a header with the HMAC-SHA256 of what is signed, in hexadecimal."""

    def proves(call: WebhookRequest, secret: bytes) -> bool:
        return _same(
            call.header(name), f"{prefix}{hmac.new(secret, signed(call), hashlib.sha256).hexdigest()}".encode()
        )

    return proves


def proves_any(call: WebhookRequest, proofs: Sequence[Proof], secrets: Sequence[bytes]) -> bool:
    """Tell whether one of the proofs holds for one of the secrets; all are tried."""
    results = [proof(call, secret) for proof in proofs for secret in secrets]
    return any(results)


def _same(offered: str, expected: bytes) -> bool:
    return hmac.compare_digest(offered.encode(errors="surrogatepass"), expected)
