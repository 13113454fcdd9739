"""Faults of AWS's services towards functions: a WSGI application before all others, which throttles, fails or loses
answers. Who calls, and when it goes wrong, is decided by whoever sets `decide`.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple

from local.aws.recorded_calls import WsgiApp

# Signature Version 4, "Create a signed request": Credential=KEY/DATE/REGION/SERVICE/aws4_request
_OF_A_ROLE: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=local\.[^/]+/\d+/[^/]+/([^/]+)/aws4_request")
_FAILED: Final = "500 Internal Server Error"
# By whether the request is throttled. botocore retries ThrottlingException for every service.
_OF_OTHERS: Final = ((_FAILED, "InternalFailure"), ("400 Bad Request", "ThrottlingException"))
# Lambda API reference, Invoke, Errors: Step Functions reports these names, by which its Retry goes.
_OF_LAMBDA: Final = ((_FAILED, "ServiceException"), ("429 Too Many Requests", "TooManyRequestsException"))
_SLOW_DOWN: Final = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class ServiceFault(StrEnum):
    """What goes wrong with one request."""

    THROTTLED = "throttled"
    FAILED = "failed"
    ANSWER_LOST = "answer lost"  # the request has taken effect


class ServiceCall(NamedTuple):
    """A request of a function: the service as it is signed for, and the operation, "" if its protocol has no name."""

    service: str
    operation: str


class ServiceFaults:
    """Lets requests of functions fail; those of people and tests never do. For several threads."""

    def __init__(self) -> None:
        self.decide: Callable[[ServiceCall], ServiceFault | None] = lambda _call: None

    def before(self, app: WsgiApp) -> WsgiApp:
        """Put the faults before an application."""

        def faulty(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            signed = _OF_A_ROLE.match(environ.get("HTTP_AUTHORIZATION", ""))
            if signed is None:
                return app(environ, start_response)
            operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
            fault = self.decide(ServiceCall(signed[1], operation))
            if fault is None:
                return app(environ, start_response)
            if fault is ServiceFault.ANSWER_LOST:
                for _ in app(environ, lambda *_: None):
                    pass
            else:  # the connection is kept, so what was sent has to be read
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _answer(fault, signed[1], start_response)

        return faulty


def _answer(fault: ServiceFault, service: str, start_response: Callable[..., Any]) -> list[bytes]:
    name = ""
    if service == "s3":
        status, kind, body = "503 Slow Down", "application/xml", _SLOW_DOWN
    else:
        status, name = (_OF_LAMBDA if service == "lambda" else _OF_OTHERS)[fault is ServiceFault.THROTTLED]
        kind = "application/x-amz-json-1.0"
        body = json.dumps({"__type": name, "message": fault.value}).encode()
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), "x-amzn-RequestId": str(uuid.uuid4())}
    start_response(status, list((headers | ({"x-amzn-ErrorType": name} if name else {})).items()))
    return [body]
