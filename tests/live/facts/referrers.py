"""Facts about referrers: signatures, attestations and SBOMs that name the manifest that they are about."""

import json
from typing import Any, Final

from local.images import LocalImage, make_image
from pullahead.oci import Descriptor, Digest, digest_of, media_types
from tests.live.endpoint import endpoint
from tests.live.fact import Finding, Section
from tests.live.site import Site, refusal

SECTION: Final = Section("Referrers")

_ARTIFACT: Final = "application/vnd.pullahead.live+json"
_EMPTY: Final = b"{}"
_EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"


def _subject(site: Site) -> LocalImage:
    def push() -> LocalImage:
        image = make_image(seed=50)
        site.push(image, site.repository("referrers"), "v1")
        return image

    return site.once("subject", push)


def _referrer(site: Site, layer_type: str, **more: Any) -> dict[str, Any]:
    """Write a manifest like cosign's and ORAS's: an empty config, one layer, a subject."""
    subject, repository = _subject(site), site.repository("referrers")
    content = f"signature as {layer_type}".encode()
    for blob in (_EMPTY, content):
        site.once(f"blob of a referrer {digest_of(blob)}", lambda blob=blob: _blob(site, repository, blob))  # type: ignore[misc]
    return {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "artifactType": _ARTIFACT,
        "config": _described(_EMPTY_TYPE, _EMPTY),
        "layers": [_described(layer_type, content)],
        "subject": {
            "mediaType": media_types.OCI_MANIFEST,
            "digest": subject.digest,
            "size": len(subject.root.content),
        },
        **more,
    }


def _blob(site: Site, repository: str, content: bytes) -> Descriptor:
    return site.push_blob(content, repository)


def _described(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _pushed(site: Site) -> Digest:
    def put() -> Digest:
        text = json.dumps(_referrer(site, "application/vnd.pullahead.live.layer"))
        site.ecr.put_image(repositoryName=site.repository("referrers"), imageManifest=text)
        return digest_of(text.encode())

    return site.once("referrer", put)


@SECTION.fact(
    "A referrer with an empty config and an artifact type is taken by `PutImage`.",
    source="AWS: OCI 1.1 since 2024-06; refusals were seen until 2026-03 (aws/containers-roadmap#2783)",
    relied_on_by=("ecr/target.py",),
    emulated_in=("local/ecr/manifests.py",),
)
def referrer_is_taken(site: Site) -> Finding:
    return Finding(bool(_pushed(site)), "taken")


@SECTION.fact(
    "`/v2/NAME/referrers/DIGEST` lists it with its artifact type.",
    source="OCI distribution specification 1.1, Listing Referrers",
    relied_on_by=("registry/listings.py",),
    emulated_in=("local/ecr/v2_manifests.py",),
)
def referrers_by_v2(site: Site) -> Finding:
    pushed, subject = _pushed(site), _subject(site)
    answer = endpoint(site).ask("GET", f"/v2/{site.repository('referrers')}/referrers/{subject.digest}")
    listed = {each["digest"]: each.get("artifactType") for each in answer.json().get("manifests", [])}
    return Finding(listed.get(pushed) == _ARTIFACT, f"{answer.status_code}, {len(listed)} listed")


@SECTION.fact(
    "`ListImageReferrers` lists it by the subject's digest.",
    source="ECR API reference, ListImageReferrers",
    relied_on_by=("ecr/target.py", "refresh/publish_referrers.py"),
    emulated_in=("local/ecr/api_images.py",),
)
def referrers_by_api(site: Site) -> Finding:
    pushed, subject = _pushed(site), _subject(site)
    answer = site.ecr.list_image_referrers(
        repositoryName=site.repository("referrers"), subjectId={"imageDigest": subject.digest}
    )
    listed = {each["digest"]: each.get("artifactType") for each in answer["referrers"]}
    return Finding(listed.get(pushed) == _ARTIFACT, f"{len(listed)} listed, as {listed.get(pushed)}")


@SECTION.fact(
    "A media type with parameters is refused with `InvalidParameterException`, if it is refused at all.",
    source="aws/containers-roadmap#2306",
    relied_on_by=("ecr/errors.py",),
    emulated_in=("local/ecr/manifests.py",),
    errors=["InvalidParameterException"],
)
def media_type_with_parameters(site: Site) -> Finding:
    text = json.dumps(_referrer(site, "application/vnd.dev.sigstore.bundle+json;version=0.2"))
    answer = refusal(lambda: site.ecr.put_image(repositoryName=site.repository("referrers"), imageManifest=text))
    return Finding(answer.code in ("", "InvalidParameterException"), answer.text if answer.code else "taken")


@SECTION.fact(
    "A manifest without layers is refused with `InvalidParameterException`, if it is refused at all.",
    source="aws/containers-roadmap#876",
    relied_on_by=("ecr/errors.py",),
    emulated_in=("local/ecr/manifests.py",),
    errors=["InvalidParameterException"],
)
def manifest_without_layers(site: Site) -> Finding:
    text = json.dumps(_referrer(site, "application/vnd.pullahead.live.layer", layers=[]))
    answer = refusal(lambda: site.ecr.put_image(repositoryName=site.repository("referrers"), imageManifest=text))
    return Finding(answer.code in ("", "InvalidParameterException"), answer.text if answer.code else "taken")
