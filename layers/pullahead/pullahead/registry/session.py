"""Send requests until they are answered: authorization, redirects, turns and retries put together.

Knows no manifests and no blobs. One session reads from every upstream; another one writes to one target: only that
registry gets credentials, and its uploads may lie elsewhere. Both follow redirects, by the same method, and the guard
judges each. Clients differ on what is written to an address that moved; sending the same again to where a registry says
is the only reading by which it arrives.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from pullahead.errors import (
    AccessDeniedError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    ResponseTooLargeError,
    UploadLostError,
)
from pullahead.oci import Repository
from pullahead.registry.errors import TransientError, failed_answer
from pullahead.registry.http import MAX_ANSWER_BYTES, HttpClient, Response, read_all
from pullahead.registry.rate_limits import Limits, NoteResponse
from pullahead.registry.request import (
    MAX_REDIRECTS,
    REDIRECTS,
    Body,
    Inquiry,
    ReadResponse,
    Request,
    SentCredential,
    Timeouts,
    may_be_repeated,
    moved,
    origin_of,
)
from pullahead.registry.tokens import Identity, Tokens

MAX_TRIES = 3
MAX_WAIT_SECONDS = 10.0
MAX_ERROR_BODY_BYTES = 64 * 1024

_WAIT_SECONDS = 1.0  # at most, after the first try; twice as much after the second
_COMMIT_SECONDS = 300.0  # a registry may read a whole blob again before it answers that it has it
_DRAIN_SECONDS = 5.0
_MAY_HIDE = frozenset({401, 403, 404})
"""How a registry that lets anybody in answers for what is private, without saying that a login would help."""
_BY_CREDENTIAL = _MAY_HIDE | {429}
"""Answers that may depend on the credential."""

_Received = TypeVar("_Received")

Refuse = Callable[[Inquiry, ReadResponse], RegistryError | TransientError]
"""Makes the error for an answer whose status is not one of those expected."""


class Retries(NamedTuple):
    """The clock by which tries end, in seconds; how to wait between them, and a random share of that wait."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]


class Session:
    """Sends requests that may be repeated, and streams that may not. May be used by several threads."""

    def __init__(
        self,
        http: HttpClient,
        timeouts: Timeouts,
        retries: Retries,
        identity: Identity,
        *,
        limits: Limits | None = None,
        sent: Callable[[Request], None] = lambda _request: None,
        target: Callable[[], str] | None = None,
    ) -> None:
        """Make a session; `target` finds the address of the only registry that it writes to; None if it reads."""
        self._http, self._timeouts, self._retries, self._limits, self._sent = http, timeouts, retries, limits, sent
        self._target = target
        self._tokens = Tokens(self._fetch_token, retries.clock, identity)

    def ask(
        self,
        request: Request,
        receive: Callable[[Response, float], _Received],
        statuses: Collection[int] = (200,),
        *,
        content: bytes | memoryview | None = None,
        tries: int = MAX_TRIES,
        refuse: Refuse = failed_answer,
    ) -> _Received:
        """Get an answer with one of `statuses` and return what `receive` makes of it before the deadline it is given.

        `receive` closes the response, or returns it. It runs again if it meets a connection that breaks.
        """
        deadline = self._retries.clock() + self._timeouts.total
        tried = 0
        while True:
            tried += 1
            try:
                response = self._answer(request, deadline, statuses, content, refuse)
                may_be_late = request.method == "PUT" or content is not None
                until = max(deadline, self._retries.clock() + _DRAIN_SECONDS) if may_be_late else deadline
                return receive(response, until)
            except TransientError as transient:
                wait = self._wait_after(tried, transient, request) if tried < tries else None
                if wait is None or self._retries.clock() + wait >= deadline:
                    transient.error.tries = tried
                    raise transient.error from None
            self._retries.sleep(wait)

    def answer(
        self,
        request: Request,
        statuses: Collection[int],
        content: bytes | memoryview | None = None,
        *,
        tries: int = MAX_TRIES,
        refuse: Refuse = failed_answer,
    ) -> ReadResponse:
        """Get an answer with one of `statuses`, its small body read."""

        def receive(response: Response, deadline: float) -> ReadResponse:
            body = self.receive_body(response, request, MAX_ANSWER_BYTES, deadline)
            return ReadResponse(response.status_code, response.headers, body)

        return self.ask(request, receive, statuses, content=content, tries=tries, refuse=refuse)

    def stream(self, request: Request, body: Body, statuses: Collection[int]) -> ReadResponse:
        """Send a body once, as it comes; the upload that it was for is lost if that fails."""
        deadline = self._retries.clock() + self._timeouts.total
        authorization = self._authorization(request, deadline)
        try:
            with self._http.open(
                _with(request, authorization), body, within=self._timeouts.total, answer_within=_COMMIT_SECONDS
            ) as response:
                deadline = self._retries.clock() + self._timeouts.total  # sending may have taken any time
                if response.status_code == 401 and self._renewed(request, response, authorization, deadline):
                    cause = "the registry refused the token that it had accepted before"
                    raise request.inquiry.error(UploadLostError, cause, status=401)
                checked = self._checked(request, response, statuses, failed_answer)
                content = self.receive_body(checked, request, MAX_ANSWER_BYTES, deadline)
                return ReadResponse(checked.status_code, checked.headers, content)
        except TransientError as transient:
            raise transient.error from None

    def receive_body(self, response: Response, request: Request, limit: int, deadline: float) -> bytes:
        """Read a body of at most `limit` bytes and give the connection back."""
        with response:
            response.limit(self._remaining(deadline, request.inquiry))
            return read_all(response, request.inquiry, limit)

    def forget_access(self, repository: Repository) -> None:
        """Forget the tokens for a repository: its credential is looked up again."""
        self._tokens.forget(repository)

    def identified(self, request: Request) -> Inquiry:
        """Add to the inquiry of a request that was refused with which credential it was sent."""
        if request.inquiry.sent is not None:  # to a token service
            return request.inquiry
        sent = self._tokens.sent(_about(request)) if self._may_authorize(request) else SentCredential()
        return request.inquiry._replace(sent=sent)

    @property
    def piece_seconds(self) -> float:
        """How long a piece of a blob may take."""
        return self._timeouts.read

    # --- one try --------------------------------------------------------------------------------------------------

    def _answer(
        self,
        request: Request,
        deadline: float,
        statuses: Collection[int],
        content: bytes | memoryview | None,
        refuse: Refuse,
    ) -> Response:
        if self._limits is not None and self._limits.wants_news(request):
            self._drop(self._ask_as_known(request._replace(method="HEAD"), deadline, None), request)

        def ask(hop: Request, until: float) -> Response:
            return self._ask_as_known(hop, until, content)

        response = self._follow(request, deadline, ask, statuses)
        return self._checked(request, response, statuses, refuse)

    def _follow(
        self,
        request: Request,
        deadline: float,
        ask: Callable[[Request, float], Response],
        statuses: Collection[int] = (),
    ) -> Response:
        """Ask, and ask again wherever the answer points, by the same method, unless its status is one of `statuses`.

        Raises RegistryUnavailableError, AccessDeniedError.
        """
        for _ in range(MAX_REDIRECTS + 1):
            response = ask(request, deadline)
            is_done = response.status_code in statuses or response.status_code not in REDIRECTS
            if is_done or not may_be_repeated(request.method, response.status_code):
                return response
            self._drop(response, request)
            request = moved(request, response.headers)
        raise request.inquiry.error(RegistryUnavailableError, f"redirected more than {MAX_REDIRECTS} times")

    def _ask_as_known(self, request: Request, deadline: float, content: bytes | memoryview | None) -> Response:
        """Ask with the credential at hand; again, once, with another one, or with one that was not asked for."""
        try:
            response, authorization = self._ask_with_token(request, deadline, content)
        except AccessDeniedError:  # by the token service
            if not self._may_authorize(request) or not self._tokens.changed(_about(request), None):
                raise
            return self._ask_with_token(request, deadline, content)[0]
        with _closed_on_error(response):
            again = response.status_code in _MAY_HIDE and self._has_other_authorization(
                request, response, authorization, deadline
            )
        if not again:
            return response
        self._drop(response, request)
        return self._ask_with_token(request, deadline, content)[0]

    def _has_other_authorization(
        self, request: Request, response: Response, authorization: str | None, deadline: float
    ) -> bool:
        if not self._may_authorize(request):
            return False
        if response.status_code != 404 and self._tokens.changed(_about(request), authorization):
            return True
        return authorization is None and self._finds_challenge(request, response, deadline)

    def _finds_challenge(self, request: Request, response: Response, deadline: float) -> bool:
        """Ask the root of the API how to log in, where a registry says that a thing is missing, or not for us.

        Nexus and some set-ups of distribution let anybody in, and challenge only there.
        """
        about = _about(request)
        if response.headers.get("WWW-Authenticate") or not self._tokens.has_unused_credential(about):
            return False
        root = request._replace(method="GET", url=f"{origin_of(about.url)}/v2/", resource="", headers={})

        def ask(hop: Request, until: float) -> Response:
            return self._send(hop, until, None, None)

        with self._follow(root, deadline, ask) as challenged:
            body = self._read_error(challenged, root)
        failure = failed_answer(request.inquiry, ReadResponse(challenged.status_code, challenged.headers, body))
        if isinstance(failure, TransientError) and challenged.status_code != 401:
            raise failure
        stays = origin_of(challenged.url) == origin_of(root.url)
        header = challenged.headers.get("WWW-Authenticate", "") if stays and challenged.status_code == 401 else ""
        challenge = self._tokens.answerable(about, header)
        if challenge is None:
            self._tokens.is_never_asked_for(about)
            return False
        self._tokens.renew(about, challenge, None, deadline)
        return True

    def _ask_with_token(
        self, request: Request, deadline: float, content: bytes | memoryview | None
    ) -> tuple[Response, str | None]:
        authorization = self._authorization(request, deadline)
        response = self._send(request, deadline, authorization, content)
        if response.status_code != 401:
            return response, authorization
        with _closed_on_error(response):
            renewed = self._renewed(request, response, authorization, deadline)
        if renewed is None:
            return response, authorization
        self._drop(response, request)
        return self._send(request, deadline, renewed, content), renewed

    def _renewed(self, request: Request, response: Response, authorization: str | None, deadline: float) -> str | None:
        """Answer a challenge; None if nothing else can be said than what was refused."""
        if not self._may_authorize(request):
            return None
        about = _about(request)
        challenge = self._tokens.answerable(about, response.headers.get("WWW-Authenticate", ""))
        if challenge is None:
            return None
        if challenge.scheme != "basic":
            self._drop(response, request)  # so that the token can be fetched by the same connection
        renewed = self._tokens.renew(about, challenge, authorization, deadline)
        return None if challenge.scheme == "basic" and renewed == authorization else renewed

    def _authorization(self, request: Request, deadline: float) -> str | None:
        return self._tokens.current(_about(request), deadline) if self._may_authorize(request) else None

    def _may_authorize(self, request: Request) -> bool:
        return self._target is None or origin_of(request.url) == origin_of(self._target())

    def _send(
        self, request: Request, deadline: float, authorization: str | None, content: bytes | memoryview | None
    ) -> Response:
        body = None if content is None else Body((content,), len(content))
        authorized = _with(request, authorization)
        with self._turn(request, self._remaining(deadline, request.inquiry)) as answered:
            self._sent(authorized)
            response = self._http.open(
                authorized,
                body,
                within=self._remaining(deadline, request.inquiry),
                answer_within=_COMMIT_SECONDS if request.method == "PUT" else None,
            )
            answered(response.status_code, response.headers)
        return response

    def _turn(self, request: Request, seconds: float) -> AbstractContextManager[NoteResponse]:
        return nullcontext(_ignore) if self._limits is None else self._limits.turn(request, seconds)

    def _fetch_token(
        self, request: Request, deadline: float, authorization: str | None, content: bytes | None
    ) -> bytes:
        def ask(hop: Request, until: float) -> Response:
            if not hop.identified and (content is not None or self._target is not None):
                # Whether the other host may have the credential would have to be decided again; for a target, and for
                # a body that holds the credential, nothing would be had without it.
                cause = f"it redirects to {urlsplit(hop.url).netloc}, which is not followed with a credential"
                raise request.inquiry.error(AccessDeniedError, cause)
            return self._send(hop, until, authorization if hop.identified else None, content)

        response = self._follow(request, deadline, ask)
        checked = self._checked(request, response, (200,), failed_answer)
        return self.receive_body(checked, request, MAX_ERROR_BODY_BYTES, deadline)

    # --- answers --------------------------------------------------------------------------------------------------

    def _checked(self, request: Request, response: Response, statuses: Collection[int], refuse: Refuse) -> Response:
        if response.status_code in statuses:
            return response
        with response:
            body = self._read_error(response, request)
        inquiry = self.identified(request) if response.status_code in _BY_CREDENTIAL else request.inquiry
        failure = refuse(inquiry, ReadResponse(response.status_code, response.headers, body))
        is_led_elsewhere = request.sent_by != "" and not self._may_authorize(request)
        if isinstance(failure, AccessDeniedError) and is_led_elsewhere and not request.inquiry.by_way_of:
            cause = f"access denied by {urlsplit(request.url).netloc}, where the registry wants the upload"
            advice = "No credential is sent there: it is another host than the registry."
            raise request.inquiry.error(AccessDeniedError, cause, status=response.status_code, advice=advice) from None
        raise _by_another_host(request, response, failure) from None

    def _drop(self, response: Response, request: Request) -> None:
        """Read an answer that is not needed, so that its connection can be used again."""
        with response:
            self._read_error(response, request)

    def _read_error(self, response: Response, request: Request) -> bytes:
        """Read the body of an answer of which the status says enough: b"" if it is too long or breaks off."""
        try:
            response.limit(_DRAIN_SECONDS)
            return read_all(response, request.inquiry, MAX_ERROR_BODY_BYTES)
        except (TransientError, RegistryTimeoutError, RegistryUnavailableError, ResponseTooLargeError):
            return b""

    def _wait_after(self, tried: int, transient: TransientError, request: Request) -> float | None:
        """Tell how long to wait before another try; None if the request would not wait as long for its turn."""
        patience = MAX_WAIT_SECONDS
        if self._limits is not None:
            patience = min(patience, self._limits.patience_for(request))
        asked = transient.retry_after_seconds
        if asked is not None:
            return asked if asked <= patience else None
        if isinstance(transient.error, RateLimitedError) and patience < MAX_WAIT_SECONDS:
            return None
        return self._retries.jitter() * _WAIT_SECONDS * 2.0 ** (tried - 1)

    def _remaining(self, deadline: float, inquiry: Inquiry) -> float:
        seconds = deadline - self._retries.clock()
        if seconds <= 0:
            raise inquiry.error(RegistryTimeoutError, f"timed out after {self._timeouts.total:g} seconds")
        return seconds


def _ignore(_status: int, _headers: object) -> None:
    """Leave an answer alone, where no limits are kept."""


def _about(request: Request) -> Request:
    """Name the repository, where the address of an upload, which the registry chose, does not."""
    return request._replace(url=request.resource) if request.resource else request


def _with(request: Request, authorization: str | None) -> Request:
    if authorization is None:
        return request
    return request._replace(headers={**request.headers, "Authorization": authorization})


@contextmanager
def _closed_on_error(response: Response) -> Iterator[None]:
    try:
        yield
    except BaseException:
        response.close()
        raise


def _by_another_host(
    request: Request, response: Response, failure: RegistryError | TransientError
) -> RegistryError | TransientError:
    """Make a refusal by another host than the registry transient: its signed address may have expired in a cache."""
    asked, answered = urlsplit(request.url).netloc, urlsplit(response.url).netloc
    if isinstance(failure, AccessDeniedError) and asked != answered:
        cause = f"access denied by {answered}, to which the registry redirects"
        return TransientError(request.inquiry.error(AccessDeniedError, cause, status=response.status_code))
    return failure
