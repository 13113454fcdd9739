"""Bearer tokens of the fake registry: who may read what. Nothing here is secret.

Source: distribution project, "Token Authentication Specification".
"""

import itertools
import secrets
import threading
from collections.abc import Mapping, Sequence

from local.registry.answers import Answer, error_answer, json_answer


class Tokens:
    """Issues tokens for scopes and recognises those that are still good."""

    def __init__(self) -> None:
        self._name, self._numbers = secrets.token_hex(4), itertools.count(1)
        self._scopes: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def issue(self, query: Mapping[str, Sequence[str]], lifetime_seconds: int) -> Answer:
        """Answer a request for a token without a login."""
        with self._lock:
            token = f"fake-token-{self._name}-{next(self._numbers)}"
            self._scopes[token] = tuple(query.get("scope", ()))
        return json_answer(200, {"token": token, "access_token": token, "expires_in": lifetime_seconds})

    def expire(self) -> None:
        """Recognise no token that was issued until now."""
        with self._lock:
            self._scopes.clear()

    def challenge(self, authorization: str | None, base_url: str, repository: str | None) -> Answer | None:
        """Refuse a request whose token is missing or does not reach as far as the repository; None lets it pass."""
        scope = f"repository:{repository}:pull" if repository is not None else None
        scheme, _, token = (authorization or "").partition(" ")
        with self._lock:
            granted = self._scopes.get(token) if scheme.lower() == "bearer" else None
        if granted is not None and (scope is None or scope in granted):
            return None
        asked = f',scope="{scope}"' if scope is not None else ""
        bearer = f'Bearer realm="{base_url}/token",service="{base_url.removeprefix("http://")}"{asked}'
        return error_answer(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": bearer})
