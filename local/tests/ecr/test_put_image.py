"""PutImage: exact bytes, everything it names must be there, tags move or refuse to."""

import json
from typing import Any

import pytest
from mypy_boto3_ecr import ECRClient

from local.tests.ecr.harness import (
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    RunningEcr,
    descriptor,
    digest_of,
    ecr_client,
    image_manifest,
    index_manifest,
    push,
    put,
    refused,
    upload,
)

REPOSITORY = "team/app"
FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def details(client: ECRClient, repository: str = REPOSITORY) -> dict[str, list[str]]:
    """List digest → tags."""
    found = client.describe_images(repositoryName=repository)["imageDetails"]
    return {detail["imageDigest"]: detail.get("imageTags", []) for detail in found}


def with_blobs(client: ECRClient) -> None:
    upload(client, REPOSITORY, b"config")
    upload(client, REPOSITORY, b"layer")


def test_digest_is_that_of_the_exact_bytes_and_they_come_back(client: ECRClient) -> None:
    """Stock moto hashes the layer digests instead."""
    manifest = push(client, REPOSITORY, "one", "latest")
    images = client.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "latest"}])["images"]
    assert images[0]["imageId"] == {"imageDigest": digest_of(manifest.encode()), "imageTag": "latest"}
    assert images[0]["imageManifest"] == manifest
    assert images[0]["imageManifestMediaType"] == OCI_MANIFEST


def test_digest_of_an_index_is_that_of_its_bytes(client: ECRClient) -> None:
    """Stock moto makes a random number."""
    index = index_manifest([push(client, REPOSITORY, "child")])
    assert put(client, REPOSITORY, index, "multi") == digest_of(index.encode())


def test_digest_that_does_not_match_is_refused(client: ECRClient) -> None:
    """Stock moto takes it."""
    with_blobs(client)
    with refused("ImageDigestDoesNotMatchException"):
        client.put_image(
            repositoryName=REPOSITORY,
            imageManifest=image_manifest(b"config", [b"layer"]),
            imageDigest=digest_of(b"another"),
        )
    assert details(client) == {}


@pytest.mark.parametrize("uploaded", [b"config", b"layer"])
def test_missing_layer_or_config_is_refused(client: ECRClient, uploaded: bytes) -> None:
    """Stock moto takes the image."""
    upload(client, REPOSITORY, uploaded)
    missing = {b"config": b"layer", b"layer": b"config"}[uploaded]
    with refused("LayersNotFoundException", digest_of(missing)):
        put(client, REPOSITORY, image_manifest(b"config", [b"layer"]), "latest")
    assert details(client) == {}


def test_layer_of_another_repository_does_not_count(client: ECRClient) -> None:
    client.create_repository(repositoryName="team/other")
    with_blobs(client)
    with refused("LayersNotFoundException"):
        put(client, "team/other", image_manifest(b"config", [b"layer"]))


def test_index_whose_child_is_missing_is_refused(client: ECRClient) -> None:
    """Stock moto takes it."""
    present = push(client, REPOSITORY, "present")
    absent = image_manifest(b"absent", [b"absent"])
    with refused("ReferencedImagesNotFoundException", digest_of(absent.encode())):
        put(client, REPOSITORY, index_manifest([present, absent]), "multi")
    assert list(details(client)) == [digest_of(present.encode())]


def test_same_manifest_and_tag_again_already_exists_and_sends_no_event(registry: RunningEcr) -> None:
    manifest = push(registry.client, REPOSITORY, "one", "latest")
    registry.events.clear()
    with refused("ImageAlreadyExistsException"):
        put(registry.client, REPOSITORY, manifest, "latest")
    with refused("ImageAlreadyExistsException"):
        put(registry.client, REPOSITORY, manifest)
    assert registry.events == []


def test_second_tag_for_the_same_manifest_is_added(client: ECRClient) -> None:
    manifest = push(client, REPOSITORY, "one", "latest")
    put(client, REPOSITORY, manifest, "v1")
    assert details(client) == {digest_of(manifest.encode()): ["latest", "v1"]}


def test_tag_that_moves_leaves_the_old_image_there_untagged(client: ECRClient) -> None:
    """Stock moto deletes the old image."""
    old = push(client, REPOSITORY, "old", "latest")
    new = push(client, REPOSITORY, "new", "latest")
    assert details(client) == {digest_of(old.encode()): [], digest_of(new.encode()): ["latest"]}


def test_put_to_a_missing_repository_is_not_a_server_error(client: ECRClient) -> None:
    """Stock moto answers 500."""
    with refused("RepositoryNotFoundException", "team/none"):
        put(client, "team/none", image_manifest(b"config", [b"layer"]))


def test_immutable_tag_does_not_move(client: ECRClient) -> None:
    """Stock moto answers ImageAlreadyExistsException."""
    client.put_image_tag_mutability(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
    old = push(client, REPOSITORY, "old", "v1")
    with refused("ImageTagAlreadyExistsException", "'v1'"):
        push(client, REPOSITORY, "new", "v1")
    assert details(client) == {digest_of(old.encode()): ["v1"]}


@pytest.mark.parametrize(
    ("mode", "tag", "moves"),
    [
        ("IMMUTABLE_WITH_EXCLUSION", "latest", True),
        ("IMMUTABLE_WITH_EXCLUSION", "dev-7", True),
        ("IMMUTABLE_WITH_EXCLUSION", "v1", False),
        ("IMMUTABLE_WITH_EXCLUSION", "latest2", False),
        ("IMMUTABLE_WITH_EXCLUSION", "xdev-7", False),
        ("MUTABLE_WITH_EXCLUSION", "latest", False),
        ("MUTABLE_WITH_EXCLUSION", "v1", True),
    ],
)
def test_exclusion_filters_are_wildcards(client: ECRClient, mode: Any, tag: str, moves: bool) -> None:
    """Stock moto takes them as regular expressions: "dev-*" would match "dev" and not "dev-7"."""
    client.put_image_tag_mutability(
        repositoryName=REPOSITORY,
        imageTagMutability=mode,
        imageTagMutabilityExclusionFilters=[
            {"filterType": "WILDCARD", "filter": wildcard} for wildcard in ("latest", "dev-*")
        ],
    )
    push(client, REPOSITORY, "old", tag)
    if moves:
        new = push(client, REPOSITORY, "new", tag)
        assert details(client)[digest_of(new.encode())] == [tag]
    else:
        with refused("ImageTagAlreadyExistsException"):
            push(client, REPOSITORY, "new", tag)


def test_manifest_without_a_media_type_needs_one_in_the_request(client: ECRClient) -> None:
    with_blobs(client)
    manifest = image_manifest(b"config", [b"layer"], mediaType=None)
    with refused("InvalidParameterException", "Invalid JSON syntax"):
        put(client, REPOSITORY, manifest)
    answer = client.put_image(repositoryName=REPOSITORY, imageManifest=manifest, imageManifestMediaType=OCI_MANIFEST)
    assert answer["image"]["imageId"]["imageDigest"] == digest_of(manifest.encode())
    assert answer["image"]["imageManifestMediaType"] == OCI_MANIFEST


def test_media_type_of_the_request_must_match_the_manifest(client: ECRClient) -> None:
    with_blobs(client)
    with refused("InvalidParameterException", OCI_INDEX):
        client.put_image(
            repositoryName=REPOSITORY,
            imageManifest=image_manifest(b"config", [b"layer"]),
            imageManifestMediaType=OCI_INDEX,
        )


@pytest.mark.parametrize(
    ("manifest", "about"),
    [
        ("not json", "Invalid JSON syntax"),
        ("[]", "Invalid JSON syntax"),
        (json.dumps({"mediaType": "text/plain"}), "not supported"),
        (json.dumps({"mediaType": OCI_MANIFEST, "layers": []}), "config"),
        (json.dumps({"mediaType": OCI_INDEX}), "manifests"),
        (image_manifest(b"config", []), "without layers"),
        (image_manifest(b"config", [b"layer"], artifactType="a/b;version=1"), "parameters"),
        (image_manifest(b"config", [b"layer"], config=descriptor(b"config", "a/b", annotations={"a": "b"})), "config"),
        (image_manifest(b"config", [], layers=[descriptor(b"layer", "a/b;version=1")]), "parameters"),
        (image_manifest(b"config", [b"layer"], subject={"digest": "sha256:ABC", "size": 1}), "sha256 digest"),
        (image_manifest(b"config", [b"layer"], subject={"digest": digest_of(b""), "size": -1}), "negative"),
    ],
)
def test_manifest_that_ecr_does_not_take_is_refused(client: ECRClient, manifest: str, about: str) -> None:
    with_blobs(client)
    with refused("InvalidParameterException", about):
        put(client, REPOSITORY, manifest)


def test_manifest_above_4_mib_is_refused(registry: RunningEcr) -> None:
    client = ecr_client(registry.url, parameter_validation=False)
    with_blobs(client)
    empty = len(image_manifest(b"config", [b"layer"], annotations={"pad": ""}))
    largest = image_manifest(b"config", [b"layer"], annotations={"pad": "x" * (4_194_304 - empty)})
    with refused("InvalidParameterException", "imageManifest"):
        put(client, REPOSITORY, largest + " ")
    assert put(client, REPOSITORY, largest) == digest_of(largest.encode())


def test_manifest_above_4_mib_of_bytes_is_refused_though_it_has_fewer_letters(client: ECRClient) -> None:
    with_blobs(client)
    manifest = json.dumps({"mediaType": OCI_MANIFEST, "pad": "€" * 1_400_000}, ensure_ascii=False)
    assert len(manifest) < 4_194_304
    with refused("InvalidParameterException", "4194304"):
        put(client, REPOSITORY, manifest)


def test_foreign_layer_with_urls_need_not_be_there(client: ECRClient) -> None:
    with_blobs(client)
    foreign = descriptor(b"windows", FOREIGN_LAYER, urls=["https://mcr.microsoft.com/layer"])
    manifest = image_manifest(b"config", [], layers=[foreign, descriptor(b"layer", OCI_LAYER)])
    assert put(client, REPOSITORY, manifest) == digest_of(manifest.encode())


def test_foreign_layer_without_urls_is_missing(client: ECRClient) -> None:
    with_blobs(client)
    with refused("LayersNotFoundException", digest_of(b"windows")):
        put(client, REPOSITORY, image_manifest(b"config", [], layers=[descriptor(b"windows", FOREIGN_LAYER)]))


def test_more_than_1000_tags_exceed_the_limit(registry: RunningEcr) -> None:
    manifest = push(registry.client, REPOSITORY, "one", "t0")
    digest = digest_of(manifest.encode())
    registry.ecr.registry.get(REPOSITORY).tags.update({f"t{n}": digest for n in range(999)})
    put(registry.client, REPOSITORY, manifest, "t999")
    with refused("LimitExceededException", "1000"):
        put(registry.client, REPOSITORY, manifest, "t1000")


def test_every_manifest_sends_one_event_and_children_have_no_tag(registry: RunningEcr) -> None:
    """Stock moto sends none."""
    children = [push(registry.client, REPOSITORY, seed) for seed in ("arm64", "amd64")]
    put(registry.client, REPOSITORY, index_manifest(children), "multi")
    assert [event["detail"].get("image-tag") for event in registry.events] == [None, None, "multi"]
    assert [event["detail"]["image-digest"] for event in registry.events][:2] == [
        digest_of(child.encode()) for child in children
    ]


def test_push_event_is_as_ecr_sends_it(registry: RunningEcr) -> None:
    manifest = push(registry.client, REPOSITORY, "one", "latest")
    event = dict(registry.events[0])
    assert len(event.pop("id")) == 36
    assert event == {
        "version": "0",
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": "123456789012",
        "time": "2026-01-05T10:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {
            "result": "SUCCESS",
            "repository-name": REPOSITORY,
            "image-digest": digest_of(manifest.encode()),
            "action-type": "PUSH",
            "image-tag": "latest",
        },
    }


def test_refused_image_sends_no_event(registry: RunningEcr) -> None:
    with refused("LayersNotFoundException"):
        put(registry.client, REPOSITORY, image_manifest(b"config", [b"layer"]), "latest")
    assert registry.events == []
