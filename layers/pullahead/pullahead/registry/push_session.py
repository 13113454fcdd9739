"""Ask a registry that we write until it answers: authorization and retries. Knows no blobs and no manifests."""

from collections.abc import Callable, Collection
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from pullahead.errors import AccessDeniedError, RegistryError, UploadLostError
from pullahead.registry.connections import Answer, Body, Connections
from pullahead.registry.credentials import Credentials
from pullahead.registry.failures import Inquiry, TransientError
from pullahead.registry.hosts import base_url, by_registry
from pullahead.registry.push_errors import refused
from pullahead.registry.tokens import PUSH, Tokens
from pullahead.registry.transport import Request, Timeouts, origin_of

MAX_TRIES = 3
MAX_WAIT_SECONDS = 10.0

_WAIT_SECONDS = 1.0  # at most, after the first try; twice as much after the second
_COMMIT_SECONDS = 300.0  # a registry may read a whole blob again before it answers that it has it

Refuse = Callable[[Inquiry, Answer], RegistryError | TransientError]
"""Tells what an answer means that is none of those hoped for."""


class RetryBudget(NamedTuple):
    """What time and chance are to an exchange."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]


class PushScope(NamedTuple):
    """Whose right is needed: a repository's, and where a blob is mounted another one's to read from."""

    repository: str
    mounted_from: str | None = None


class PushSession:
    """Puts requests to one registry. May be used by several threads."""

    def __init__(
        self,
        registry: str,
        connections: Connections,
        credentials: Credentials,
        chances: RetryBudget,
        timeouts: Timeouts,
        *,
        plain_http: bool,
    ) -> None:
        self._root = base_url(registry, plain_http=plain_http)
        self._connections, self._chances, self._timeouts = connections, chances, timeouts
        self._tokens = Tokens(self._fetch_token, chances.clock, by_registry(credentials), PUSH)

    def url(self, repository: str, *path: str) -> str:
        """Name an address of a repository."""
        return f"{self._root}/{quote(repository)}/{'/'.join(quote(step, safe=':') for step in path)}"

    def is_ours(self, url: str) -> bool:
        """Tell whether an address is of the registry itself: only there do we say who we are."""
        return origin_of(url) == origin_of(self._root)

    def ask(
        self,
        request: Request,
        place: PushScope,
        statuses: Collection[int],
        content: bytes | memoryview | None = None,
        *,
        tries: int = MAX_TRIES,
        refuse: Refuse = refused,
    ) -> Answer:
        """Get an answer with one of `statuses`; trouble that passes is sat out, within bounds."""
        deadline = self._chances.clock() + self._timeouts.total
        tried = 0
        while True:
            tried += 1
            try:
                answer = self._ask_authorized(request, place, deadline, content)
                return _checked(request, answer, statuses, refuse)
            except TransientError as transient:
                wait = self._wait_after(tried, transient) if tried < tries else None
                if wait is None or self._chances.clock() + wait >= deadline:
                    raise transient.error from None
            self._chances.sleep(wait)

    def stream(self, request: Request, place: PushScope, body: Body, statuses: Collection[int]) -> Answer:
        """Send a body once, as it comes; the upload that it was for is lost when that fails."""
        deadline = self._chances.clock() + self._timeouts.total
        authorization = self._authorization(request, place, deadline)
        try:
            answer = self._connections.send(_with(request, authorization), body, answer_within=_COMMIT_SECONDS)
            if answer.status == 401 and self._renewed(request, place, answer, authorization, deadline) is not None:
                raise request.inquiry.error(UploadLostError, "it refused the token that it took before", status=401)
            return _checked(request, answer, statuses, refused)
        except TransientError as transient:
            raise transient.error from None

    def _ask_authorized(
        self, request: Request, place: PushScope, deadline: float, content: bytes | memoryview | None
    ) -> Answer:
        body = None if content is None else Body((content,), len(content))
        within = _COMMIT_SECONDS if request.method == "PUT" else None
        authorization = self._authorization(request, place, deadline)
        answer = self._connections.send(_with(request, authorization), body, answer_within=within)
        if answer.status != 401:
            return answer
        renewed = self._renewed(request, place, answer, authorization, deadline)
        if renewed is None:
            return answer
        return self._connections.send(_with(request, renewed), body, answer_within=within)

    def _authorization(self, request: Request, place: PushScope, deadline: float) -> str | None:
        if not self.is_ours(request.url):
            return None
        return self._tokens.current(self._as_seen_by_tokens(request, place), deadline)

    def _renewed(
        self, request: Request, place: PushScope, answer: Answer, refused_value: str | None, deadline: float
    ) -> str | None:
        if not self.is_ours(request.url):
            return None
        asked = self._as_seen_by_tokens(request, place)
        challenge = self._tokens.answerable(asked, answer.headers.get("WWW-Authenticate", ""))
        return None if challenge is None else self._tokens.renew(asked, challenge, refused_value, deadline)

    def _as_seen_by_tokens(self, request: Request, place: PushScope) -> Request:
        """Name by its repository what may have an address of any form: the registry chooses those of uploads."""
        mounted = f"?{urlencode({'from': place.mounted_from})}" if place.mounted_from else ""
        return request._replace(url=f"{self.url(place.repository, 'blobs', 'uploads', '')}{mounted}")

    def _fetch_token(self, request: Request, _deadline: float, authorization: str | None) -> bytes:
        answer = self._connections.send(_with(request, authorization))
        if 300 <= answer.status < 400:
            # It would have to be proved anew that the credential may be told to whom it points to.
            host = urlsplit(request.url).netloc
            raise request.inquiry.error(AccessDeniedError, f"{host} redirects, which is not followed with a credential")
        return _checked(request, answer, (200,), refused).body

    def _wait_after(self, tries: int, transient: TransientError) -> float | None:
        asked = transient.retry_after_seconds
        if asked is not None:
            return asked if asked <= MAX_WAIT_SECONDS else None
        return self._chances.jitter() * _WAIT_SECONDS * 2.0 ** (tries - 1)


def _checked(request: Request, answer: Answer, statuses: Collection[int], refuse: Refuse) -> Answer:
    if answer.status in statuses:
        return answer
    raise refuse(request.inquiry, answer)


def _with(request: Request, authorization: str | None) -> Request:
    if authorization is None:
        return request
    return request._replace(headers={**request.headers, "Authorization": authorization})
