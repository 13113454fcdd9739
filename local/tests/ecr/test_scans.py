"""Scans on demand: what is scanned, and the event that tells of it."""

from local.tests.ecr.harness import RunningEcr, digest_of, index_manifest, push, put, refused


def test_scan_of_an_image_is_told_with_its_tags(registry: RunningEcr) -> None:
    digest = digest_of(push(registry.client, "team/app", "one", "v1").encode())
    registry.events.clear()
    answer = registry.client.start_image_scan(repositoryName="team/app", imageId={"imageTag": "v1"})
    assert answer["imageId"] == {"imageDigest": digest, "imageTag": "v1"}
    (event,) = registry.events
    assert event["detail-type"] == "ECR Image Scan"
    assert (event["detail"]["image-digest"], event["detail"]["image-tags"]) == (digest, ["v1"])
    assert event["detail"]["scan-status"] == "COMPLETE"


def test_index_and_missing_image_are_not_scanned(registry: RunningEcr) -> None:
    put(registry.client, "team/app", index_manifest([push(registry.client, "team/app", "one")]), "index")
    registry.events.clear()
    with refused("UnsupportedImageTypeException"):
        registry.client.start_image_scan(repositoryName="team/app", imageId={"imageTag": "index"})
    with refused("ImageNotFoundException"):
        registry.client.start_image_scan(repositoryName="team/app", imageId={"imageTag": "missing"})
    assert registry.events == []
