"""Serve blobs at presigned URLs as S3 does, and blobs by the Docker endpoint as redirects to them.

Refuses to know who may pull: whoever holds a signed URL may, as with S3.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from werkzeug.wrappers import Request, Response

from local.ecr.errors import EcrError
from local.ecr.strict import BLOB_PATH, StrictEcr
from local.ecr.tokens import TokenExpiredError, TokenRefusedError
from local.ecr.v2_http import PIECE_BYTES, V2Error, response

_SINGLE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class _Span(NamedTuple):
    start: int
    end: int  # one past the last byte


def head_blob(ecr: StrictEcr, _request: Request, name: str, digest: str) -> Response:
    """HEAD …/blobs/DIGEST: whether this repository has it."""
    with ecr.observed("v2:HeadBlob", name, {"digest": digest}):
        with ecr.registry.lock:
            layer = ecr.registry.get(name).layers.get(digest)
        if layer is None:
            raise _blob_unknown(digest)
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        return response(200, {**headers, "Content-Length": str(layer.size_bytes)})


def get_blob(ecr: StrictEcr, _request: Request, name: str, digest: str) -> Response:
    """GET …/blobs/DIGEST: 307 to where the bytes are; as in the API, only what an image refers to."""
    with ecr.observed("v2:GetBlob", name, {"digest": digest}):
        try:
            answer = ecr.layers.download_url({"repositoryName": name, "layerDigest": digest})
        except EcrError as error:
            if error.code in ("LayersNotFoundException", "LayerInaccessibleException"):
                raise _blob_unknown(digest) from error
            raise
        return response(307, {"Location": answer["downloadUrl"], "Docker-Content-Digest": digest})


def download(ecr: StrictEcr, request: Request) -> Response:
    """GET a presigned URL. Several ranges in one request give the whole blob, as S3 does without a word."""
    name, _, digest = request.path.removeprefix(BLOB_PATH).rpartition("/")
    try:
        with ecr.observed("DownloadBlob", name, {"digest": digest}):
            refusal = _refusal(ecr, request)
            return refusal or _serve(ecr.store.blob_path(digest), digest, request.headers.get("Range", ""))
    except EcrError as error:
        slow = error.code == "ThrottlingException"
        return _s3_error(503 if slow else error.status, "SlowDown" if slow else error.code, error.message)


def _refusal(ecr: StrictEcr, request: Request) -> Response | None:
    if "Authorization" in request.headers:
        return _s3_error(400, "InvalidArgument", "Only one auth mechanism allowed")
    if request.method != "GET":
        return _s3_error(403, "SignatureDoesNotMatch", "The URL is signed for GET")
    try:
        ecr.tokens.check_presigned(request.path, request.args.get("expires", ""), request.args.get("signature", ""))
    except TokenRefusedError:
        return _s3_error(403, "SignatureDoesNotMatch", "The signature does not match")
    except TokenExpiredError:
        return _s3_error(403, "AccessDenied", "Request has expired")
    return None


def _serve(path: Path, digest: str, range_header: str) -> Response:
    if not path.exists():
        return _s3_error(404, "NoSuchKey", "The specified key does not exist.")
    size = path.stat().st_size
    headers = {"ETag": f'"{digest[-32:]}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    span = _span(range_header, size)
    if span is None:
        return _streamed(path, _Span(0, size), 200, headers)
    if span.start >= span.end:
        return _s3_error(416, "InvalidRange", "The requested range is not satisfiable")
    headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    return _streamed(path, span, 206, headers)


def _span(header: str, size: int) -> _Span | None:
    """Read a single range; None where there is none that means anything (RFC 9110, 14.2)."""
    match = _SINGLE_RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return _Span(max(size - int(match[2]), 0), size)
    start, last = int(match[1]), int(match[2]) if match[2] else size - 1
    if match[2] and last < start:
        return None
    return _Span(start, min(last + 1, size))


def _streamed(path: Path, span: _Span, status: int, headers: dict[str, str]) -> Response:
    headers["Content-Length"] = str(span.end - span.start)
    return Response(_pieces(path, span), status, headers, direct_passthrough=True)


def _pieces(path: Path, span: _Span) -> Iterator[bytes]:
    left = span.end - span.start
    with path.open("rb") as file:
        file.seek(span.start)
        while left and (piece := file.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece


def _blob_unknown(digest: str) -> V2Error:
    return V2Error(404, "BLOB_UNKNOWN", f"The blob '{digest}' is not in this repository")


def _s3_error(status: int, code: str, message: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(body, status, {"Content-Type": "application/xml"})
