"""Uploads by the Docker endpoint, with ECR's peculiarities. Refuses to know the rules of parts: those are in uploads.

A PATCH, and the body of the closing PUT, is one part of the layer-part API. As observed of ECR, PATCH answers 201 where
the specification says 202 (tart#273, mise#11376), and its Range header stays at the end of the first part
(aws/containers-roadmap#2831), so that clients must count for themselves. Mounting answers 202 unless the setting
BLOB_MOUNTING allows it, which it does not by default.
"""

import re
from collections.abc import Iterable, Iterator

from werkzeug.wrappers import Request, Response

from local.ecr.errors import EcrError
from local.ecr.manifests import is_digest
from local.ecr.strict import StrictEcr
from local.ecr.uploads import Upload
from local.ecr.v2_http import Headers, V2Error, base_url, body_pieces, response

_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?")


def start_upload(ecr: StrictEcr, request: Request, name: str) -> Response:
    """POST …/blobs/uploads/: also where a mount or a single-request upload was asked for, which clients must expect."""
    with ecr.observed("v2:StartUpload", name, dict(request.args)):
        digest, source = request.args.get("mount", ""), request.args.get("from", "")
        if ecr.account.mounts_blobs and ecr.layers.mount(name, digest, source):
            location = f"{base_url(request)}/v2/{name}/blobs/{digest}"
            return response(201, {"Location": location, "Docker-Content-Digest": digest})
        upload = ecr.layers.begin(name)
        return response(202, {**_where(request, upload), "Range": "0-0"})


def patch_upload(ecr: StrictEcr, request: Request, name: str, upload_id: str) -> Response:
    """PATCH …/blobs/uploads/ID: one part."""
    with ecr.observed("v2:PatchUpload", name, {"uploadId": upload_id}):
        upload = _append(ecr, request, name, upload_id)
        first_end = upload.part_ends[0] - 1 if upload.part_ends else 0
        return response(201, {**_where(request, upload), "Range": f"0-{first_end}"})


def finish_upload(ecr: StrictEcr, request: Request, name: str, upload_id: str) -> Response:
    """PUT …/blobs/uploads/ID?digest=…: the last part, or all of the blob, or nothing more."""
    digest = request.args.get("digest", "")
    with ecr.observed("v2:FinishUpload", name, {"uploadId": upload_id, "digest": digest}):
        if not is_digest(digest):
            raise V2Error(400, "DIGEST_INVALID", f"'{digest}' is not a sha256 digest")
        upload = _append(ecr, request, name, upload_id)
        try:
            ecr.layers.finish(upload, [digest])
        except EcrError as error:
            if error.code != "LayerAlreadyExistsException":  # over /v2 that is as good as done
                raise
        location = f"{base_url(request)}/v2/{name}/blobs/{digest}"
        return response(201, {"Location": location, "Docker-Content-Digest": digest})


def upload_status(ecr: StrictEcr, request: Request, name: str, upload_id: str) -> Response:
    """GET …/blobs/uploads/ID."""
    with ecr.observed("v2:UploadStatus", name, {"uploadId": upload_id}):
        upload = _find(ecr, name, upload_id)
        return response(204, {**_where(request, upload), "Range": f"0-{max(upload.last_byte, 0)}"})


def _find(ecr: StrictEcr, name: str, upload_id: str) -> Upload:
    return ecr.uploads.find(ecr.registry.get(name).name, upload_id)


def _append(ecr: StrictEcr, request: Request, name: str, upload_id: str) -> Upload:
    upload = _find(ecr, name, upload_id)
    first_byte, size = _content_range(request)
    pieces = body_pieces(request)
    ecr.uploads.append(upload, first_byte, pieces if size is None else _measured(pieces, size))
    return upload


def _measured(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    left = size
    for piece in pieces:
        left -= len(piece)
        yield piece
    if left:
        raise V2Error(400, "SIZE_INVALID", "The body does not have the length that Content-Range says")


def _content_range(request: Request) -> tuple[int | None, int | None]:
    text = request.headers.get("Content-Range")
    if text is None:
        return None, None
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None:
        raise V2Error(416, "BLOB_UPLOAD_INVALID", f"Content-Range '{text}' cannot be read")
    first, last = int(match[1]), int(match[2])
    return first, last - first + 1


def _where(request: Request, upload: Upload) -> Headers:
    location = f"{base_url(request)}/v2/{upload.repository}/blobs/uploads/{upload.upload_id}"
    return {"Location": location, "Docker-Upload-UUID": upload.upload_id}
