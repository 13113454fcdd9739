"""Manifests, tags and referrers by the Docker endpoint. Refuses to know the rules: PutImage's are in images."""

from urllib.parse import urlencode

from werkzeug.wrappers import Request, Response

from local.callers import ROLE_IN_ENVIRON
from local.ecr.api_images import referrer
from local.ecr.errors import EcrError
from local.ecr.identity import ACCOUNT_ID, MAX_MANIFEST_BYTES, MAX_PAGE
from local.ecr.images import ImageFailureError, ImageId, tag_is_immutable
from local.ecr.manifests import is_digest
from local.ecr.strict import StrictEcr
from local.ecr.v2_http import Headers, V2Error, base_url, json_response, response, small_body

_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def get_manifest(ecr: StrictEcr, request: Request, name: str, reference: str) -> Response:
    """GET and HEAD …/manifests/REFERENCE: the exact bytes; HEAD answers the headers of GET."""
    asked = {"registryId": ACCOUNT_ID, "repositoryName": name, "imageIds": [_named(reference).to_api()]}
    recorded = ecr.trail.pull(asked, request.environ.get(ROLE_IN_ENVIRON), by_docker=True)
    with recorded, ecr.observed(_verb(request, "Manifest"), name, {"reference": reference}):
        try:
            manifest = ecr.images.pull(name, _named(reference)).manifest
        except ImageFailureError as failure:
            raise V2Error(404, "MANIFEST_UNKNOWN", failure.reason) from failure
        if not _accepts(request, manifest.media_type):
            message = f"Requested image found, but its media type '{manifest.media_type}' is not accepted"
            raise V2Error(404, "MANIFEST_UNKNOWN", message)
        return response(200, {"Content-Type": manifest.media_type, **_digest(manifest.digest)}, manifest.raw)


def put_manifest(ecr: StrictEcr, request: Request, name: str, reference: str) -> Response:
    """PUT …/manifests/REFERENCE: what PutImage does; the same manifest and tag again is no error here."""
    with ecr.observed("v2:PutManifest", name, {"reference": reference}):
        ecr.signing.check_push(name, request.environ.get(ROLE_IN_ENVIRON))
        ecr.registry.get(name)  # before the body: a missing repository is the first thing ECR says
        raw = small_body(request, MAX_MANIFEST_BYTES)
        media_type = request.headers.get("Content-Type")
        digest, subject = _push(ecr, name, raw, media_type, _named(reference))
        headers = {"Location": f"{base_url(request)}/v2/{name}/manifests/{digest}", **_digest(digest)}
        return response(201, headers | ({"OCI-Subject": subject} if subject else {}))


def list_tags(ecr: StrictEcr, request: Request, name: str) -> Response:
    """GET …/tags/list?n=…&last=…: by pages, in the order of the alphabet."""
    with ecr.observed("v2:ListTags", name, dict(request.args)):
        size, last = _page_size(request), request.args.get("last", "")
        with ecr.registry.lock:
            tags = sorted(tag for tag in ecr.registry.get(name).tags if tag > last)
        page = tags[:size]
        headers: Headers = {}
        if len(tags) > size:
            query = urlencode({"n": size, "last": page[-1]})
            headers["Link"] = f'</v2/{name}/tags/list?{query}>; rel="next"'
        return json_response(headers, {"name": name, "tags": page})


def list_referrers(ecr: StrictEcr, request: Request, name: str, digest: str) -> Response:
    """GET …/referrers/DIGEST (OCI distribution-spec 1.1; ECR has it since 2024-06)."""
    with ecr.observed("v2:ListReferrers", name, {"digest": digest}):
        if not is_digest(digest):
            raise V2Error(400, "DIGEST_INVALID", f"'{digest}' is not a sha256 digest")
        wanted = request.args.get("artifactType")
        found = ecr.images.referrers(name, digest, [wanted] if wanted else None)
        headers = {"Content-Type": _INDEX_TYPE} | ({"OCI-Filters-Applied": "artifactType"} if wanted else {})
        manifests = [referrer(image) for image in found]
        return json_response(headers, {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": manifests})


def _push(ecr: StrictEcr, name: str, raw: bytes, media_type: str | None, wanted: ImageId) -> tuple[str, str | None]:
    try:
        image = ecr.images.push(name, raw, media_type, wanted.tag, wanted.digest)
    except EcrError as error:
        if error.code != "ImageAlreadyExistsException":
            raise
        # An immutable tag is refused even for the same digest: moby/buildkit#3776, aws/containers-roadmap#2179.
        if wanted.tag and ecr.registry.get(name).mutability.is_immutable(wanted.tag):
            raise tag_is_immutable(name, wanted.tag) from error
        image = ecr.images.pull(name, wanted)
    return image.digest, image.manifest.subject


def _named(reference: str) -> ImageId:
    return ImageId(reference, None) if ":" in reference else ImageId(None, reference)


def _digest(digest: str) -> Headers:
    return {"Docker-Content-Digest": digest}


def _verb(request: Request, noun: str) -> str:
    return f"v2:{'Head' if request.method == 'HEAD' else 'Get'}{noun}"


def _accepts(request: Request, media_type: str) -> bool:
    """Say whether the client takes a media type; one that says nothing takes all."""
    offered = [part for part in request.headers.get("Accept", "").split(",") if part.strip()]
    family = media_type.partition("/")[0]
    return not offered or any(_takes(part, media_type, family) for part in offered)


def _takes(offer: str, media_type: str, family: str) -> bool:
    name, *parameters = (part.strip() for part in offer.split(";"))
    return name in (media_type, "*/*", f"{family}/*") and not any(p in ("q=0", "q=0.0") for p in parameters)


def _page_size(request: Request) -> int:
    text = request.args.get("n", str(MAX_PAGE))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise V2Error(400, "PAGINATION_NUMBER_INVALID", f"n must be a number from 1 to {MAX_PAGE}")
    if int(text) > MAX_PAGE:
        # Observed: google/go-containerregistry#1091.
        raise V2Error(405, "UNSUPPORTED", f"n must be at most {MAX_PAGE}")
    return int(text)
