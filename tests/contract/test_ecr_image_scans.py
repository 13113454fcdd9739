"""How scans are read from ECR and started: by the digest of images that no tag names, on the local ECR."""

from datetime import timedelta

import pytest

from local.tests.ecr.harness import RunningEcr, digest_of, ecr_client, index_manifest, push, put
from pullahead.admission.scans import ScanFinding, judge_scans
from pullahead.ecr.image_scans import EcrImageScans
from pullahead.errors import RateLimitedError, RegistryUnavailableError
from pullahead.messages import ScanVerdict
from pullahead.oci import Digest, parse_digest
from pullahead.rules.admission_policy import ScanPolicy

REPOSITORY = "team/app"


@pytest.fixture(autouse=True)
def repository(ecr: RunningEcr) -> None:
    ecr.client.create_repository(repositoryName=REPOSITORY)


def pushed(ecr: RunningEcr, seed: str = "one") -> Digest:
    return parse_digest(digest_of(push(ecr.client, REPOSITORY, seed).encode()))


def scans(ecr: RunningEcr) -> EcrImageScans:
    return EcrImageScans(ecr.client)


def calls(ecr: RunningEcr) -> list[str]:
    return [name for name in ecr.ecr.calls.operations() if "Scan" in name or "Images" in name]


def test_untagged_image_without_a_scan_is_scanned_by_its_digest(ecr: RunningEcr) -> None:
    image = pushed(ecr)
    ecr.ecr.calls.clear()
    (first,) = scans(ecr).read(REPOSITORY, [image])
    assert first.trouble == "its scan was just started"
    assert calls(ecr) == ["DescribeImageScanFindings", "StartImageScan"]
    ecr.ecr.calls.clear()
    (second,) = scans(ecr).read(REPOSITORY, [image])
    assert (second.trouble, second.status, second.findings, second.counts) == ("", "COMPLETE", (), {})
    assert second.completed_at == second.pushed_at == ecr.clock.now()
    assert calls(ecr) == ["DescribeImageScanFindings", "DescribeImages"]
    assert judge_scans([image], [second], ScanPolicy()).verdict is ScanVerdict.CLEAN


def test_repository_that_is_scanned_on_push_is_only_read(ecr: RunningEcr) -> None:
    ecr.client.put_image_scanning_configuration(
        repositoryName=REPOSITORY, imageScanningConfiguration={"scanOnPush": True}
    )
    image = pushed(ecr)
    ecr.ecr.calls.clear()
    (found,) = scans(ecr).read(REPOSITORY, [image])
    assert found.trouble == ""
    assert calls(ecr) == ["DescribeImageScanFindings", "DescribeImages"]


def test_findings_are_read_page_by_page(ecr: RunningEcr) -> None:
    image = pushed(ecr)
    many = [{"name": f"CVE-2026-{n:05}", "severity": "HIGH"} for n in range(2500)]
    ecr.ecr.scans.vulnerable(image, *many)
    scans(ecr).read(REPOSITORY, [image])
    (found,) = scans(ecr).read(REPOSITORY, [image])
    assert (len(found.findings), found.is_truncated) == (2500, False)
    assert found.findings[-1] == ScanFinding("CVE-2026-02499", "HIGH")


def test_more_findings_than_are_read_is_said(ecr: RunningEcr) -> None:
    image = pushed(ecr)
    ecr.ecr.scans.vulnerable(image, *({"name": f"CVE-2026-{n:05}", "severity": "LOW"} for n in range(5001)))
    scans(ecr).read(REPOSITORY, [image])
    ecr.ecr.calls.clear()
    (found,) = scans(ecr).read(REPOSITORY, [image])
    assert (len(found.findings), found.is_truncated) == (5000, True)
    assert calls(ecr).count("DescribeImageScanFindings") == 5
    assert judge_scans([image], [found], ScanPolicy()).verdict is ScanVerdict.NONE


def test_scan_of_an_image_that_was_deleted_and_pushed_again_is_older(ecr: RunningEcr) -> None:
    image = pushed(ecr)
    scans(ecr).read(REPOSITORY, [image])
    ecr.client.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageDigest": image}])
    ecr.clock.time += timedelta(hours=25)
    pushed(ecr)
    ecr.ecr.calls.clear()
    (found,) = scans(ecr).read(REPOSITORY, [image])
    assert "older than its push" in judge_scans([image], [found], ScanPolicy()).text
    assert "StartImageScan" in calls(ecr)
    (again,) = scans(ecr).read(REPOSITORY, [image])
    assert judge_scans([image], [again], ScanPolicy()).verdict is ScanVerdict.CLEAN


def test_index_and_missing_image_have_no_scan(ecr: RunningEcr) -> None:
    index = parse_digest(put(ecr.client, REPOSITORY, index_manifest([push(ecr.client, REPOSITORY, "one")])))
    missing = parse_digest(digest_of(b"missing"))
    found = scans(ecr).read(REPOSITORY, [index, missing])
    assert [each.trouble for each in found] == ["ECR cannot scan an image of its kind", "ECR does not have it"]
    assert [each.is_missing for each in found] == [False, True]


def test_repository_that_is_missing_is_a_trouble_of_the_image(ecr: RunningEcr) -> None:
    (found,) = scans(ecr).read("team/missing", [parse_digest(digest_of(b"missing"))])
    assert "RepositoryNotFoundException" in found.trouble


@pytest.mark.parametrize("operation", ["DescribeImageScanFindings", "StartImageScan"])
def test_scan_that_may_not_be_read_or_started_says_so(ecr: RunningEcr, operation: str) -> None:
    image = pushed(ecr)
    ecr.ecr.faults.add(operation, "AccessDeniedException")
    (found,) = scans(ecr).read(REPOSITORY, [image])
    assert "AccessDeniedException" in found.trouble
    assert found.trouble.isprintable()


@pytest.mark.parametrize("operation", ["DescribeImageScanFindings", "StartImageScan"])
@pytest.mark.parametrize(
    ("code", "kind"), [("ThrottlingException", RateLimitedError), ("ServerException", RegistryUnavailableError)]
)
def test_what_may_pass_is_raised(ecr: RunningEcr, operation: str, code: str, kind: type[Exception]) -> None:
    image = pushed(ecr)
    ecr.ecr.faults.add(operation, code)
    with pytest.raises(kind):
        scans(ecr).read(REPOSITORY, [image])


def test_quota_of_one_scan_a_day_is_said(ecr: RunningEcr) -> None:
    image = pushed(ecr)
    ecr.ecr.faults.add("StartImageScan", "LimitExceededException")
    (found,) = scans(ecr).read(REPOSITORY, [image])
    assert found.trouble == "it has no scan yet, and ECR starts one a day"


def test_ecr_that_cannot_be_reached_is_raised() -> None:
    client = ecr_client("http://127.0.0.1:1")
    with pytest.raises(RegistryUnavailableError):
        EcrImageScans(client).read(REPOSITORY, [parse_digest(digest_of(b"a"))])
