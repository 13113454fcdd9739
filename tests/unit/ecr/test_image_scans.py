"""What DescribeImageScanFindings may answer besides ECR's basic scans: Amazon Inspector's findings, and nonsense."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from pullahead.admission.scans import judge_scans
from pullahead.ecr.image_scans import EcrImageScans
from pullahead.messages import ScanVerdict
from pullahead.rules.admission_policy import ScanPolicy
from tests.fakes.samples import digest

IMAGE, OTHER = digest("image"), digest("other")
PUSHED = datetime(2026, 11, 24, 9, tzinfo=UTC)
SCANNED = PUSHED + timedelta(minutes=1)


class ScriptedClient:
    """The part of boto3's client that reads scans, with answers that are given."""

    def __init__(self, *pages: dict[str, Any], pushed: Sequence[dict[str, Any]] | None = None) -> None:
        self._pages = list(pages)
        self._pushed = [{"imageDigest": IMAGE, "imagePushedAt": PUSHED}] if pushed is None else pushed
        self.started: list[str] = []

    def describe_image_scan_findings(self, **_asked: Any) -> dict[str, Any]:
        """Answer with the next page."""
        return self._pages.pop(0)

    def describe_images(self, **_asked: Any) -> dict[str, Any]:
        """Answer with the times of pushes."""
        return {"imageDetails": self._pushed}

    def start_image_scan(self, **asked: Any) -> dict[str, Any]:
        """Note what is to be scanned."""
        self.started.append(asked["imageId"]["imageDigest"])
        return {}


def enhanced(name: str = "CVE-2026-1234", severity: str = "CRITICAL", **more: Any) -> dict[str, Any]:
    """Write a finding of Amazon Inspector."""
    return {
        "severity": severity,
        "status": "ACTIVE",
        "title": f"{name} - libexample",
        "type": "PACKAGE_VULNERABILITY",
        "packageVulnerabilityDetails": {"vulnerabilityId": name, "relatedVulnerabilities": ["CVE-2026-0001"]},
        "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": {"imageHash": IMAGE}}}],
        **more,
    }


def answer(*findings: dict[str, Any], status: str = "ACTIVE", **more: Any) -> dict[str, Any]:
    """Write an answer of DescribeImageScanFindings."""
    counts = {each["severity"]: 1 for each in findings}
    found = {"enhancedFindings": list(findings), "findingSeverityCounts": counts, "imageScanCompletedAt": SCANNED}
    return {
        "imageId": {"imageDigest": IMAGE},
        "imageScanStatus": {"status": status, "description": "said by AWS"},
        "imageScanFindings": found,
        **more,
    }


def verdict(client: ScriptedClient, policy: ScanPolicy = ScanPolicy()) -> str:  # noqa: B008 - it is immutable
    """Read the scan of the image and judge it, in words."""
    found = judge_scans([IMAGE], EcrImageScans(cast("Any", client)).read("mirror/app", [IMAGE]), policy)
    return f"{found.verdict}: {found.text}"


def test_finding_of_inspector_blocks_by_the_name_of_its_vulnerability() -> None:
    assert verdict(ScriptedClient(answer(enhanced()))) == "VULNERABLE: CVE-2026-1234 (CRITICAL)"


def test_image_without_findings_is_clean() -> None:
    assert verdict(ScriptedClient(answer())).startswith(ScanVerdict.CLEAN)


@pytest.mark.parametrize(("fix", "holds"), [("YES", True), ("PARTIAL", True), ("NO", False), ("", True), ("no", True)])
def test_inspector_says_whether_there_is_a_fix(fix: str, holds: bool) -> None:
    found = answer(enhanced(fixAvailable=fix))
    assert verdict(ScriptedClient(found), ScanPolicy(fixable_only=True)).startswith(
        ScanVerdict.VULNERABLE if holds else ScanVerdict.CLEAN
    )


def test_finding_that_does_not_say_whether_there_is_a_fix_blocks() -> None:
    assert verdict(ScriptedClient(answer(enhanced())), ScanPolicy(fixable_only=True)).startswith(ScanVerdict.VULNERABLE)


def test_related_vulnerability_that_is_exempt_does_not_exempt_a_finding() -> None:
    assert verdict(ScriptedClient(answer(enhanced())), ScanPolicy(exempt=("CVE-2026-0001",))).startswith("VULNERABLE")


def test_finding_that_is_closed_does_not_count_and_one_that_is_suppressed_does() -> None:
    closed = answer(enhanced(status="CLOSED"))
    closed["imageScanFindings"]["findingSeverityCounts"] = {}
    assert verdict(ScriptedClient(closed)).startswith(ScanVerdict.CLEAN)
    assert verdict(ScriptedClient(answer(enhanced(status="SUPPRESSED")))).startswith(ScanVerdict.VULNERABLE)


def test_finding_without_a_name_blocks() -> None:
    nameless = enhanced(packageVulnerabilityDetails={}, title="")
    assert verdict(ScriptedClient(answer(nameless)), ScanPolicy(exempt=("CVE-2026-1234",))).startswith("VULNERABLE")


def test_findings_of_another_digest_are_no_result() -> None:
    of_other = enhanced("CVE-2026-1", "LOW", resources=[{"details": {"awsEcrContainerImage": {"imageHash": OTHER}}}])
    assert verdict(ScriptedClient(answer(of_other))).startswith("NONE: ECR answers with findings of another digest")


@pytest.mark.parametrize("image_id", [{"imageDigest": OTHER}, {}, {"imageTag": "1.0"}])
def test_answer_about_another_digest_is_no_result(image_id: dict[str, str]) -> None:
    assert verdict(ScriptedClient(answer(imageId=image_id))).startswith("NONE: ECR answers about another digest")


@pytest.mark.parametrize(
    "page",
    [
        answer(imageScanFindings=None),
        answer(imageScanFindings={}),
        answer(imageScanFindings={"findingSeverityCounts": {"CRITICAL": 2}, "imageScanCompletedAt": SCANNED}),
        answer(imageScanFindings=[1]),
        answer(imageScanStatus={}),
        answer(status="PENDING"),
        answer(status="SCAN_ELIGIBILITY_EXPIRED"),
    ],
)
def test_answer_without_a_result_is_none(page: dict[str, Any]) -> None:
    assert verdict(ScriptedClient(page)).startswith(ScanVerdict.NONE)


def test_second_page_about_another_digest_is_no_result() -> None:
    pages = (answer(nextToken="more"), answer(imageId={"imageDigest": OTHER}))
    assert verdict(ScriptedClient(*pages)).startswith(ScanVerdict.NONE)


def test_finding_on_a_later_page_counts() -> None:
    assert verdict(ScriptedClient(answer(nextToken="more"), answer(enhanced()))).startswith(ScanVerdict.VULNERABLE)


def test_image_of_which_ecr_does_not_say_when_it_was_pushed_has_no_result() -> None:
    assert verdict(ScriptedClient(answer(), pushed=[])).startswith("NONE: ECR does not say when it was pushed")
    assert verdict(ScriptedClient(answer(), pushed=[{"imageDigest": IMAGE}])).startswith(ScanVerdict.NONE)


def test_failed_scan_is_started_again_and_is_no_result() -> None:
    client = ScriptedClient(answer(status="FAILED"))
    assert verdict(client).startswith("NONE: its scan has FAILED (said by AWS); its scan was just started")
    assert client.started == [IMAGE]
