"""Digests, which identify content. Pure.

Source: OCI image specification 1.1, descriptor.md, "Digests".
"""

import hashlib
import re
from typing import NewType

from pullahead.errors import PullaheadError

Digest = NewType("Digest", str)
"""`algorithm:lowercase hex`, checked by `parse_digest`."""

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_DIGEST = re.compile(r"(sha256|sha512):([0-9a-f]+)")


class InvalidDigestError(PullaheadError):
    """A text that is not a digest of a supported algorithm."""


def parse_digest(text: str) -> Digest:
    """Parse a sha256 or sha512 digest. Raises InvalidDigestError."""
    match = _DIGEST.fullmatch(text)
    if match is None or len(match[2]) != _HEX_LENGTH[match[1]]:
        raise InvalidDigestError(f"{text[:160]!r} is not a digest: expected sha256:<64 hex> or sha512:<128 hex>")
    return Digest(text)


def digest_of(content: bytes, algorithm: str = "sha256") -> Digest:
    """Compute the digest of content."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")


def find_digest(text: str) -> Digest | None:
    """Parse a digest; None for any other text."""
    try:
        return parse_digest(text)
    except InvalidDigestError:
        return None


def algorithm_of(digest: Digest) -> str:
    """Name the hash algorithm of a digest, as `hashlib.new` takes it."""
    return digest.partition(":")[0]


def short(digest: Digest) -> str:
    """Shorten a digest for people: the first twelve hex digits."""
    return digest.partition(":")[2][:12]
