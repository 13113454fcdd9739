"""Stands in for awslambdaric's native module `runtime_client`, which is built on Linux only. Run inside a sandbox.

Loaded by `bootstrap.py` where the native one is missing, as on macOS. Imports the standard library only.
"""

import http.client
import os
from typing import Final

_PREFIX: Final = "/2018-06-01/runtime/invocation"
_user_agent = "aws-lambda-python"


def initialize_client(user_agent: str) -> None:
    """Remember how to call ourselves."""
    global _user_agent  # noqa: PLW0603  the native module keeps it the same way
    _user_agent = user_agent


def next() -> tuple[bytes, dict[str, str]]:  # noqa: A001  the name that awslambdaric calls
    """Wait for the next event; return it with its headers."""
    return _call("GET", f"{_PREFIX}/next", None, {}, 200)


def post_invocation_result(invoke_id: str, data: bytes, content_type: str, _: str | None = None) -> None:
    """Answer an event."""
    _call("POST", f"{_PREFIX}/{invoke_id}/response", data, {"Content-Type": content_type}, 202)


def post_error(invoke_id: str, error: str, _: str, __: str | None = None) -> None:
    """Say that the handler raised."""
    _call("POST", f"{_PREFIX}/{invoke_id}/error", error.encode(), {"Content-Type": "application/json"}, 202)


def _call(
    method: str, path: str, body: bytes | None, headers: dict[str, str], wanted: int
) -> tuple[bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        connection.request(method, path, body, {"User-Agent": _user_agent, **headers})
        response = connection.getresponse()
        answer = response.read()
        if response.status != wanted:
            raise RuntimeError(f"the Runtime API answered {response.status} to {method} {path}")
        return answer, dict(response.getheaders())
    finally:
        connection.close()
