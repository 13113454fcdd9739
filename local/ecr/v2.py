"""The Docker endpoint of the strict local ECR, as WSGI middleware before moto. Decides who answers which path.

To the call log and the faults its operations are v2:Ping, v2:StartUpload, v2:PatchUpload, v2:FinishUpload,
v2:UploadStatus, v2:HeadBlob, v2:GetBlob, v2:HeadManifest, v2:GetManifest, v2:PutManifest, v2:ListTags and
v2:ListReferrers. It must run in a threaded server: moto calls itself, and uploads last.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from local.ecr.downloads import download, get_blob, head_blob
from local.ecr.errors import EcrError
from local.ecr.strict import BLOB_PATH, StrictEcr
from local.ecr.tokens import TokenExpiredError, TokenRefusedError
from local.ecr.v2_http import V2Error, base_url, error_response, response, v2_error
from local.ecr.v2_manifests import get_manifest, list_referrers, list_tags, put_manifest
from local.ecr.v2_uploads import finish_upload, patch_upload, start_upload, upload_status

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Endpoint = Callable[..., Response]

# A name may hold slashes, so the longest possible name is taken.
_ROUTES: tuple[tuple[re.Pattern[str], Mapping[str, Endpoint]], ...] = (
    (re.compile(r"/v2/(.+)/blobs/uploads/?"), {"POST": start_upload}),
    (
        re.compile(r"/v2/(.+)/blobs/uploads/([^/]+)"),
        {"PATCH": patch_upload, "PUT": finish_upload, "GET": upload_status},
    ),
    (re.compile(r"/v2/(.+)/blobs/([^/]+)"), {"GET": get_blob, "HEAD": head_blob}),
    (
        re.compile(r"/v2/(.+)/manifests/([^/]+)"),
        {"GET": get_manifest, "HEAD": get_manifest, "PUT": put_manifest},
    ),
    (re.compile(r"/v2/(.+)/tags/list"), {"GET": list_tags}),
    (re.compile(r"/v2/(.+)/referrers/([^/]+)"), {"GET": list_referrers}),
)


class V2Application:
    """Answers /v2/… and presigned blob URLs; all else is the next application's."""

    def __init__(self, next_app: WsgiApp, ecr: StrictEcr) -> None:
        self._next_app = next_app
        self._ecr = ecr

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        if path.startswith(BLOB_PATH):
            return self._answer(_download, environ, start_response)
        # Some AWS APIs have paths under /v2 too, and their requests are signed.
        signed = environ.get("HTTP_AUTHORIZATION", "").startswith("AWS4-")
        if (path == "/v2" or path.startswith("/v2/")) and not signed:
            return self._answer(_docker_endpoint, environ, start_response)
        return self._next_app(environ, start_response)

    def _answer(
        self,
        endpoint: Callable[[StrictEcr, Request], Response],
        environ: dict[str, Any],
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        try:
            answer = endpoint(self._ecr, Request(environ))
        except V2Error as error:
            answer = error_response(error)
        except EcrError as error:
            answer = error_response(v2_error(error))
        body: Iterable[bytes] = answer(environ, start_response)
        return body


def _download(ecr: StrictEcr, request: Request) -> Response:
    return download(ecr.in_region(request.args.get("region", ecr.region)), request)


def _docker_endpoint(home: StrictEcr, request: Request) -> Response:
    ecr = home.at_host(request.host)
    _authorize(ecr, request)
    if request.path in ("/v2", "/v2/"):
        with ecr.observed("v2:Ping", None, {}):
            return response(200, {})
    for pattern, methods in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match and request.method in methods:
            return methods[request.method](ecr, request, *match.groups())
    # So ECR answers what it does not do, DELETE of manifests and tags among it: aws/containers-roadmap#1229.
    return Response("404 page not found\n", 404, {"Content-Type": "text/plain"})


def _authorize(ecr: StrictEcr, request: Request) -> None:
    """Accept Basic with a password of GetAuthorizationToken; there is no exchange for a Bearer token."""
    try:
        ecr.tokens.check_password(_password(request.headers.get("Authorization", "")))
    except TokenRefusedError as error:
        challenge = f'Basic realm="{base_url(request)}/",service="ecr.amazonaws.com"'
        raise V2Error(401, "UNAUTHORIZED", "Not Authorized", {"WWW-Authenticate": challenge}) from error
    except TokenExpiredError as error:
        message = "Your authorization token has expired. Reauthenticate and try again."
        raise V2Error(403, "DENIED", message) from error


def _password(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError) as error:
        raise TokenRefusedError from error
    if scheme.lower() != "basic" or user != "AWS":
        raise TokenRefusedError
    return password
