"""Sign and verify what clients carry: Docker passwords and presigned blob URLs. Refuses to know what they open.

Both are an expiry time and an HMAC over it under a key that lives as long as the process.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from local.ecr.identity import AUTHORIZATION_SECONDS

BLOB_URL_SECONDS = 3600  # ECR does not document how long its presigned URLs live


class Password(NamedTuple):
    """What GetAuthorizationToken gives."""

    text: str
    expires_at: datetime


class TokenRefusedError(Exception):
    """A password or signature that does not open anything."""


class TokenExpiredError(Exception):
    """A password or signature that was good once."""


class Tokens:
    """The one key of this registry."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._key = secrets.token_bytes(32)

    def issue_password(self) -> Password:
        """Make a password that is good for 12 hours."""
        expires_at = self._now() + timedelta(seconds=AUTHORIZATION_SECONDS)
        payload = f"{int(expires_at.timestamp())}.{secrets.token_hex(8)}"
        return Password(f"{payload}.{self._sign('password', payload)}", expires_at)

    def check_password(self, text: str) -> None:
        """Accept a password.

        Raises:
            TokenRefusedError: it is not one of ours.
            TokenExpiredError: its 12 hours are over.
        """
        payload, _, signature = text.rpartition(".")
        self._check("password", payload, signature, payload.partition(".")[0])

    def presign(self, path: str) -> str:
        """Give the query string that opens a path for a while."""
        expires = str(int((self._now() + timedelta(seconds=BLOB_URL_SECONDS)).timestamp()))
        return urlencode({"expires": expires, "signature": self._sign("blob", f"{path}.{expires}")})

    def check_presigned(self, path: str, expires: str, signature: str) -> None:
        """Accept a presigned path.

        Raises:
            TokenRefusedError: it was signed by nobody, or for another path.
            TokenExpiredError: it is too old.
        """
        self._check("blob", f"{path}.{expires}", signature, expires)

    def _check(self, purpose: str, payload: str, signature: str, expires: str) -> None:
        if not hmac.compare_digest(self._sign(purpose, payload).encode(), signature.encode()):
            raise TokenRefusedError
        if int(expires) <= self._now().timestamp():
            raise TokenExpiredError

    def _sign(self, purpose: str, payload: str) -> str:
        return hmac.new(self._key, f"{purpose}\n{payload}".encode(), hashlib.sha256).hexdigest()
