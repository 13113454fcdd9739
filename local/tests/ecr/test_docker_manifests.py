"""Manifests, tags, referrers and login by /v2."""

import base64
import json
from collections.abc import Iterator

import pytest
import requests

from local.tests.ecr.harness import (
    OCI_INDEX,
    OCI_MANIFEST,
    RunningEcr,
    basic,
    digest_of,
    image_manifest,
    index_manifest,
    oci_error,
    push,
    put,
    upload,
)

REPOSITORY = "team/app"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
TIMEOUT = 10


@pytest.fixture
def session(registry: RunningEcr) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update(registry.authorization())
        session.headers.pop("Accept")
        yield session


def manifest_url(registry: RunningEcr, reference: str, repository: str = REPOSITORY) -> str:
    return f"{registry.url}/v2/{repository}/manifests/{reference}"


def put_manifest(
    registry: RunningEcr, session: requests.Session, reference: str, manifest: str, media_type: str = OCI_MANIFEST
) -> requests.Response:
    headers = {"Content-Type": media_type}
    url = manifest_url(registry, reference)
    return session.put(url, data=manifest.encode(), headers=headers, timeout=TIMEOUT)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer token"},
        {"Authorization": "Basic !"},
        basic("AWS", "guess"),
        basic("AWS", "9999999999.00.guess"),
    ],
)
def test_request_without_a_token_gets_a_basic_challenge(registry: RunningEcr, headers: dict[str, str]) -> None:
    response = requests.get(f"{registry.url}/v2/", headers=headers, timeout=TIMEOUT)
    assert oci_error(response) == (401, "UNAUTHORIZED")
    assert response.headers["WWW-Authenticate"] == f'Basic realm="{registry.url}/",service="ecr.amazonaws.com"'


def test_user_is_aws(registry: RunningEcr) -> None:
    token = registry.client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    password = base64.b64decode(token).decode().partition(":")[2]
    statuses = [
        requests.get(f"{registry.url}/v2/", headers=basic(user, password), timeout=TIMEOUT).status_code
        for user in ("AWS", "root")
    ]
    assert statuses == [200, 401]


def test_token_is_refused_after_12_hours(registry: RunningEcr, session: requests.Session) -> None:
    registry.clock.advance(hours=11.99)
    assert session.get(f"{registry.url}/v2/", timeout=TIMEOUT).status_code == 200
    registry.clock.advance(hours=0.01)
    assert oci_error(session.get(f"{registry.url}/v2/", timeout=TIMEOUT)) == (403, "DENIED")


def test_tag_and_digest_give_the_same_exact_bytes(registry: RunningEcr, session: requests.Session) -> None:
    manifest = push(registry.client, REPOSITORY, "one", "latest")
    digest = digest_of(manifest.encode())
    for reference in ("latest", digest):
        url = manifest_url(registry, reference)
        response = session.get(url, timeout=TIMEOUT)
        assert response.content == manifest.encode()
        assert response.headers["Docker-Content-Digest"] == digest
        assert response.headers["Content-Type"] == OCI_MANIFEST
        head = session.head(url, timeout=TIMEOUT)
        assert head.content == b""
        assert {**head.headers, "Date": ""} == {**response.headers, "Date": ""}


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (OCI_MANIFEST, 200),
        (f"{DOCKER_MANIFEST}, {OCI_MANIFEST};q=0.5", 200),
        ("*/*", 200),
        ("application/*", 200),
        (DOCKER_MANIFEST, 404),
        (f"{OCI_INDEX}, {DOCKER_MANIFEST}", 404),
        (f"{OCI_MANIFEST};q=0", 404),
    ],
)
def test_media_type_must_be_accepted(registry: RunningEcr, session: requests.Session, accept: str, status: int) -> None:
    push(registry.client, REPOSITORY, "one", "latest")
    response = session.get(manifest_url(registry, "latest"), headers={"Accept": accept}, timeout=TIMEOUT)
    assert response.status_code == status


def test_missing_manifest_and_missing_repository_differ(registry: RunningEcr, session: requests.Session) -> None:
    gone = session.get(manifest_url(registry, "gone"), timeout=TIMEOUT)
    assert oci_error(gone) == (404, "MANIFEST_UNKNOWN")
    nowhere = session.get(manifest_url(registry, "latest", "team/none"), timeout=TIMEOUT)
    assert oci_error(nowhere) == (404, "NAME_UNKNOWN")


def test_repository_named_like_a_path_of_the_api_is_found(registry: RunningEcr, session: requests.Session) -> None:
    name = "a/manifests/b/blobs/uploads"
    registry.client.create_repository(repositoryName=name)
    manifest = push(registry.client, name, "one", "latest")
    response = session.get(manifest_url(registry, "latest", name), timeout=TIMEOUT)
    assert response.content == manifest.encode()


def test_pushed_manifest_is_an_image_and_an_event(registry: RunningEcr, session: requests.Session) -> None:
    child = push(registry.client, REPOSITORY, "child")
    index = index_manifest([child])
    response = put_manifest(registry, session, "multi", index, OCI_INDEX)
    assert response.status_code == 201
    assert response.headers["Docker-Content-Digest"] == digest_of(index.encode())
    found = registry.client.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": "multi"}])
    assert found["imageDetails"][0]["imageDigest"] == digest_of(index.encode())
    assert registry.events[-1]["detail"]["image-tag"] == "multi"


def test_manifest_pushed_by_digest_has_no_tag(registry: RunningEcr, session: requests.Session) -> None:
    upload(registry.client, REPOSITORY, b"config")
    upload(registry.client, REPOSITORY, b"layer")
    manifest = image_manifest(b"config", [b"layer"])
    assert put_manifest(registry, session, digest_of(manifest.encode()), manifest).status_code == 201
    assert "image-tag" not in registry.events[-1]["detail"]
    assert registry.client.list_images(repositoryName=REPOSITORY)["imageIds"] == [
        {"imageDigest": digest_of(manifest.encode())}
    ]


def test_manifest_pushed_again_is_no_error_and_no_event(registry: RunningEcr, session: requests.Session) -> None:
    manifest = push(registry.client, REPOSITORY, "one", "latest")
    registry.events.clear()
    for reference in ("latest", digest_of(manifest.encode())):
        assert put_manifest(registry, session, reference, manifest).status_code == 201
    assert registry.events == []


def test_immutable_tag_is_refused_even_for_the_same_manifest(registry: RunningEcr, session: requests.Session) -> None:
    registry.client.put_image_tag_mutability(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
    manifest = push(registry.client, REPOSITORY, "one", "v1")
    other = push(registry.client, REPOSITORY, "two")
    for pushed in (manifest, other):
        assert oci_error(put_manifest(registry, session, "v1", pushed)) == (400, "TAG_INVALID")
    assert put_manifest(registry, session, digest_of(manifest.encode()), manifest).status_code == 201


@pytest.mark.parametrize(
    ("reference", "manifest", "media_type", "expected"),
    [
        ("t", image_manifest(b"config", [b"absent"]), OCI_MANIFEST, (400, "MANIFEST_BLOB_UNKNOWN")),
        ("t", index_manifest(["absent"]), OCI_INDEX, (400, "MANIFEST_BLOB_UNKNOWN")),
        (digest_of(b"?"), image_manifest(b"config", [b"config"]), OCI_MANIFEST, (400, "DIGEST_INVALID")),
        ("t", "not json", OCI_MANIFEST, (400, "MANIFEST_INVALID")),
        ("t", image_manifest(b"config", [b"config"]), OCI_INDEX, (400, "MANIFEST_INVALID")),
        ("t", json.dumps({}), "text/plain", (405, "UNSUPPORTED")),
        ("t", image_manifest(b"config", []), OCI_MANIFEST, (405, "UNSUPPORTED")),
        ("t", "x" * 4_194_305, OCI_MANIFEST, (413, "SIZE_INVALID")),
    ],
    ids=lambda value: str(value)[:20],
)
def test_manifest_that_put_image_refuses_is_refused(
    registry: RunningEcr,
    session: requests.Session,
    reference: str,
    manifest: str,
    media_type: str,
    expected: tuple[int, str],
) -> None:
    upload(registry.client, REPOSITORY, b"config")
    assert oci_error(put_manifest(registry, session, reference, manifest, media_type)) == expected
    assert registry.client.list_images(repositoryName=REPOSITORY)["imageIds"] == []


def test_manifest_for_a_missing_repository_makes_none(registry: RunningEcr, session: requests.Session) -> None:
    url = manifest_url(registry, "latest", "team/new")
    response = session.put(url, data=b"{}", headers={"Content-Type": OCI_MANIFEST}, timeout=TIMEOUT)
    assert oci_error(response) == (404, "NAME_UNKNOWN")


def test_tags_come_in_pages_by_link(registry: RunningEcr, session: requests.Session) -> None:
    manifest = push(registry.client, REPOSITORY, "one", "c")
    for tag in ("a", "e", "b", "d"):
        put(registry.client, REPOSITORY, manifest, tag)
    url, pages = f"/v2/{REPOSITORY}/tags/list?n=2", []
    while url:
        response = session.get(registry.url + url, timeout=TIMEOUT)
        assert response.json()["name"] == REPOSITORY
        pages.append(response.json()["tags"])
        url = response.links.get("next", {}).get("url", "")
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    assert "Link" not in session.get(f"{registry.url}/v2/{REPOSITORY}/tags/list?n=5", timeout=TIMEOUT).headers


@pytest.mark.parametrize(("n", "status"), [("1000", 200), ("1001", 405), ("0", 400), ("-1", 400), ("many", 400)])
def test_page_of_more_than_1000_tags_is_unsupported(
    registry: RunningEcr, session: requests.Session, n: str, status: int
) -> None:
    response = session.get(f"{registry.url}/v2/{REPOSITORY}/tags/list", params={"n": n}, timeout=TIMEOUT)
    assert response.status_code == status


def test_tags_of_a_missing_repository_are_unknown(registry: RunningEcr, session: requests.Session) -> None:
    response = session.get(f"{registry.url}/v2/team/none/tags/list", timeout=TIMEOUT)
    assert oci_error(response) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"/v2/{REPOSITORY}/manifests/latest"),
        ("DELETE", f"/v2/{REPOSITORY}/blobs/sha256:x"),
        ("GET", "/v2/_catalog"),
        ("POST", f"/v2/{REPOSITORY}/manifests/latest"),
    ],
)
def test_unsupported_request_is_404(registry: RunningEcr, session: requests.Session, method: str, path: str) -> None:
    push(registry.client, REPOSITORY, "one", "latest")
    response = session.request(method, registry.url + path, timeout=TIMEOUT)
    assert (response.status_code, response.text) == (404, "404 page not found\n")
    assert len(registry.client.list_images(repositoryName=REPOSITORY)["imageIds"]) == 1


def test_referrers_of_a_subject_can_be_filtered(registry: RunningEcr, session: requests.Session) -> None:
    subject = push(registry.client, REPOSITORY, "subject", "latest")
    pointer = {"mediaType": OCI_MANIFEST, "digest": digest_of(subject.encode()), "size": len(subject)}
    upload(registry.client, REPOSITORY, b"config")
    upload(registry.client, REPOSITORY, b"sbom")
    written = {"subject": pointer, "artifactType": "application/spdx+json"}
    manifest = image_manifest(b"config", [b"sbom"], **written)
    response = put_manifest(registry, session, digest_of(manifest.encode()), manifest)
    assert response.headers["OCI-Subject"] == pointer["digest"]
    url = f"{registry.url}/v2/{REPOSITORY}/referrers/{pointer['digest']}"
    found = session.get(url, timeout=TIMEOUT)
    assert found.headers["Content-Type"] == OCI_INDEX
    assert [m["digest"] for m in found.json()["manifests"]] == [digest_of(manifest.encode())]
    filtered = session.get(url, params={"artifactType": "application/other"}, timeout=TIMEOUT)
    assert (filtered.json()["manifests"], filtered.headers["OCI-Filters-Applied"]) == ([], "artifactType")


def test_signed_request_of_another_aws_api_is_passed_on(registry: RunningEcr) -> None:
    credential = "Credential=t/20260101/eu-west-1/apigateway/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"}
    response = requests.get(f"{registry.url}/v2/apis", headers=headers, timeout=TIMEOUT)
    assert (response.status_code, response.json()) == (200, {"items": []})
