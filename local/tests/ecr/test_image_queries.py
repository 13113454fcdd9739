"""Reading and deleting images: failures in a batch, failures of a whole call, pages, filters."""

import json
from typing import Any

import pytest
from mypy_boto3_ecr import ECRClient

from local.tests.ecr.harness import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    RunningEcr,
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


def push_many(client: ECRClient, count: int) -> list[str]:
    """Push images that share their blobs, tagged t0, t1, …"""
    upload(client, REPOSITORY, b"config")
    upload(client, REPOSITORY, b"layer")
    return [
        put(client, REPOSITORY, image_manifest(b"config", [b"layer"], annotations={"n": str(n)}), f"t{n}")
        for n in range(count)
    ]


def test_describe_fails_as_a_whole_when_one_image_is_missing(client: ECRClient) -> None:
    push(client, REPOSITORY, "one", "there")
    with refused("ImageNotFoundException", "'gone'"):
        client.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": "there"}, {"imageTag": "gone"}])


def test_describe_gives_one_detail_per_image_with_all_its_tags(client: ECRClient) -> None:
    manifest = push(client, REPOSITORY, "one", "b")
    put(client, REPOSITORY, manifest, "a")
    found = client.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": "a"}, {"imageTag": "b"}])
    (detail,) = found["imageDetails"]
    assert detail["imageTags"] == ["a", "b"]
    assert detail["imageDigest"] == digest_of(manifest.encode())
    assert detail["imageManifestMediaType"] == OCI_MANIFEST
    assert detail["artifactMediaType"] == OCI_CONFIG
    assert detail["imageSizeInBytes"] == len(b"config of one") + len(b"layer of one")


def test_size_of_an_index_is_that_of_its_largest_child(client: ECRClient) -> None:
    children = [push(client, REPOSITORY, seed) for seed in ("x", "longer")]
    put(client, REPOSITORY, index_manifest(children), "multi")
    found = client.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": "multi"}])
    assert found["imageDetails"][0]["imageSizeInBytes"] == len(b"config of longer") + len(b"layer of longer")


def test_describe_of_a_tag_that_points_elsewhere_is_not_found(client: ECRClient) -> None:
    push(client, REPOSITORY, "one", "one")
    two = push(client, REPOSITORY, "two", "two")
    with refused("ImageNotFoundException"):
        client.describe_images(
            repositoryName=REPOSITORY, imageIds=[{"imageTag": "one", "imageDigest": digest_of(two.encode())}]
        )


@pytest.mark.parametrize(
    "identifier", [{}, {"imageDigest": "latest"}], ids=["neither tag nor digest", "malformed digest"]
)
def test_describe_of_a_malformed_identifier_is_invalid(client: ECRClient, identifier: Any) -> None:
    with refused("InvalidParameterException"):
        client.describe_images(repositoryName=REPOSITORY, imageIds=[identifier])


def test_pages_hold_as_many_as_asked_and_end(client: ECRClient) -> None:
    """Stock moto ignores maxResults."""
    digests = push_many(client, 5)
    pages = client.get_paginator("describe_images").paginate(
        repositoryName=REPOSITORY, PaginationConfig={"PageSize": 2}
    )
    seen = [[detail["imageDigest"] for detail in page["imageDetails"]] for page in pages]
    assert seen == [digests[:2], digests[2:4], digests[4:]]


def test_page_has_100_images_unless_asked_otherwise(registry: RunningEcr) -> None:
    push_many(registry.client, 101)
    page = registry.client.list_images(repositoryName=REPOSITORY)
    assert len(page["imageIds"]) == 100
    rest = registry.client.list_images(repositoryName=REPOSITORY, nextToken=page["nextToken"])
    assert [image["imageTag"] for image in rest["imageIds"]] == ["t100"]
    assert "nextToken" not in rest


def test_page_that_holds_the_last_image_has_no_token(client: ECRClient) -> None:
    push_many(client, 2)
    assert "nextToken" not in client.describe_images(repositoryName=REPOSITORY, maxResults=2)


def test_pages_do_not_shift_when_images_go_meanwhile(client: ECRClient) -> None:
    digests = push_many(client, 3)
    page = client.describe_images(repositoryName=REPOSITORY, maxResults=1)
    client.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageDigest": digests[0]}])
    rest = client.describe_images(repositoryName=REPOSITORY, nextToken=page["nextToken"])
    assert [detail["imageDigest"] for detail in rest["imageDetails"]] == digests[1:]


@pytest.mark.parametrize("size", [0, 1001])
def test_page_size_outside_1_to_1000_is_refused(registry: RunningEcr, size: int) -> None:
    client = ecr_client(registry.url, parameter_validation=False)
    with refused("InvalidParameterException", "maxResults"):
        client.describe_images(repositoryName=REPOSITORY, maxResults=size)


def test_token_that_is_not_ours_is_refused(client: ECRClient) -> None:
    with refused("InvalidParameterException", "nextToken"):
        client.list_images(repositoryName=REPOSITORY, nextToken="%%%")


def test_image_ids_do_not_go_with_pages(client: ECRClient) -> None:
    with refused("InvalidParameterException"):
        client.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": "t"}], maxResults=5)


def test_more_than_100_image_ids_are_refused(registry: RunningEcr) -> None:
    client = ecr_client(registry.url, parameter_validation=False)
    identifiers: Any = [{"imageTag": f"t{n}"} for n in range(101)]
    for operation in (client.describe_images, client.batch_get_image, client.batch_delete_image):
        with refused("InvalidParameterException", "imageIds"):
            operation(repositoryName=REPOSITORY, imageIds=identifiers)


@pytest.mark.parametrize(("status", "expected"), [("TAGGED", ["new"]), ("UNTAGGED", ["old"]), ("ANY", ["old", "new"])])
def test_filter_by_tag_status(client: ECRClient, status: Any, expected: list[str]) -> None:
    """Stock moto ignores the filter of DescribeImages."""
    digests = {seed: digest_of(push(client, REPOSITORY, seed, "latest").encode()) for seed in ("old", "new")}
    details = client.describe_images(repositoryName=REPOSITORY, filter={"tagStatus": status})["imageDetails"]
    listed = client.list_images(repositoryName=REPOSITORY, filter={"tagStatus": status})["imageIds"]
    assert [detail["imageDigest"] for detail in details] == [digests[seed] for seed in expected]
    assert [image["imageDigest"] for image in listed] == [digests[seed] for seed in expected]


def test_nothing_is_archived(client: ECRClient) -> None:
    push(client, REPOSITORY, "one", "latest")
    assert client.describe_images(repositoryName=REPOSITORY, filter={"imageStatus": "ARCHIVED"})["imageDetails"] == []
    assert len(client.describe_images(repositoryName=REPOSITORY, filter={"imageStatus": "ANY"})["imageDetails"]) == 1


def test_batch_get_reports_each_failure_and_returns_the_rest(client: ECRClient) -> None:
    one, two = (digest_of(push(client, REPOSITORY, seed, seed).encode()) for seed in ("one", "two"))
    identifiers: list[Any] = [
        {"imageTag": "one"},
        {"imageTag": "gone"},
        {"imageDigest": digest_of(b"gone")},
        {"imageDigest": "sha256:short"},
        {"imageTag": "one", "imageDigest": two},
        {},
    ]
    answer = client.batch_get_image(repositoryName=REPOSITORY, imageIds=identifiers)
    assert [image["imageId"]["imageDigest"] for image in answer["images"]] == [one]
    assert [failure["failureCode"] for failure in answer["failures"]] == [
        "ImageNotFound",
        "ImageNotFound",
        "InvalidImageDigest",
        "ImageTagDoesNotMatchDigest",
        "MissingDigestAndTag",
    ]


def test_image_of_a_media_type_that_is_not_accepted_is_a_failure(client: ECRClient) -> None:
    """Stock moto ignores acceptedMediaTypes."""
    push(client, REPOSITORY, "one", "latest")
    identifiers: Any = [{"imageTag": "latest"}]
    answer = client.batch_get_image(repositoryName=REPOSITORY, imageIds=identifiers, acceptedMediaTypes=[OCI_INDEX])
    assert answer["images"] == []
    assert answer["failures"][0]["failureCode"] == "ImageNotFound"
    answer = client.batch_get_image(
        repositoryName=REPOSITORY, imageIds=identifiers, acceptedMediaTypes=[OCI_INDEX, OCI_MANIFEST]
    )
    assert len(answer["images"]) == 1


def test_describe_is_no_pull_and_get_is_one(registry: RunningEcr) -> None:
    push(registry.client, REPOSITORY, "one", "latest")
    identifiers: Any = [{"imageTag": "latest"}]

    def pulled_at() -> Any:
        found = registry.client.describe_images(repositoryName=REPOSITORY, imageIds=identifiers)
        return found["imageDetails"][0].get("lastRecordedPullTime")

    assert pulled_at() is None
    pulled = registry.clock.now()
    for hours in (0, 23):
        registry.clock.advance(hours=hours)
        registry.client.batch_get_image(repositoryName=REPOSITORY, imageIds=identifiers)
        assert pulled_at() == pulled  # recorded about once in 24 hours
    registry.clock.advance(hours=1)
    registry.client.batch_get_image(repositoryName=REPOSITORY, imageIds=identifiers)
    assert pulled_at() == registry.clock.now()


def test_image_pushed_again_after_it_was_deleted_was_never_pulled(client: ECRClient) -> None:
    manifest = push(client, REPOSITORY, "one", "latest")
    identifiers: Any = [{"imageTag": "latest"}]
    client.batch_get_image(repositoryName=REPOSITORY, imageIds=identifiers)
    client.batch_delete_image(repositoryName=REPOSITORY, imageIds=identifiers)
    put(client, REPOSITORY, manifest, "latest")
    found = client.describe_images(repositoryName=REPOSITORY, imageIds=identifiers)
    assert "lastRecordedPullTime" not in found["imageDetails"][0]


def test_deleting_the_last_tag_deletes_the_image(registry: RunningEcr) -> None:
    client = registry.client
    manifest = push(client, REPOSITORY, "one", "a")
    put(client, REPOSITORY, manifest, "b")
    registry.events.clear()
    client.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "a"}])
    assert client.list_images(repositoryName=REPOSITORY)["imageIds"] == [
        {"imageDigest": digest_of(manifest.encode()), "imageTag": "b"}
    ]
    client.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "b"}])
    assert client.list_images(repositoryName=REPOSITORY)["imageIds"] == []
    assert [(e["detail"]["action-type"], e["detail"]["image-tag"]) for e in registry.events] == [
        ("DELETE", "a"),
        ("DELETE", "b"),
    ]


def test_deleting_by_digest_takes_all_tags(client: ECRClient) -> None:
    manifest = push(client, REPOSITORY, "one", "a")
    put(client, REPOSITORY, manifest, "b")
    digest = digest_of(manifest.encode())
    answer = client.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageDigest": digest}])
    assert sorted(image["imageTag"] for image in answer["imageIds"]) == ["a", "b"]
    assert client.list_images(repositoryName=REPOSITORY)["imageIds"] == []


def test_child_of_an_index_cannot_be_deleted_before_it(client: ECRClient) -> None:
    child = push(client, REPOSITORY, "child")
    put(client, REPOSITORY, index_manifest([child]), "multi")
    identifiers: Any = [{"imageDigest": digest_of(child.encode())}]
    answer = client.batch_delete_image(repositoryName=REPOSITORY, imageIds=identifiers)
    assert answer["failures"][0]["failureCode"] == "ImageReferencedByManifestList"
    client.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "multi"}])
    assert client.batch_delete_image(repositoryName=REPOSITORY, imageIds=identifiers)["failures"] == []
    assert client.list_images(repositoryName=REPOSITORY)["imageIds"] == []


def test_deleting_what_is_not_there_is_a_failure(client: ECRClient) -> None:
    answer = client.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "gone"}])
    assert answer["imageIds"] == []
    assert answer["failures"][0]["failureCode"] == "ImageNotFound"


def test_referrers_are_found_by_their_subject(client: ECRClient) -> None:
    subject = json.loads(index_manifest([push(client, REPOSITORY, "subject", "latest")]))["manifests"][0]
    upload(client, REPOSITORY, b"config")
    upload(client, REPOSITORY, b"sbom")
    written: Any = {"subject": subject, "artifactType": "application/spdx+json", "annotations": {"by": "us"}}
    digest = put(client, REPOSITORY, image_manifest(b"config", [b"sbom"], **written))
    answer = client.list_image_referrers(repositoryName=REPOSITORY, subjectId={"imageDigest": subject["digest"]})
    (referrer,) = answer["referrers"]
    assert (referrer["digest"], referrer["artifactType"]) == (digest, "application/spdx+json")
    assert referrer["annotations"] == {"by": "us"}
    none = client.list_image_referrers(
        repositoryName=REPOSITORY,
        subjectId={"imageDigest": subject["digest"]},
        filter={"artifactTypes": ["application/other"]},
    )
    assert none["referrers"] == []
