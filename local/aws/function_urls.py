"""Serves the URLs of functions at /_url/ID/…: HTTP becomes an event, and what the function gives becomes HTTP.

AWS Lambda Developer Guide, "Invoking Lambda function URLs" (payload format 2.0) and "Control access to Lambda function
URLs": since October 2025 both lambda:InvokeFunctionUrl and lambda:InvokeFunction are wanted. Of AuthType only NONE is
known here.
"""

import base64
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from werkzeug.wrappers import Request, Response

from local.aws import ACCOUNT_ID, REGION, cloudformation
from local.aws.concurrency import ThrottledError
from local.aws.lambda_sandbox import InvocationOutcome
from local.aws.moto_guard import replace, stock, take

_MODELS: Final = "moto.awslambda.models"
_PREFIX: Final = "/_url/"
# Lambda quotas, "Function configuration, deployment, and execution", Invocation payload: 6 MB each, synchronous.
MAX_BODY_BYTES: Final = 6 * 1024 * 1024
_WANTED_ACTIONS: Final = frozenset({"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"})
_TEXTS: Final = ("text/", "application/json", "application/javascript", "application/xml")

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def install(base_url: Callable[[], str]) -> None:
    """Let functions have URLs at this server, whether the API or CloudFormation makes them."""
    create = stock(_MODELS, "LambdaFunction.create_url_config")

    def create_here(function: Any, config: dict[str, Any]) -> Any:
        made = create(function, config)
        made.url = f"{base_url()}{_PREFIX}{uuid.uuid4().hex}/"  # another one each time, as in AWS
        return made

    replace(_MODELS, "LambdaFunction.create_url_config", create_here)
    cloudformation.add_type("AWS::Lambda::Url", _Url, _MODELS)


class _Url:
    """A resource as moto's CloudFormation wants one; the URL's configuration is its function's."""

    def __init__(self, physical_resource_id: str, url: str) -> None:
        self.physical_resource_id, self._url = physical_resource_id, url

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::Url"

    @classmethod
    def create_from_cloudformation_json(
        cls, _: str, cloudformation_json: dict[str, Any], account_id: str, region_name: str, **__: Any
    ) -> "_Url":
        properties = cloudformation_json["Properties"]
        backend = take(_MODELS, "lambda_backends")[account_id][region_name]
        config = {"AuthType": properties["AuthType"]}
        made = backend.create_function_url_config(properties["TargetFunctionArn"], config)
        return cls(made.function.function_arn, made.url)

    @classmethod
    def has_cfn_attr(cls, attribute: str) -> bool:
        return attribute == "FunctionUrl"

    def get_cfn_attribute(self, _: str) -> str:
        return self._url

    def delete(self, account_id: str, region_name: str) -> None:
        """Take the URL from its function."""
        take(_MODELS, "lambda_backends")[account_id][region_name].delete_function_url_config(self.physical_resource_id)


class FunctionUrls:
    """Answers /_url/…; all else is the next application's."""

    def __init__(self, run: Callable[[Any, bytes], InvocationOutcome]) -> None:
        self._run = run
        self._running = Counter[str]()
        self._lock = threading.Lock()

    def before(self, app: WsgiApp) -> WsgiApp:
        """Put the URLs before an application, which answers as if it were alone."""

        def serving(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if not environ.get("PATH_INFO", "").startswith(_PREFIX):
                return app(environ, start_response)
            body: Iterable[bytes] = self._answer(Request(environ))(environ, start_response)
            return body

        return serving

    def _answer(self, request: Request) -> Response:
        raw = request.environ.get("RAW_URI", request.path).partition("?")[0]
        identifier, _, path = raw.removeprefix(_PREFIX).partition("/")
        function = _with_url(identifier)
        if function is None:
            return _message(404, "Not Found")
        name = function.function_name
        if not _is_public(function):
            return _message(403, "Forbidden. For troubleshooting Function URL authorization issues, see the docs.")
        if (request.content_length or 0) > MAX_BODY_BYTES:
            return _message(413, "Request Entity Too Large")
        if not self._begin(name, function.reserved_concurrency):
            return _message(429, "Rate Exceeded.")
        try:
            outcome = self._run(function, json.dumps(_event(request, identifier, f"/{path}")).encode())
        except ThrottledError as error:
            return _message(429, str(error))
        finally:
            with self._lock:
                self._running[name] -= 1
        return _message(502, "Internal Server Error") if outcome.error_type is not None else _response(outcome.payload)

    def _begin(self, name: str, limit: int | None) -> bool:
        with self._lock:
            if limit is not None and self._running[name] >= int(limit):
                return False
            self._running[name] += 1
            return True


def _with_url(identifier: str) -> Any:
    with_urls = (
        each for each in take(_MODELS, "lambda_backends")[ACCOUNT_ID][REGION].list_functions() if each.url_config
    )
    return next((each for each in with_urls if each.url_config.url.endswith(f"{_PREFIX}{identifier}/")), None)


def _is_public(function: Any) -> bool:
    allowed = [each for each in function.policy.statements if each.get("Principal") == "*"]
    return {each.get("Action") for each in allowed} >= _WANTED_ACTIONS


def _event(request: Request, identifier: str, path: str) -> dict[str, Any]:
    content = request.get_data()
    kind = request.headers.get("Content-Type", "")
    is_text = not content or kind.startswith(_TEXTS)
    now = time.time()
    host = request.host
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.query_string.decode(),
        "headers": {key.lower(): value for key, value in request.headers.items()},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": identifier,
            "domainName": host,
            "domainPrefix": identifier,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
                "sourceIp": request.remote_addr,
                "userAgent": request.headers.get("User-Agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now * 1000),
        },
        **(
            {"body": content.decode(errors="replace") if is_text else base64.b64encode(content).decode()}
            if content
            else {}
        ),
        "isBase64Encoded": not is_text,
    }


def _response(payload: bytes) -> Response:
    """Write what a function gave; what is no response is the body (Developer Guide, "Response payload format")."""
    answer = json.loads(payload)
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return Response(json.dumps(answer), 200, {"Content-Type": "application/json"})
    body = answer.get("body", "")
    content = base64.b64decode(body) if answer.get("isBase64Encoded") else str(body).encode()
    return Response(content, int(answer["statusCode"]), answer.get("headers") or {"Content-Type": "application/json"})


def _message(status: int, text: str) -> Response:
    return Response(json.dumps({"Message": text}), status, {"Content-Type": "application/json"})
