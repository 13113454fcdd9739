"""Speak OCI distribution over WSGI: bodies in bounded pieces, errors by their OCI codes. Knows no endpoint.

Bodies may come chunked: werkzeug's server then sets `wsgi.input_terminated` and decodes them itself.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Request, Response

from local.ecr.errors import EcrError, UnsupportedManifestError

PIECE_BYTES = 256 * 1024

Headers = dict[str, str]


class V2Error(Exception):
    """An answer of the Docker endpoint that is an error: HTTP status, OCI code and message."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


class _OciError(NamedTuple):
    status: int
    code: str


# Codes: OCI distribution-spec 1.1, "Error Codes". BLOB_UPLOAD_INVALID is sent as 416 where only the offset is wrong.
_OCI_ERRORS: Mapping[str, _OciError] = {
    "RepositoryNotFoundException": _OciError(404, "NAME_UNKNOWN"),
    "UploadNotFoundException": _OciError(404, "BLOB_UPLOAD_UNKNOWN"),
    "InvalidLayerPartException": _OciError(416, "BLOB_UPLOAD_INVALID"),
    "LayerPartTooSmallException": _OciError(400, "BLOB_UPLOAD_INVALID"),
    "EmptyUploadException": _OciError(400, "BLOB_UPLOAD_INVALID"),
    "InvalidLayerException": _OciError(400, "DIGEST_INVALID"),
    "ImageDigestDoesNotMatchException": _OciError(400, "DIGEST_INVALID"),
    "LayersNotFoundException": _OciError(400, "MANIFEST_BLOB_UNKNOWN"),
    "ReferencedImagesNotFoundException": _OciError(400, "MANIFEST_BLOB_UNKNOWN"),
    "ImageTagAlreadyExistsException": _OciError(400, "TAG_INVALID"),
    "InvalidParameterException": _OciError(400, "MANIFEST_INVALID"),
    "LimitExceededException": _OciError(403, "DENIED"),
    "AccessDeniedException": _OciError(403, "DENIED"),
    "ThrottlingException": _OciError(429, "TOOMANYREQUESTS"),
}


def v2_error(error: EcrError) -> V2Error:
    """Say an error of the ECR API in the words of OCI."""
    if isinstance(error, UnsupportedManifestError):
        return V2Error(405, "UNSUPPORTED", error.message)
    status, code = _OCI_ERRORS.get(error.code, _OciError(error.status, "UNKNOWN"))
    return V2Error(status, code, error.message)


def error_response(error: V2Error) -> Response:
    """Write an error."""
    body = json.dumps({"errors": [{"code": error.code, "message": error.message}]})
    return response(error.status, {**error.headers, "Content-Type": "application/json"}, body.encode())


def response(status: int, headers: Mapping[str, str], body: bytes = b"") -> Response:
    """Write an answer whose body is at hand."""
    always = {"Docker-Distribution-Api-Version": "registry/2.0", "Content-Length": str(len(body))}
    if not body and "Content-Type" not in headers:
        always["Content-Type"] = "text/plain"
    return Response([body], status, {**always, **headers})  # a list, or werkzeug would put its own Content-Length


def json_response(headers: Mapping[str, str], content: Any) -> Response:
    """Write a JSON answer."""
    return response(200, {"Content-Type": "application/json", **headers}, json.dumps(content).encode())


def body_pieces(request: Request) -> Iterator[bytes]:
    """Read a body piece by piece.

    Raises:
        V2Error: the client stopped before the end it had announced.
    """
    while piece := _read(request):
        yield piece


def small_body(request: Request, limit: int) -> bytes:
    """Read a body that must be small.

    Raises:
        V2Error: it is larger than the limit, or it stopped short.
    """
    pieces: list[bytes] = []
    size = 0
    for piece in body_pieces(request):
        size += len(piece)
        if size > limit:
            raise V2Error(413, "SIZE_INVALID", f"The body is larger than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def base_url(request: Request) -> str:
    """Give the address at which the client reached us: what it is sent to must be on the same host for its login."""
    return f"{request.scheme}://{request.host}"


def _read(request: Request) -> bytes:
    try:
        return bytes(request.stream.read(PIECE_BYTES))
    except (ClientDisconnected, OSError) as error:
        raise V2Error(400, "BLOB_UPLOAD_INVALID", "The request ended before its body did") from error
