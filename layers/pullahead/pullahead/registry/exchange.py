"""Ask until answered: tokens, redirects, turns, retries and statuses put together. Knows no manifests and no blobs."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

from pullahead.errors import AccessDeniedError, RegistryError
from pullahead.registry.credentials import Credentials, Refused, anonymous, no_refresh
from pullahead.registry.failures import TransientError, failed_answer
from pullahead.registry.rate_limits import Limits
from pullahead.registry.responses import Response
from pullahead.registry.tokens import TokenHosts, Tokens, only_its_own
from pullahead.registry.transport import MAX_ERROR_BODY_BYTES, Request, Transport

MAX_TRIES = 3
MAX_WAIT_SECONDS = 10.0

_WAIT_SECONDS = 1.0  # at most, after the first try; twice as much after the second

_Received = TypeVar("_Received")


class PullSession:
    """Puts requests that may be repeated to registries. May be used by several threads."""

    def __init__(
        self,
        transport: Transport,
        limits: Limits,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        credentials: Credentials = anonymous,
        token_hosts: TokenHosts = only_its_own,
        refused: Refused = no_refresh,
        sent: Callable[[Request], None] = lambda _request: None,
    ) -> None:
        self._transport, self._limits, self._sent = transport, limits, sent
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._tokens = Tokens(self._fetch_token, clock, credentials, token_hosts=token_hosts, refused=refused)

    def ask(
        self,
        request: Request,
        receive: Callable[[Response, float], _Received],
        statuses: Collection[int] = (200,),
    ) -> _Received:
        """Get an answer with one of `statuses` and return what `receive` makes of it before the deadline it is given.

        `receive` closes the response, or returns it. It runs again when it meets a connection that breaks.
        """
        deadline = self._transport.deadline()
        tries = 0
        while True:
            tries += 1
            try:
                return receive(self._answer(request, deadline, statuses), deadline)
            except TransientError as transient:
                wait = self._wait_after(tries, transient)
                if wait is None or self._clock() + wait >= deadline:
                    raise transient.error from None
            self._sleep(wait)

    def receive_body(self, response: Response, request: Request, limit: int, deadline: float) -> bytes:
        """Read a bounded body and give the connection back."""
        with response:
            return self._transport.read(response, request.inquiry, limit, deadline)

    def _wait_after(self, tries: int, transient: TransientError) -> float | None:
        if tries >= MAX_TRIES:
            return None
        asked = transient.retry_after_seconds
        if asked is not None:
            return asked if asked <= MAX_WAIT_SECONDS else None
        return self._jitter() * _WAIT_SECONDS * 2.0 ** (tries - 1)

    def _answer(self, request: Request, deadline: float, statuses: Collection[int]) -> Response:
        if self._limits.wants_news(request):
            self._drop(self._ask_as_known(request._replace(method="HEAD"), deadline), request, deadline)
        response = self._transport.follow(request, deadline, self._ask_as_known)
        return self._checked(request, response, deadline, statuses)

    def _ask_as_known(self, request: Request, deadline: float) -> Response:
        """Ask as whom the credential says; with another one, once, where that is refused and has been replaced."""
        try:
            response, authorization = self._ask_with_token(request, deadline)
        except AccessDeniedError:  # by the token service
            if not self._tokens.changed(request, None):
                raise
            return self._ask_with_token(request, deadline)[0]
        with _closed_on_error(response):
            again = response.status_code in (401, 403) and self._tokens.changed(request, authorization)
        if not again:
            return response
        self._drop(response, request, deadline)
        return self._ask_with_token(request, deadline)[0]

    def _ask_with_token(self, request: Request, deadline: float) -> tuple[Response, str | None]:
        authorization = self._tokens.current(request, deadline)
        response = self._send(request, deadline, authorization)
        if response.status_code != 401:
            return response, authorization
        with _closed_on_error(response):
            renewed = self._renewed(request, response, authorization, deadline)
        if renewed is None:
            return response, authorization
        self._drop(response, request, deadline)
        return self._send(request, deadline, renewed), renewed

    def _renewed(self, request: Request, response: Response, authorization: str | None, deadline: float) -> str | None:
        """Answer a challenge; None where nothing else can be said than what was refused."""
        challenge = self._tokens.answerable(request, response.headers.get("WWW-Authenticate", ""))
        if challenge is None:
            return None
        if challenge.scheme != "basic":
            self._drop(response, request, deadline)  # so that the token can be fetched by the same connection
        renewed = self._tokens.renew(request, challenge, authorization, deadline)
        return None if challenge.scheme == "basic" and renewed == authorization else renewed

    def _send(self, request: Request, deadline: float, authorization: str | None) -> Response:
        with self._limits.turn(request, self._transport.remaining(deadline, request.inquiry)) as answered:
            self._sent(request)
            response = self._transport.send(request, deadline, authorization)
            answered(response.status_code, response.headers)
        return response

    def _drop(self, response: Response, request: Request, deadline: float) -> None:
        """Read an answer that is of no use, so that its connection is."""
        with response:
            self._transport.read_error(response, request.inquiry, deadline)

    def _fetch_token(self, request: Request, deadline: float, authorization: str | None) -> bytes:
        def ask(hop: Request, until: float) -> Response:
            return self._send(hop, until, authorization if hop.identified else None)

        checked = self._checked(request, self._transport.follow(request, deadline, ask), deadline, (200,))
        return self.receive_body(checked, request, MAX_ERROR_BODY_BYTES, deadline)

    def _checked(self, request: Request, response: Response, deadline: float, statuses: Collection[int]) -> Response:
        if response.status_code in statuses:
            return response
        with response:
            body = self._transport.read_error(response, request.inquiry, deadline)
        failure = failed_answer(request.inquiry, response.status_code, response.headers, body)
        raise _by_a_stranger(request, response, failure) from None


@contextmanager
def _closed_on_error(response: Response) -> Iterator[None]:
    try:
        yield
    except BaseException:
        response.close()
        raise


def _by_a_stranger(
    request: Request, response: Response, failure: RegistryError | TransientError
) -> RegistryError | TransientError:
    """Make a refusal by another host than the registry transient: its signed address may have grown old in a cache."""
    asked, answered = urlsplit(request.url).netloc, urlsplit(response.url).netloc
    if isinstance(failure, AccessDeniedError) and asked != answered:
        return TransientError(
            request.inquiry.error(
                AccessDeniedError, f"{answered}, to which it redirects, refuses access", status=response.status_code
            )
        )
    return failure
