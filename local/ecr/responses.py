"""Stand in for moto's ECR in moto's server: take its requests, answer in AWS JSON 1.1. Refuses to know any operation.

One name of moto is taken hold of, `moto.ecr.urls.url_paths`, and checked at the start: moto is pinned for it.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import moto
import moto.ecr.urls

from local.callers import JSON_IN_ENVIRON, ROLE_IN_ENVIRON
from local.ecr.api_images import Emit
from local.ecr.errors import EcrError
from local.ecr.strict import StrictEcr
from local.ecr.tagging import install_tagging

MOTO_VERSION = "5.2.5"
_URL = "{0}/$"
_TARGET = "AmazonEC2ContainerRegistry_V20150921."
_MAX_REQUEST_BYTES = 32 * 1024 * 1024  # the largest part, 20 MiB, is 28 MB in base64

HttpAnswer = tuple[int, dict[str, str], str]


class MotoMismatchError(Exception):
    """moto is not the version that this was written for, or no longer has what is taken hold of."""


def install(data_dir: Path, public_url: Callable[[], str], now: Callable[[], datetime], emit: Emit) -> StrictEcr:
    """Make the strict ECR and let moto's server hand ECR's requests to it. Call it before the server app is made.

    Raises:
        MotoMismatchError: moto is not the one we know.
    """
    check_moto(getattr(moto, "__version__", "unknown"), getattr(moto.ecr.urls, "url_paths", {}))
    ecr = StrictEcr(data_dir, public_url, now, emit)

    def strict_ecr(request: Any, _url: str, headers: Mapping[str, str]) -> HttpAnswer:
        if (request.content_length or 0) > _MAX_REQUEST_BYTES:
            return _refusal(EcrError("RequestEntityTooLargeException", "The request is too large"))
        environ = request.environ
        return answer(ecr, headers, request.get_data(), environ.get(ROLE_IN_ENVIRON), environ.get(JSON_IN_ENVIRON))

    moto.ecr.urls.url_paths[_URL] = strict_ecr
    install_tagging(ecr.registry)
    return ecr


def answer(
    ecr: StrictEcr, headers: Mapping[str, str], body: bytes, role: str | None = None, read: Any = None
) -> HttpAnswer:
    """Answer one HTTP request of the ECR API, of a role, if it is known; `read` is the body's JSON, if it was read."""
    names = {name.lower(): value for name, value in headers.items()}
    try:
        registry = _registry_of(ecr, names.get("authorization", ""))
        result = registry.call(_operation(names), _parameters(body) if read is None else read, role)
    except EcrError as error:
        return _refusal(error)
    return _reply(200, result)


def check_moto(version: str, url_paths: Mapping[str, Any]) -> None:
    """Refuse to start on a moto that is not the one we know.

    Raises:
        MotoMismatchError: always then, naming the version that is pinned.
    """
    if version != MOTO_VERSION:
        raise MotoMismatchError(f"The local ECR is made for moto {MOTO_VERSION}, which is pinned; this is {version}")
    if list(url_paths) != [_URL]:
        raise MotoMismatchError(f"moto.ecr.urls.url_paths is not what it was in moto {MOTO_VERSION}")


def _registry_of(ecr: StrictEcr, authorization: str) -> StrictEcr:
    """Find the registry of the Region for which a request is signed; ECR has one for each Region."""
    credential = authorization.partition("Credential=")[2].partition(",")[0].split("/")
    return ecr.in_region(credential[2]) if len(credential) == 5 else ecr


def _operation(headers: Mapping[str, str]) -> str:
    target = headers.get("x-amz-target", "")
    if not target.startswith(_TARGET):
        raise EcrError("UnknownOperationException", f"'{target}' is not an operation of the ECR API")
    return target.removeprefix(_TARGET)


def _parameters(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise EcrError("SerializationException", "The request is not JSON") from error


def _refusal(error: EcrError) -> HttpAnswer:
    return _reply(error.status, {"__type": error.code, "message": error.message, **error.members})


def _reply(status: int, content: dict[str, Any]) -> HttpAnswer:
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid.uuid4())}
    return status, headers, json.dumps(content)
