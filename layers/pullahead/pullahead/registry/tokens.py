"""How to authorize a request: by Basic or by a bearer token; where to get one and for how long to use it.

A credential goes to the registry itself, over the scheme that it is spoken to by, and to a token service of its own;
nowhere else. A token is asked for what the request needs, as its path says: a challenge names a realm and a service,
but its scope is not obeyed. Otherwise a registry could have us sign for other repositories, or for pushes.

Sources: distribution project, "Token Authentication Specification" and "OAuth2 Token Authentication" (identity tokens);
RFC 7617 (Basic); RFC 9110, sections 5.6 (tokens, quoted strings, lists) and 11.6.1 (WWW-Authenticate: a list of
challenges, each with a list of parameters, both divided by commas).
"""

import functools
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urlsplit

import msgspec

from pullahead.errors import AccessDeniedError, PullaheadError, RegistryUnavailableError
from pullahead.oci import Repository
from pullahead.registry import go_json
from pullahead.registry.credentials import (
    Credential,
    Credentials,
    OnRefused,
    SecretKind,
    anonymous,
    may_be_told,
    no_refresh,
)
from pullahead.registry.hosts import api_host, registry_at
from pullahead.registry.request import (
    Inquiry,
    Request,
    SentCredential,
    first_of,
    host_of,
    origin_of,
    parse_url,
    sender_of,
)

_MAX_HEADER_CHARACTERS = 8 * 1024

_compiled = functools.cache(re.compile)  # at the first challenge: most programs that import this never meet one

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))'
_SCHEME = rf"{_WORD}(?=[\s,]|$)"
_TOKEN68 = r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)"
_BETWEEN = r"[\s,]*"
_REST = r"[^,]*"


class Challenge(NamedTuple):
    """One way to authenticate: the scheme and the parameters' names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Read every challenge of a header's value (several headers joined by commas); what is malformed is left out."""
    challenges: list[Challenge] = []
    for scheme, name, value in _items(header[:_MAX_HEADER_CHARACTERS]):
        if scheme:
            challenges.append(Challenge(scheme.lower(), {}))
        elif challenges:
            last = challenges[-1]
            challenges[-1] = last._replace(parameters={name.lower(): value, **last.parameters})
    return challenges


def find_bearer(header: str) -> Challenge | None:
    """Find the first challenge that asks for a bearer token and says where to get one."""
    challenges = parse_challenges(header)
    return next((c for c in challenges if c.scheme == "bearer" and c.parameters.get("realm")), None)


def find_basic(header: str) -> Challenge | None:
    """Find the first challenge that asks for a user's name and password."""
    return next((c for c in parse_challenges(header) if c.scheme == "basic"), None)


def _items(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield a scheme, or a parameter's name and value, in the order of the header."""
    position = 0
    while (position := _end(_BETWEEN, text, position)) < len(text):
        if parameter := _compiled(_PARAMETER).match(text, position):
            quoted, plain = parameter[2], parameter[3]
            yield "", parameter[1], plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            position = parameter.end()
        elif scheme := _compiled(_SCHEME).match(text, position):
            yield scheme[0], "", ""
            position = _end(_TOKEN68, text, scheme.end())
        else:
            position = max(position + 1, _end(_REST, text, position))


def _end(pattern: str, text: str, position: int) -> int:
    match = _compiled(pattern).match(text, position)
    return match.end() if match else position


_MAX_GRANTS = 1000
_DEFAULT_LIFETIME_SECONDS = 60.0  # the specification's, where expires_in is left out
_MAX_LIFETIME_SECONDS = 3600.0
_MAX_EARLY_SECONDS = 30.0
_FIXED_LIFETIME_SECONDS = 300.0  # of a credential that is sent as it is; then it is looked up anew

_TOKEN = re.compile(r"[\x21-\x7e]+")
_RESOURCE = re.compile(r"/v2/(.+)/(?:blobs/uploads/[^/]*|(?:manifests|blobs|referrers)/[^/]+|tags/list)")
_ROOT = "/v2/"
_CATALOG = re.compile(r"/v2/_catalog/(.+)")

_ACCEPT = {"Accept": "application/json"}
_FORM = {**_ACCEPT, "Content-Type": "application/x-www-form-urlencoded"}

PULL = "pull"
PUSH = "pull,push"
"""What a token allows: the actions of a scope."""

Fetch = Callable[[Request, float, str | None, bytes | None], bytes]
"""Fetches a token before a deadline, with a value for Authorization or without, and with a body or without."""

TokenHosts = Callable[[str], Collection[str]]
"""Lists the hosts of token services that a registry's credential may go to, besides those of its own domain."""


def only_its_own(_: str) -> Collection[str]:
    """List no further host."""
    return ()


class Identity(NamedTuple):
    """Which credentials there are, which hosts may receive them, and for what."""

    credentials: Credentials = anonymous
    actions: str = PULL
    token_hosts: TokenHosts = only_its_own
    refused: OnRefused = no_refresh


class _Key(NamedTuple):
    origin: str
    scope: str
    identified: bool


@dataclass(frozen=True)
class _Token:
    authorization: str = field(repr=False)
    use_until: float


@dataclass
class _Grant:
    """How one origin is asked for one scope. The lock lets one thread fetch while the others wait for what it gets."""

    challenge: Challenge | None = None
    token: _Token | None = None
    credential: Credential | None = None  # by which the token was had, or refused
    is_never_asked_for: bool = False  # the registry's root gives no challenge
    lock: threading.Lock = field(default_factory=threading.Lock)


class _TokenResponse(msgspec.Struct):
    """What a token service answers. A member of another type than specified is as if absent."""

    token: Any = None
    access_token: Any = None
    expires_in: Any = None

    @property
    def value(self) -> str:
        return next((each for each in (self.token, self.access_token) if each and isinstance(each, str)), "")

    @property
    def lifetime(self) -> float:
        """For how many seconds the token may be used."""
        try:
            seconds = float(self.expires_in)
        except (TypeError, ValueError, OverflowError):
            return _DEFAULT_LIFETIME_SECONDS
        return _DEFAULT_LIFETIME_SECONDS if math.isnan(seconds) else min(max(seconds, 0.0), _MAX_LIFETIME_SECONDS)


class Tokens:
    """Keeps what authorizes requests by origin and scope, fetches it when asked and renews it before it expires."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float], identity: Identity) -> None:
        self._fetch, self._clock = fetch, clock
        self._credentials, self._actions, self._token_hosts, self._refused = identity
        self._grants: OrderedDict[_Key, _Grant] = OrderedDict()
        self._lock = threading.Lock()

    def current(self, request: Request, deadline: float) -> str | None:
        """Return a valid Authorization for a request, or None if its origin has never asked for one."""
        grant = self._grant(self._key_of(request))
        with grant.lock:
            challenge = grant.challenge
            return None if challenge is None else self._good_token(grant, challenge, request, deadline)

    def answerable(self, request: Request, header: str) -> Challenge | None:
        """Find the challenge in WWW-Authenticate that can be answered: Bearer, or Basic if we have a credential."""
        bearer = find_bearer(header)
        if bearer is not None:
            return bearer
        basic = find_basic(header)
        return basic if basic is not None and self._credential_for(request) is not None else None

    def renew(self, request: Request, challenge: Challenge, refused: str | None, deadline: float) -> str:
        """Return another Authorization than the refused one, as the challenge demands."""
        grant = self._grant(self._key_of(request))
        with grant.lock:
            grant.challenge = challenge
            if grant.token is not None and grant.token.authorization == refused:
                grant.token = None
            return self._good_token(grant, challenge, request, deadline)

    def has_unused_credential(self, request: Request) -> bool:
        """Tell whether there is a credential for a request whose origin has never asked for one, and may yet do so."""
        grant = self._grant(self._key_of(request))
        with grant.lock:
            may_ask = grant.challenge is None and not grant.is_never_asked_for
            return may_ask and self._credential_for(request) is not None

    def is_never_asked_for(self, request: Request) -> None:
        """Note that the origin of a request asks for no credential."""
        grant = self._grant(self._key_of(request))
        with grant.lock:
            grant.is_never_asked_for = True

    def sent(self, request: Request) -> SentCredential:
        """Tell with which credential a request was sent."""
        grant = self._grant(self._key_of(request))
        with grant.lock:
            if grant.challenge is not None:
                return SentCredential("" if grant.credential is None else grant.credential.name)
            try:
                unused = self._credential_for(request)
            except PullaheadError:  # it is looked up where it is needed, and fails there
                unused = None
            return SentCredential(unused="" if unused is None else unused.name)

    def forget(self, repository: Repository) -> None:
        """Forget how a repository is asked, so that its credential is looked up again and a new token is fetched."""
        with self._lock:
            for key in [key for key in self._grants if _is_about(key, repository)]:
                del self._grants[key]

    def changed(self, request: Request, refused: str | None) -> bool:
        """Note that a request was refused, with an Authorization or before it had one; tell whether to try again.

        That is, whether there is another credential by now, whoever found it.
        """
        grant, repository = self._grant(self._key_of(request)), self._repository_of(request)
        with grant.lock:
            if grant.challenge is None or repository is None:
                return False
            if grant.token is not None and grant.token.authorization != refused:
                return True
            if grant.credential is not None:
                self._refused(repository, grant.credential)
            found = self._credentials(repository)
            if found is None or found == grant.credential:
                return False
            grant.token = grant.credential = None
            return True

    def _grant(self, key: _Key) -> _Grant:
        with self._lock:
            grant = self._grants.get(key)
            if grant is None:
                grant = self._grants[key] = _Grant()
            self._grants.move_to_end(key)
            while len(self._grants) > _MAX_GRANTS:
                self._grants.popitem(last=False)
            return grant

    def _good_token(self, grant: _Grant, challenge: Challenge, request: Request, deadline: float) -> str:
        if grant.token is None or self._clock() >= grant.token.use_until:
            grant.credential = self._credential_for(request)
            grant.token = self._new_token(challenge, request, grant.credential, deadline)
        return grant.token.authorization

    def _new_token(
        self, challenge: Challenge, request: Request, credential: Credential | None, deadline: float
    ) -> _Token:
        if challenge.scheme != "basic":
            if credential is not None and credential.kind is SecretKind.REGISTRY_TOKEN:
                return _Token(f"Bearer {credential.secret}", self._clock() + _FIXED_LIFETIME_SECONDS)
            return self._fetch_token(challenge, request, credential, deadline)
        if credential is None:
            raise request.inquiry.error(
                AccessDeniedError, "the registry asks for a credential, and there is none any more"
            )
        if credential.kind is not SecretKind.PASSWORD:
            cause = f"the registry asks for a name and a password, and the login that is stored is an {credential.kind}"
            raise request.inquiry.error(AccessDeniedError, cause, advice="Log in with a name and a password.")
        return _Token(credential.basic, self._clock() + _FIXED_LIFETIME_SECONDS)

    def _fetch_token(
        self, challenge: Challenge, request: Request, credential: Credential | None, deadline: float
    ) -> _Token:
        realm = self._realm_of(challenge, request, credential)
        service, scope = challenge.parameters.get("service", ""), self._key_of(request).scope
        sent = SentCredential("" if credential is None else credential.name)
        inquiry = request.inquiry._replace(by_way_of=f"token service {realm.netloc}", sent=sent)
        began = self._clock()
        if credential is not None and credential.kind is SecretKind.IDENTITY_TOKEN:
            form = {"grant_type": "refresh_token", "client_id": "pullahead", "refresh_token": credential.secret}
            body = urlencode({**form, **({"service": service} if service else {}), "scope": scope}).encode()
            url = realm._replace(fragment="").geturl()
            asked = _to_service("POST", url, _FORM, inquiry, request)
            content = self._fetch(asked, deadline, None, body)
        else:
            wanted = [("service", service), *(("scope", each) for each in scope.split())]
            query = urlencode([(name, value) for name, value in wanted if value])
            url = realm._replace(query="&".join(filter(None, (realm.query, query))), fragment="").geturl()
            asked = _to_service("GET", url, _ACCEPT, inquiry, request)
            content = self._fetch(asked, deadline, None if credential is None else credential.basic, None)
        try:
            answer = go_json.decode(content, _TokenResponse)
        except go_json.INVALID:
            answer = _TokenResponse()
        if _TOKEN.fullmatch(answer.value) is None:
            raise inquiry.error(RegistryUnavailableError, "the response has no token")
        lifetime = answer.lifetime
        return _Token(f"Bearer {answer.value}", began + lifetime - min(_MAX_EARLY_SECONDS, lifetime / 4))

    def _realm_of(self, challenge: Challenge, request: Request, credential: Credential | None) -> SplitResult:
        """Decide which token service to ask. Raises AccessDeniedError for one that may not be asked."""
        realm, asker = parse_url(challenge.parameters["realm"]), urlsplit(request.url)
        if realm is None or (realm.scheme == "http" and asker.scheme == "https"):
            raise request.inquiry.error(
                AccessDeniedError,
                f"{asker.netloc} names a token service whose address is refused",
                advice="It must be https.",
            )
        if credential is not None and not self._may_be_told(realm, asker):
            what = f"{asker.netloc} names the token service {realm.netloc}, which is not its own"
            registry, host = registry_at(asker), host_of(realm)
            raise request.inquiry.error(
                AccessDeniedError,
                f"{what}, so no credential is sent there",
                advice=f"If {host} may have it, allow it: `token_hosts: [{host}]` for {registry} under `upstreams` in "
                f"the rules, or --token-host {host} for a command.",
            )
        return realm

    def _may_be_told(self, realm: SplitResult, asker: SplitResult) -> bool:
        if may_be_told(realm, asker):
            return True
        listed = {host.removesuffix(":443") for host in self._token_hosts(registry_at(asker))}
        is_listed = host_of(realm) in listed
        return is_listed and (realm.scheme == "https" or asker.scheme == "http")

    def _credential_for(self, request: Request) -> Credential | None:
        repository = self._repository_of(request)
        return None if repository is None else self._credentials(repository)

    def _repository_of(self, request: Request) -> Repository | None:
        """Name the repository of the host that was asked in the first place: None after a redirect elsewhere."""
        url = urlsplit(request.url)
        if url.path == _ROOT and request.identified:
            return Repository(url.netloc.lower(), "")
        resource = _RESOURCE.fullmatch(url.path) or _CATALOG.fullmatch(url.path)
        if resource is None or not request.identified:
            return None
        return Repository(url.netloc.lower(), unquote(resource[1]))

    def _key_of(self, request: Request) -> _Key:
        url = urlsplit(request.url)
        resource = _RESOURCE.fullmatch(url.path)
        scope = f"repository:{resource[1]}:{self._actions}" if resource else ""
        if _CATALOG.fullmatch(url.path):
            scope = "registry:catalog:*"
        for mounted_from in parse_qs(url.query).get("from", ()) if resource else ():
            scope += f" repository:{mounted_from}:{PULL}"
        return _Key(origin_of(request.url), scope, request.identified)


def _to_service(method: str, url: str, headers: Mapping[str, str], inquiry: Inquiry, request: Request) -> Request:
    """Make the request to a token service that the answer to another request names."""
    return Request(method, url, headers, inquiry, sent_by=sender_of(url, request), asked_first=first_of(request))


def _is_about(key: _Key, repository: Repository) -> bool:
    is_host = urlsplit(key.origin).netloc in (repository.registry, api_host(repository.registry))
    return is_host and (not key.scope or f"repository:{quote(repository.path)}:" in key.scope)
