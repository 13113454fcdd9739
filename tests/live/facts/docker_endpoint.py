"""Facts about the registry endpoint (/v2): streamed uploads, mounts, and ECR as an upstream."""

import base64
import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from local.images import LocalImage, make_image
from pullahead.ecr.streams import EcrStreams
from pullahead.oci import Descriptor, Digest, digest_of, media_types
from pullahead.oci.registries import Offered
from tests.live.endpoint import answered, download, endpoint
from tests.live.fact import Finding, Section
from tests.live.site import Site, refusal
from tests.live.waiting import utc_now

SECTION: Final = Section("The registry endpoint (/v2)")

_STREAMED_BYTES: Final = 6 * 1024 * 1024
_SETTING: Final = "BLOB_MOUNTING"
_MOUNT_SECONDS: Final = 60.0
_KEPT_SECONDS: Final = 60  # `registry.blobs` keeps where a layer is for so long
_CONTENT: Final = {"Content-Type": "application/octet-stream"}
_STREAMS: Final = ("ecr/streams.py", "registry/push.py")
_LOCAL: Final = ("local/ecr/v2_uploads.py",)
_LOCAL_PULLS: Final = ("local/ecr/v2_manifests.py", "local/ecr/downloads.py")


def _pushed(site: Site) -> LocalImage:
    image, repository = make_image([2_000], seed=20), site.repository("docker")

    def push() -> LocalImage:
        site.push(image, repository, "v1")
        return image

    return site.once("image of the endpoint", push)


def _layer(image: LocalImage) -> Digest:
    return max(image.blobs, key=lambda digest: len(image.blobs[digest]))


@SECTION.fact(
    "`GetAuthorizationToken` returns a password for user AWS that is good for twelve hours, and the endpoint.",
    source="ECR API reference, GetAuthorizationToken",
    relied_on_by=_STREAMS,
    emulated_in=("local/ecr/tokens.py", "local/ecr/api_repositories.py"),
)
def login(site: Site) -> Finding:
    registry = endpoint(site)
    token = base64.b64decode(registry.authorization.removeprefix("Basic "))
    left = registry.expires_at - utc_now()
    host = urlsplit(registry.url).hostname or ""
    answer = registry.ask("GET", "/v2/")
    agrees = token.startswith(b"AWS:") and left > timedelta(hours=11) and answer.status_code == 200
    return Finding(agrees, f"GET /v2/ {answer.status_code}; {left.total_seconds() / 3600:.1f} h at {_without_id(host)}")


def _without_id(host: str) -> str:
    return "ACCOUNT" + host[host.index(".") :] if ".dkr" in host else host


@SECTION.fact(
    "A layer is uploaded by one POST and one PUT whose body is streamed, and is AVAILABLE in its full size then.",
    source="OCI distribution specification 1.1, Push; observed in containerd and ocync",
    relied_on_by=_STREAMS,
    emulated_in=_LOCAL,
)
def streamed_layer(site: Site) -> Finding:
    repository, content = site.repository("docker"), site.content(_STREAMED_BYTES, 21)
    blob = Descriptor("application/octet-stream", digest_of(content), len(content))

    @contextlib.contextmanager
    def pieces() -> Iterator[Iterator[bytes]]:
        yield (content[start : start + 1024 * 1024] for start in range(0, len(content), 1024 * 1024))

    streams = EcrStreams(site.ecr, utc_now)
    offered = streams.stream_blob(repository, blob, pieces)
    (layer,) = site.ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[blob.digest])["layers"]
    seen = f"{offered.lower()}; {layer['layerAvailability']}, {layer.get('layerSize')} bytes"
    return Finding(offered is Offered.COPIED and layer["layerAvailability"] == "AVAILABLE", seen)


@SECTION.fact(
    "A stream whose digest is wrong is refused with a 4xx, and the layer is not there.",
    source="OCI distribution specification 1.1, Push",
    relied_on_by=("registry/push.py",),
    emulated_in=_LOCAL,
)
def streamed_wrong_digest(site: Site) -> Finding:
    repository, registry = site.repository("docker"), endpoint(site)
    wrong = digest_of(b"what was promised")
    began = registry.ask("POST", f"/v2/{repository}/blobs/uploads/")
    answer = registry.ask("PUT", _closing(began, wrong), data=b"what was sent", headers=_CONTENT)
    is_there = wrong in site.target.present_blobs(repository, [wrong])
    return Finding(400 <= answer.status_code < 500 and not is_there, f"PUT {answered(answer)}")


def _closing(began: requests.Response, digest: str) -> str:
    location = urljoin(began.url, began.headers["Location"])
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


@SECTION.fact(
    "A stream into a repository that does not exist is refused with 404 NAME_UNKNOWN.",
    source="OCI distribution specification 1.1; some clients saw the connection end instead",
    relied_on_by=("registry/errors.py",),
    emulated_in=_LOCAL,
)
def stream_into_missing_repository(site: Site) -> Finding:
    answer = endpoint(site).ask("POST", f"/v2/{site.run.repository('not-there')}/blobs/uploads/")
    return Finding(answered(answer) == "404 NAME_UNKNOWN", f"POST {answered(answer)}")


@SECTION.fact(
    "`GetAccountSetting` says whether `BLOB_MOUNTING` is ENABLED.",
    source="ECR API reference, GetAccountSetting",
    relied_on_by=("ecr/streams.py",),
    emulated_in=("local/ecr/account.py",),
)
def blob_mounting_setting(site: Site) -> Finding:
    value = site.ecr.get_account_setting(name=_SETTING)["value"]
    return Finding(value in ("ENABLED", "DISABLED"), value)


@SECTION.fact(
    "Where `BLOB_MOUNTING` is DISABLED, a mount is answered by 202, and the layer is uploaded.",
    source="observed in ocync: 193 of 193 mounts",
    relied_on_by=_STREAMS,
    emulated_in=_LOCAL,
)
def mount_while_disabled(site: Site) -> Finding:
    with site.setting(_SETTING, "DISABLED"):
        answer = _mount(site, "mounted-not", _layer(_pushed(site)))
    return Finding(answer.status_code == 202, f"POST {answered(answer)}")


@SECTION.fact(
    "Where it is ENABLED, a layer that an image of another repository has is mounted: 201.",
    source="Amazon ECR User Guide, Blob mounting; observed in ocync: 640 of 646 mounts",
    relied_on_by=_STREAMS,
    emulated_in=_LOCAL,
)
def mount_while_enabled(site: Site) -> Finding:
    digest = _layer(_pushed(site))
    with site.setting(_SETTING, "ENABLED"):
        waited = site.waits.until(lambda: _mounted(site, "mounted", digest), _MOUNT_SECONDS)
    if waited is None:
        return Finding(False, f"POST not 201 within {_MOUNT_SECONDS:.0f} s")
    answer = waited.value
    present = digest in site.target.present_blobs(site.repository("mounted"), [digest])
    return Finding(present, f"POST {answered(answer)}; AVAILABLE: {present}")


@SECTION.fact(
    "A layer of no image yet is not mounted, but answered by 202.",
    source="observed in ocync",
    relied_on_by=("registry/push.py",),
    emulated_in=("local/ecr/api_layers.py",),
)
def mount_of_layer_without_image(site: Site) -> Finding:
    blob = site.once("layer of no image", lambda: site.push_blob(b"a layer of no image", site.repository("docker")))
    with site.setting(_SETTING, "ENABLED"):
        answer = _mount(site, "mounted-not", blob.digest)
    return Finding(answer.status_code == 202, f"POST {answered(answer)}")


def _mount(site: Site, path: str, digest: Digest) -> requests.Response:
    query = f"mount={digest}&from={site.repository('docker')}"
    return endpoint(site).ask("POST", f"/v2/{site.repository(path)}/blobs/uploads/?{query}")


def _mounted(site: Site, path: str, digest: Digest) -> requests.Response | None:
    """Mount a layer; None where it is not: a setting that was just changed may not hold yet."""
    answer = _mount(site, path, digest)
    return answer if answer.status_code == 201 else None


@SECTION.fact(
    "A manifest is served with its exact bytes, media type and `Docker-Content-Digest`, by HEAD and GET.",
    source="OCI distribution specification 1.1, Pull",
    relied_on_by=("registry/manifests.py",),
    emulated_in=_LOCAL_PULLS,
)
def served_manifest(site: Site) -> Finding:
    image, registry = _pushed(site), endpoint(site)
    path = f"/v2/{site.repository('docker')}/manifests/v1"
    head = registry.ask("HEAD", path, headers={"Accept": media_types.ACCEPT})
    got = registry.ask("GET", path, headers={"Accept": media_types.ACCEPT})
    digests = [answer.headers.get("Docker-Content-Digest") for answer in (head, got)]
    agrees = digests == [image.digest] * 2 and got.content == image.root.content
    return Finding(agrees, f"HEAD {head.status_code}, GET {got.status_code}; {'same' if agrees else 'other'} digest")


@SECTION.fact(
    "A layer is served by a redirect to another host, which takes a single Range and no Authorization, and is good for "
    "at least the minute for which it is kept.",
    source="observed; Amazon S3, presigned URLs; for how long is not documented",
    relied_on_by=("registry/blobs.py",),
    emulated_in=_LOCAL_PULLS,
)
def served_layer(site: Site) -> Finding:
    image, registry = _pushed(site), endpoint(site)
    digest = _layer(image)
    answer = registry.ask("GET", f"/v2/{site.repository('docker')}/blobs/{digest}")
    location = urlsplit(urljoin(answer.url, answer.headers.get("Location", "")))
    part = download(location.geturl(), "bytes=10-19")
    is_elsewhere = location.netloc != urlsplit(registry.url).netloc
    valid = parse_qs(location.query).get("X-Amz-Expires", ["?"])[0]
    agrees = is_elsewhere and (part.status_code, part.content) == (206, image.read_blob(digest)[10:20])
    host = "another" if is_elsewhere else "the same"
    return Finding(
        agrees and (valid == "?" or int(valid) >= _KEPT_SECONDS),
        f"GET {answer.status_code} to {host} host, good for {valid} s; a range {part.status_code}",
    )


@SECTION.fact(
    "`tags/list` gives up to 1,000 tags in a page; a larger page is refused with a 4xx, and a smaller one asked for.",
    source="google/go-containerregistry#1091",
    relied_on_by=("registry/listings.py",),
    emulated_in=_LOCAL_PULLS,
)
def tags_list(site: Site) -> Finding:
    _pushed(site)
    path, registry = f"/v2/{site.repository('docker')}/tags/list", endpoint(site)
    pages = {size: registry.ask("GET", f"{path}?n={size}") for size in (1000, 1001)}
    agrees = pages[1000].status_code == 200 and pages[1000].json()["tags"] == ["v1"]
    return Finding(agrees, ", ".join(f"n={size}: {answered(page)}" for size, page in pages.items()))


@SECTION.fact(
    "A wrong password is refused with 401 or 403, and wrong keys of AWS with `UnrecognizedClientException`.",
    source="ECR API reference, Common errors",
    relied_on_by=("ecr/errors.py", "registry/errors.py"),
    errors=["UnrecognizedClientException"],
    only_live="the local AWS takes any keys",
)
def wrong_credentials(site: Site) -> Finding:
    wrong = base64.b64encode(b"AWS:wrong").decode()
    answer = endpoint(site).ask("GET", "/v2/", headers={"Authorization": f"Basic {wrong}"})
    refused = refusal(lambda: site.account.stranger("ecr").describe_repositories())
    agrees = answer.status_code in (401, 403) and refused.code == "UnrecognizedClientException"
    return Finding(agrees, f"GET /v2/ {answered(answer)}; {refused.code or refused.text}")
