"""Records what roles call: a WSGI application before all others, which sees who asks for what.

Knows a caller by the access key that its processes were given, or by the ECR password that was issued to it; does not
know which permission a request needs (`api_actions.py`) nor whether a role has it.
"""

import io
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from local.aws.api_actions import DOCKER, ApiRequest, actions_of
from local.callers import JSON_IN_ENVIRON, ROLE_IN_ENVIRON

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_KEY_PREFIX: Final = "local."
# Signature Version 4, "Create a signed request": Credential=KEY/DATE/REGION/SERVICE/aws4_request
_SIGNED: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/,]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_LOGIN: Final = "GetAuthorizationToken"
_MAX_BODY_BYTES: Final = 32 * 1024 * 1024


class RecordedCall(NamedTuple):
    """A permission that a role needed: an IAM action on the resource of this ARN, asked for in a Region.

    `context`: the service's own condition keys.
    """

    role: str
    action: str
    resource: str
    region: str
    context: tuple[tuple[str, str], ...] = ()


def access_key_of(role_arn: str) -> str:
    """Give a role the access key by which its requests are known."""
    return f"{_KEY_PREFIX}{role_arn.rpartition('/')[2]}"


class _Caller(NamedTuple):
    role: str
    region: str
    service: str


class RecordedCalls:
    """What roles called, each different call once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[RecordedCall, None] = {}
        self._logins: dict[str, _Caller] = {}  # by the Authorization header that was issued

    def __iter__(self) -> Iterator[RecordedCall]:
        """List the calls in the order in which they first came."""
        with self._lock:
            return iter(list(self._calls))

    def add(self, call: RecordedCall) -> None:
        """Record a permission that a service needs in the name of a role."""
        with self._lock:
            self._calls[call] = None

    def before(self, app: WsgiApp) -> WsgiApp:
        """Put the record before an application, which answers as if it were alone."""

        def recording(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            caller = self._caller(environ.get("HTTP_AUTHORIZATION", ""))
            if caller is None:
                return app(environ, start_response)
            environ[ROLE_IN_ENVIRON] = caller.role
            request = _read(environ, caller)

            def start(status: str, headers: Any, *error: Any) -> Any:
                self._note(caller.role, request, int(status[:3]))
                return start_response(status, headers, *error)

            answer = app(environ, start)
            return self._remember_login(caller, answer) if request.operation == _LOGIN else answer

        return recording

    def _caller(self, authorization: str) -> _Caller | None:
        """Return the role and the service of a request; None unless it is made by a role of a stack."""
        signed = _SIGNED.match(authorization)
        if signed is not None and signed[1].startswith(_KEY_PREFIX):
            return _Caller(signed[1].removeprefix(_KEY_PREFIX), signed[2], signed[3])
        with self._lock:
            return self._logins.get(authorization)

    def _note(self, role: str, request: ApiRequest, status: int) -> None:
        needed = actions_of(request, status)
        found = [RecordedCall(role, each.action, each.resource, request.region, each.context) for each in needed]
        with self._lock:
            self._calls.update(dict.fromkeys(found))

    def _remember_login(self, caller: _Caller, answer: Iterable[bytes]) -> list[bytes]:
        """Note who got a password from ECR, and in which Region, since its Docker endpoint receives nothing else."""
        body = b"".join(answer)
        with self._lock:
            for granted in json.loads(body).get("authorizationData", []):
                self._logins[f"Basic {granted['authorizationToken']}"] = caller._replace(service=DOCKER)
        return [body]


def _read(environ: dict[str, Any], caller: _Caller) -> ApiRequest:
    """Read what a request asks for; its body only where that is named there."""
    target = environ.get("HTTP_X_AMZ_TARGET")
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    place = (caller.service, caller.region, environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), query)
    if target is not None:  # AWS JSON: SQS, DynamoDB, ECR and others
        environ[JSON_IN_ENVIRON] = content = json.loads(_body(environ) or b"{}")
        return ApiRequest(*place, target.rpartition(".")[2], content)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):  # AWS query: SNS, STS
        form = dict(parse_qsl(_body(environ).decode(), keep_blank_values=True))
        return ApiRequest(*place, form.get("Action", ""), form)
    return ApiRequest(*place, "", {})


def _body(environ: dict[str, Any]) -> bytes:
    """Read a body, and leave it to be read again."""
    body: bytes = environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), _MAX_BODY_BYTES))
    environ["wsgi.input"] = io.BytesIO(body)
    return body
