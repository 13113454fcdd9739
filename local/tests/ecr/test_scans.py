"""Scans on demand and on push: what is scanned, what is said of it, and the event that tells of it."""

from datetime import timedelta

import pytest

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


def test_scan_by_digest_of_an_untagged_image_has_findings_in_pages(registry: RunningEcr) -> None:
    client, digest = registry.client, digest_of(push(registry.client, "team/app", "one").encode())
    found = [{"name": f"CVE-2026-{1000 + n}", "severity": "HIGH" if n else "CRITICAL"} for n in range(5)]
    registry.ecr.scans.vulnerable(digest, *found)
    with refused("ScanNotFoundException"):
        client.describe_image_scan_findings(repositoryName="team/app", imageId={"imageDigest": digest})
    client.start_image_scan(repositoryName="team/app", imageId={"imageDigest": digest})
    named, token = list[str](), ""
    for _ in range(3):
        more = {"nextToken": token} if token else {}
        page = client.describe_image_scan_findings(
            repositoryName="team/app", imageId={"imageDigest": digest}, maxResults=2, **more
        )
        assert page["imageId"] == {"imageDigest": digest}
        assert page["imageScanStatus"]["status"] == "COMPLETE"
        assert page["imageScanFindings"]["findingSeverityCounts"] == {"CRITICAL": 1, "HIGH": 4}
        assert page["imageScanFindings"]["imageScanCompletedAt"] == registry.clock.now()
        named += [each["name"] for each in page["imageScanFindings"]["findings"]]
        token = page.get("nextToken", "")
    assert (len(named), token) == (5, "")
    assert registry.events[-1]["detail"]["image-tags"] == []


def test_image_is_scanned_once_a_day(registry: RunningEcr) -> None:
    push(registry.client, "team/app", "one", "v1")
    registry.client.start_image_scan(repositoryName="team/app", imageId={"imageTag": "v1"})
    with refused("LimitExceededException"):
        registry.client.start_image_scan(repositoryName="team/app", imageId={"imageTag": "v1"})
    registry.clock.time += timedelta(hours=24)
    registry.client.start_image_scan(repositoryName="team/app", imageId={"imageTag": "v1"})


@pytest.mark.parametrize("on_push", [True, False])
def test_repository_says_whether_a_push_is_scanned(registry: RunningEcr, on_push: bool) -> None:
    registry.client.put_image_scanning_configuration(
        repositoryName="team/app", imageScanningConfiguration={"scanOnPush": on_push}
    )
    push(registry.client, "team/app", "one", "v1")
    assert ("ECR Image Scan" in [event["detail-type"] for event in registry.events]) is on_push
