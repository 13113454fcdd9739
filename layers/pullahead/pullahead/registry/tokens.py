"""Anonymous bearer tokens: where to get one and how long it is good. Sends no credential to anybody.

Source: distribution project, "Token Authentication Specification".
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from pullahead.errors import AccessDeniedError, RegistryUnavailableError
from pullahead.registry.challenges import Challenge
from pullahead.registry.transport import Request, origin_of, parse_url

_MAX_ENTRIES = 1000
_DEFAULT_LIFETIME_SECONDS = 60.0  # the specification's, where expires_in is left out
_MAX_LIFETIME_SECONDS = 3600.0
_MAX_EARLY_SECONDS = 30.0

_TOKEN = re.compile(r"[\x21-\x7e]+")
_RESOURCE = re.compile(r"/v2/(.+)/(?:manifests|blobs)/[^/]+")


class _Key(NamedTuple):
    origin: str
    scope: str


@dataclass(frozen=True)
class _Token:
    value: str = field(repr=False)
    use_until: float


@dataclass
class _Entry:
    """What one origin asks for one scope. The lock lets one thread fetch while the others wait for what it gets."""

    challenge: Challenge | None = None
    token: _Token | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Answer(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


class Tokens:
    """Keeps tokens by origin and scope, fetches them when asked and renews them before they expire."""

    def __init__(self, fetch: Callable[[Request, float], bytes], clock: Callable[[], float]) -> None:
        self._fetch, self._clock = fetch, clock
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def current(self, request: Request, deadline: float) -> str | None:
        """Return a good token for a request, or None where its origin has never asked for one."""
        entry = self._entry(_key_of(request))
        with entry.lock:
            challenge = entry.challenge
            return None if challenge is None else self._good_token(entry, challenge, request, deadline)

    def renew(self, request: Request, challenge: Challenge, refused: str | None, deadline: float) -> str:
        """Return a token other than the refused one, as the challenge demands."""
        entry = self._entry(_key_of(request))
        with entry.lock:
            entry.challenge = challenge
            if entry.token is not None and entry.token.value == refused:
                entry.token = None
            return self._good_token(entry, challenge, request, deadline)

    def _entry(self, key: _Key) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)
            return entry

    def _good_token(self, entry: _Entry, challenge: Challenge, request: Request, deadline: float) -> str:
        if entry.token is None or self._clock() >= entry.token.use_until:
            entry.token = self._fetch_token(challenge, request, deadline)
        return entry.token.value

    def _fetch_token(self, challenge: Challenge, request: Request, deadline: float) -> _Token:
        asked = _token_request(challenge, request)
        began = self._clock()
        try:
            answer = msgspec.json.decode(self._fetch(asked, deadline), type=_Answer, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = _Answer()
        value = answer.token or answer.access_token or ""
        if _TOKEN.fullmatch(value) is None:
            raise asked.inquiry.error(RegistryUnavailableError, "its answer holds no token")
        lifetime = _DEFAULT_LIFETIME_SECONDS if answer.expires_in is None else answer.expires_in
        lifetime = min(max(lifetime, 0.0), _MAX_LIFETIME_SECONDS)
        return _Token(value, began + lifetime - min(_MAX_EARLY_SECONDS, lifetime / 4))


def _key_of(request: Request) -> _Key:
    resource = _RESOURCE.fullmatch(urlsplit(request.url).path)
    return _Key(origin_of(request.url), f"repository:{resource[1]}:pull" if resource else "")


def _token_request(challenge: Challenge, request: Request) -> Request:
    realm = parse_url(challenge.parameters["realm"])
    asker = urlsplit(request.url)
    if realm is None or (realm.scheme == "http" and asker.scheme == "https"):
        raise request.inquiry.error(
            AccessDeniedError,
            f"{asker.netloc} wants a token from an address that is not used",
            advice="It must be https.",
        )
    wanted = {
        "service": challenge.parameters.get("service", ""),
        # Artifactory's challenge to a HEAD names no scope; the one of the path is what it means.
        "scope": challenge.parameters.get("scope") or _key_of(request).scope,
    }
    query = urlencode({name: value for name, value in wanted.items() if value})
    url = realm._replace(query="&".join(filter(None, (realm.query, query))), fragment="").geturl()
    return Request(
        "GET", url, {"Accept": "application/json"}, request.inquiry._replace(by_way_of=f"token service {realm.netloc}")
    )
