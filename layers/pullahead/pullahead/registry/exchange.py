"""Ask until answered: tokens, redirects, retries and statuses put together. Knows no manifests and no blobs."""

from collections.abc import Callable, Collection
from typing import TypeVar
from urllib.parse import urlsplit

from pullahead.errors import AccessDeniedError, RegistryError
from pullahead.registry.credentials import Credentials, anonymous
from pullahead.registry.failures import TransientError, failed_answer
from pullahead.registry.responses import Response
from pullahead.registry.tokens import Tokens
from pullahead.registry.transport import MAX_ERROR_BODY_BYTES, Request, Transport

MAX_TRIES = 3
MAX_WAIT_SECONDS = 10.0

_WAIT_SECONDS = 1.0  # at most, after the first try; twice as much after the second

_Received = TypeVar("_Received")


class Exchange:
    """Puts requests that may be repeated to registries. May be used by several threads."""

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        credentials: Credentials = anonymous,
    ) -> None:
        self._transport, self._clock, self._sleep, self._jitter = transport, clock, sleep, jitter
        self._tokens = Tokens(self._fetch_token, clock, credentials)

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
        response = self._transport.follow(request, deadline, self._ask_with_token)
        return self._checked(request, response, deadline, statuses)

    def _ask_with_token(self, request: Request, deadline: float) -> Response:
        authorization = self._tokens.current(request, deadline)
        response = self._transport.send(request, deadline, authorization)
        if response.status_code != 401:
            return response
        challenge = self._tokens.answerable(request, response.headers.get("WWW-Authenticate", ""))
        if challenge is None:
            return response
        with response:
            self._transport.read_error(response, request.inquiry, deadline)
        renewed = self._tokens.renew(request, challenge, authorization, deadline)
        return self._transport.send(request, deadline, renewed)

    def _fetch_token(self, request: Request, deadline: float, authorization: str | None) -> bytes:
        def ask(hop: Request, until: float) -> Response:
            return self._transport.send(hop, until, authorization if hop.identified else None)

        checked = self._checked(request, self._transport.follow(request, deadline, ask), deadline, (200,))
        return self.receive_body(checked, request, MAX_ERROR_BODY_BYTES, deadline)

    def _checked(self, request: Request, response: Response, deadline: float, statuses: Collection[int]) -> Response:
        if response.status_code in statuses:
            return response
        with response:
            body = self._transport.read_error(response, request.inquiry, deadline)
        failure = failed_answer(request.inquiry, response.status_code, response.headers, body)
        raise _by_a_stranger(request, response, failure) from None


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
